"""Rate limits with token buckets: a sustained rate and a burst."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

IPV6_PREFIX_BITS = 64
"""Prefix length of the IPv6 networks that providers assign. One client can use every address in its network."""


class RateLimit(NamedTuple):
    """Parameters of a token bucket: it gains `per_second` tokens each second and holds at most `burst` tokens."""

    per_second: float
    burst: float


class TokenBucket:
    """A token bucket that starts full. The argument `now` is the time of a monotonic clock, in seconds."""

    __slots__ = ("_rate_limit", "_tokens", "_updated")

    def __init__(self, rate_limit: RateLimit, now: float) -> None:
        self._rate_limit = rate_limit
        self._tokens = rate_limit.burst
        self._updated = now

    def consume(self, now: float) -> float:
        """Remove a token and return the number of tokens left.

        A negative number means that the caller exceeds the limit.
        """
        self._refill(now)
        self._tokens -= 1
        return self._tokens

    def try_consume(self, now: float) -> bool:
        """Remove a token and return True, or return False if the bucket is empty."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self, now: float) -> None:
        """Put a consumed token back."""
        self._refill(now)
        self._tokens = min(self._tokens + 1, self._rate_limit.burst)

    def _refill(self, now: float) -> None:
        gained = (now - self._updated) * self._rate_limit.per_second
        self._tokens = min(self._tokens + gained, self._rate_limit.burst)
        self._updated = now


class KeyedTokenBuckets:
    """A token bucket for each key, such as an address. Only the `max_keys` most recently used keys are kept."""

    def __init__(self, rate_limit: RateLimit, clock: Callable[[], float], max_keys: int = 10_000) -> None:
        self._rate_limit = rate_limit
        self._clock = clock
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        """The token bucket of each key, in the order of last use. The most recently used key is at the end."""

    def try_consume(self, key: str) -> bool:
        """Remove a token of `key` and return True, or return False if the bucket of `key` is empty."""
        now = self._clock()
        return self._bucket(key, now).try_consume(now)

    def give_back(self, key: str) -> None:
        """Put a consumed token of `key` back."""
        now = self._clock()
        self._bucket(key, now).give_back(now)

    def _bucket(self, key: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate_limit, now)
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket


def address_block(address: str) -> str:
    """Return the key under which a client is rate-limited: its IPv4 address, or the /64 network of its IPv6 address."""
    try:
        ip_address = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip_address, ipaddress.IPv4Address):
        return address
    if ip_address.ipv4_mapped is not None:
        return str(ip_address.ipv4_mapped)
    suffix_bits = ip_address.max_prefixlen - IPV6_PREFIX_BITS
    return str(ipaddress.IPv6Address(int(ip_address) >> suffix_bits << suffix_bits))
