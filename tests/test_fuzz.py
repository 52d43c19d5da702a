"""Fuzz tests: the server answers every event of a client and keeps the connection open."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from access.admission import MAX_IN_FLIGHT
from server import EVENTS
from tests.support.clients import KINDS, TRANSPORTS, Client, Kind, new
from tests.support.serving import StorewatchServer, served
from tests.support.sites import site

BATCH = 50
BATCHES = 40  # of 50 events each: 2,000 events per client
RESERVED = ("connect", "disconnect", "connect_error", "disconnecting", "newListener", "removeListener")
CODES = {"bad_request", "unknown_event", "not_found"}

numbers = st.one_of(
    st.integers(-3, 3), st.integers(), st.just(10**30), st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["1", "2", "2026-11-22 15:00", "2025-13-45 99:99", "' or 1=1 --", "\x00", "<img onerror=x>", "😀"]),
)
long_texts = st.integers(0, 60_000).map("x".__mul__)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=50))
keys = st.one_of(
    st.sampled_from(["org_id", "store_house_id", "data_minute", "cursor", "start", "end", "_placeholder", "num"]),
    st.text(max_size=8),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
)
# The Python client itself fails on deeper nesting. Therefore test_contract builds deeper packets by hand.
nested = st.integers(1, 300).map(lambda depth: _nested(depth))
payloads = st.lists(values, max_size=3) | st.one_of(long_texts, nested).map(lambda value: [value])
names = st.one_of(st.sampled_from(sorted(EVENTS)), st.sampled_from(sorted(EVENTS)), st.text(max_size=20))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class Conversation:
    """A client and its event loop. All repetitions of a Hypothesis test use the same conversation."""

    def __init__(self, kind: Kind, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.client = self.run(self._open(kind, url))

    async def _open(self, kind: Kind, url: str) -> Client:
        client = new(kind)
        await client.connect(url, TRANSPORTS["websocket"])
        return client

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.client.close())
        self._loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    with site({"path": str(tmp_path_factory.mktemp("fuzz") / "site.db")}) as built:
        free = {"rate_limit": 1e6, "rate_burst": 1_000_000}
        where = {"database": {"path": built.database.settings.path}}
        with served(StorewatchServer(tmp_path_factory.mktemp("serving"), where | free)) as server:
            yield server


@pytest.fixture(scope="module", params=KINDS)
def conversation(request: pytest.FixtureRequest, server: StorewatchServer) -> Iterator[Conversation]:
    talking = Conversation(request.param, server.url)
    yield talking
    assert not talking.client.disconnected.is_set()
    talking.close()


async def _send_all(client: Client, events: Sequence[tuple[str, list[Any]]]) -> list[Any]:
    answers = []
    for start in range(0, len(events), MAX_IN_FLIGHT):
        part = events[start : start + MAX_IN_FLIGHT]
        answers += await asyncio.gather(*(client.call(name, *payload) for name, payload in part))
    return answers


@pytest.mark.slow
@settings(
    max_examples=BATCHES,
    derandomize=True,
    phases=[Phase.generate],  # shrinking would repeat thousands of events
    suppress_health_check=list(HealthCheck),
)
@given(
    events=st.lists(
        st.tuples(names.filter(lambda name: name not in RESERVED), payloads), min_size=BATCH, max_size=BATCH
    )
)
def test_every_event_is_acknowledged_and_the_connection_stays_open(
    conversation: Conversation, events: list[tuple[str, list[Any]]]
) -> None:
    for (name, payload), answer in zip(events, conversation.run(_send_all(conversation.client, events)), strict=True):
        told = answer["ok"] or answer["error"]["code"] in CODES
        assert told, (name, payload, answer)
    assert not conversation.client.disconnected.is_set()
