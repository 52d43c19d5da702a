"""How often somebody may try."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

NETWORK_BITS = 64
"""Of an IPv6 address: who has one has all that begin with the same bits."""


def holder(address: str) -> str:
    """Return what is the same for all addresses that one holder has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> NETWORK_BITS << NETWORK_BITS))


class KeyedTokenBuckets:
    """For each key, `burst` attempts at once and one more every `every_s` seconds; it remembers `most` keys."""

    def __init__(self, burst: int, every_s: float, clock: Callable[[], float], most: int = 10_000) -> None:
        self._burst = burst
        self._every_s = every_s
        self._clock = clock
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key: how many attempts were left, and when."""

    def take(self, key: str) -> bool:
        """Count an attempt; return whether it is allowed."""
        left = self._now(key)
        allowed = left >= 1
        self._keep(key, left - 1 if allowed else left)
        return allowed

    def give_back(self, key: str) -> None:
        """Let an attempt not count."""
        self._keep(key, min(self._now(key) + 1, self._burst))

    def _now(self, key: str) -> float:
        left, at = self._left.get(key, (self._burst, self._clock()))
        return min(left + (self._clock() - at) / self._every_s, self._burst)

    def _keep(self, key: str, left: float) -> None:
        self._left[key] = left, self._clock()
        self._left.move_to_end(key)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
