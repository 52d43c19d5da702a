"""Tests of `globals.Clients`: the storehouse of each connection, and the connections that watch each storehouse."""

from hypothesis import given
from hypothesis import strategies as st

from globals import Clients

SIDS = st.sampled_from("abcd")
STOREHOUSES = st.sampled_from([None, 1, 2, "1"])
STEPS = st.lists(st.tuples(SIDS, st.one_of(STOREHOUSES, st.just("leave"))), max_size=40)


@given(STEPS)
def test_both_lookups_agree_after_any_steps(steps: list[tuple[str, int | str | None]]) -> None:
    clients, plain = Clients(), dict[str, int | str | None]()
    for sid, storehouse in steps:
        if storehouse == "leave":
            assert clients.pop(sid, None) == plain.pop(sid, None)
        else:
            clients[sid] = plain[sid] = storehouse
        assert dict(clients) == plain
        assert clients.watched() == {watched for watched in plain.values() if watched is not None}
        for storehouse in (1, 2, "1"):
            assert set(clients.watchers(storehouse)) == {sid for sid, watched in plain.items() if watched == storehouse}
            assert clients.watchers(storehouse) is clients.watchers(storehouse)
