"""Tests of token buckets: one bucket for a client, and a set of buckets for many keys."""

import pytest

from transport.rate_limit import KeyedTokenBuckets, RateLimit, TokenBucket, address_block


def test_a_token_bucket_allows_a_burst_and_then_a_rate() -> None:
    token_bucket = TokenBucket(RateLimit(2, 3), 100.0)
    assert [token_bucket.consume(100.0) for _ in range(4)] == [2, 1, 0, -1]
    assert [token_bucket.consume(101.0) for _ in range(2)] == [0, -1]
    assert [token_bucket.consume(1_000.0) for _ in range(4)] == [2, 1, 0, -1]


def test_a_failed_attempt_costs_no_token() -> None:
    token_bucket = TokenBucket(RateLimit(1, 2), 0.0)
    assert [token_bucket.try_consume(0.0) for _ in range(4)] == [True, True, False, False]
    assert [token_bucket.try_consume(1.0) for _ in range(2)] == [True, False]


def test_each_key_has_its_own_tokens() -> None:
    buckets = KeyedTokenBuckets(RateLimit(1, 1), lambda: 0.0)
    assert [buckets.try_consume(key) for key in "aabb"] == [True, False, True, False]


def test_returned_tokens_never_exceed_the_burst() -> None:
    buckets = KeyedTokenBuckets(RateLimit(1, 2), lambda: 0.0)
    assert buckets.try_consume("a")
    for _ in range(5):
        buckets.give_back("a")
    assert [buckets.try_consume("a") for _ in range(3)] == [True, True, False]


def test_the_least_recently_used_key_is_dropped_first() -> None:
    buckets = KeyedTokenBuckets(RateLimit(1, 1), lambda: 0.0, max_keys=2)
    assert [buckets.try_consume(key) for key in "abac"] == [True, True, False, True]
    assert [buckets.try_consume(key) for key in "ab"] == [False, True]


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no address", "no address"),
    ],
)
def test_ipv6_addresses_of_one_network_share_a_block(address: str, block: str) -> None:
    assert address_block(address) == block
