"""Who watches which storehouse, known both ways."""

from hypothesis import given
from hypothesis import strategies as st

from globals import Clients

SIDS = st.sampled_from("abcd")
PLACES = st.sampled_from([None, 1, 2, "1"])
STEPS = st.lists(st.tuples(SIDS, st.one_of(PLACES, st.just("leave"))), max_size=40)


@given(STEPS)
def test_both_ways_agree_whatever_happens(steps: list[tuple[str, int | str | None]]) -> None:
    clients, plain = Clients(), dict[str, int | str | None]()
    for sid, place in steps:
        if place == "leave":
            assert clients.pop(sid, None) == plain.pop(sid, None)
        else:
            clients[sid] = plain[sid] = place
        assert dict(clients) == plain
        assert clients.watched() == {one for one in plain.values() if one is not None}
        for one in (1, 2, "1"):
            assert set(clients.watchers(one)) == {sid for sid, watched in plain.items() if watched == one}
            assert clients.watchers(one) is clients.watchers(one)
