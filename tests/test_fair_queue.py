"""The queue of long questions: which question is next, the positions, and the limits."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.fair_queue import FairQueue, QueueFull, QueueLimits, Ticket

LIMITS = QueueLimits(places=3, places_per_user=2, waiting_per_user=8, places_per_kind={"preview": 1})


def enter(queue: FairQueue, *users: str, kind: str = "chart") -> list[Ticket]:
    """Let the users enter one after another, each with one question. Start each question that may start."""
    tickets = []
    for user in users:
        tickets.append(queue.enter(user, kind))
        start_all(queue)
    return tickets


def start_all(queue: FairQueue) -> list[str]:
    started = []
    while (ticket := queue.start_next()) is not None:
        started.append(ticket.user)
    return started


def leave(queue: FairQueue, ticket: Ticket) -> list[str]:
    """Let a question leave. Return the users whose questions start."""
    queue.leave(ticket)
    return start_all(queue)


def test_one_user_cannot_occupy_all_places() -> None:
    queue = FairQueue(LIMITS)
    greedy = enter(queue, *["greedy"] * 5)
    assert list(queue.positions().values()) == [1, 2, 3]
    assert list(queue.positions()) == greedy[2:]
    enter(queue, "other")
    assert len(queue.positions()) == 3  # the other's question runs


def test_users_take_turns() -> None:
    queue = FairQueue(QueueLimits(places=1, places_per_user=1, waiting_per_user=8))
    (running,) = enter(queue, "a")
    waiting = enter(queue, "a", "a", "a", "b", "b", "c")
    order = []
    while waiting:
        order += leave(queue, running)
        (running,) = [ticket for ticket in waiting if ticket not in queue.positions()]
        waiting.remove(running)
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_the_user_with_the_fewest_running_questions_is_next() -> None:
    queue = FairQueue(LIMITS)
    first, _, third, *_ = enter(queue, "a", "a", "b", "a", "b", "c")
    assert [ticket.user for ticket in queue.positions()] == ["c", "b", "a"]
    assert leave(queue, first) == ["c"]
    assert leave(queue, third) == ["b"]


def test_a_preview_does_not_block_the_charts_behind_it() -> None:
    queue = FairQueue(LIMITS)
    enter(queue, "a", kind="preview")
    (second,) = enter(queue, "b", kind="preview")
    assert queue.positions() == {second: 1}
    enter(queue, "b", kind="chart")
    assert queue.positions() == {second: 1}


def test_the_ninth_waiting_question_of_a_user_is_refused() -> None:
    queue = FairQueue(LIMITS)
    tickets = enter(queue, *["greedy"] * 10)
    with pytest.raises(QueueFull):
        queue.enter("greedy", "chart")
    enter(queue, "other")
    leave(queue, tickets[-1])  # it waits
    enter(queue, "greedy")
    with pytest.raises(QueueFull):
        queue.enter("greedy", "chart")


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["chart", "preview"]), st.integers(0, 30)))


@given(STEPS)
def test_no_limit_is_exceeded_and_every_question_starts(steps: list[tuple[str, str, int]]) -> None:
    queue = FairQueue(LIMITS)
    present: list[Ticket] = []
    for user, kind, leaving in steps:
        try:
            present.append(queue.enter(user, kind))
        except QueueFull:
            assert sum(ticket.user == user for ticket in queue.positions()) == 8
        start_all(queue)
        if leaving < len(present):
            leave(queue, present.pop(leaving))
        check(queue, present)
    while present:
        running = [ticket for ticket in present if ticket not in queue.positions()]
        assert running  # no question waits while all places are free
        present.remove(running[0])
        leave(queue, running[0])
        check(queue, present)
    assert queue.positions() == {}


def check(queue: FairQueue, present: list[Ticket]) -> None:
    positions = queue.positions()
    running = [ticket for ticket in present if ticket not in positions]
    assert list(positions.values()) == list(range(1, len(positions) + 1))
    assert len(running) <= LIMITS.places
    assert all(number <= 2 for number in Counter(ticket.user for ticket in running).values())
    assert sum(ticket.kind == "preview" for ticket in running) <= 1
    for user in "abcd":  # each user's questions of one kind start in order
        mine = [ticket for ticket in present if (ticket.user, ticket.kind) == (user, "chart")]
        places = [positions.get(ticket, 0) for ticket in mine]
        assert places == sorted(places)
