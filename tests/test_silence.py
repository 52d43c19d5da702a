"""One alarm for what makes many sensors fall silent."""

from collections.abc import Sequence

import msgspec
import pytest

from alarms.model import Change, Episode, Limit
from alarms.outages import LOST_S, is_part, lost, silent
from ask.answers import EVERYWHERE

MINUTE = 60.0
LIMITS = (Limit(3 * MINUTE, "warning"),)


def single(sensor_id: int, since: float = 0.0, store_house_id: int = 7) -> Episode:
    """A sensor silent since this minute."""
    raised = since * MINUTE + 3 * MINUTE
    return Episode(store_house_id, (sensor_id, None), "no_data", since * MINUTE, LIMITS, 0, None, None, raised)


def singles(many: int) -> list[Episode]:
    return [single(number, number) for number in range(many)]


def told(changes: Sequence[Change]) -> list[tuple[str, float]]:
    return [(change.what, change.time / MINUTE) for change in changes]


def cause(many: int = 6) -> Episode:
    (change,) = silent(7, 10, singles(many), None, 60 * MINUTE)
    return change.episode


@pytest.mark.parametrize(("watched", "many"), [(10, 5), (4, 2), (2, 2), (1, 1), (0, 0)])
def test_half_of_a_storehouse_or_two_sensors_are_alarms_of_their_own(watched: int, many: int) -> None:
    assert silent(7, watched, singles(many), None, 60 * MINUTE) == []


@pytest.mark.parametrize(("watched", "many"), [(10, 6), (4, 3), (3, 3), (150, 150)])
def test_most_of_a_storehouse_is_one_alarm_of_the_storehouse(watched: int, many: int) -> None:
    (change,) = silent(7, watched, singles(many), None, 900 * MINUTE)
    episode = change.episode
    assert (change.what, episode.store_house_id, episode.key, episode.kind) == ("raised", 7, None, "no_data")
    assert (episode.severity, episode.value) == ("critical", many)


def test_it_began_with_the_sensor_that_was_too_many_in_whatever_order_they_are_told() -> None:
    silence = singles(8)
    for order in (silence, silence[::-1]):
        assert [change.episode.since for change in silent(7, 10, order, None, 60 * MINUTE)] == [5 * MINUTE]
    assert told(silent(7, 10, silence, None, 60 * MINUTE)) == [("raised", 8)]


def test_it_is_raised_once_and_counts_who_is_silent() -> None:
    assert silent(7, 10, singles(6), cause(), 61 * MINUTE) == []
    (change,) = silent(7, 10, singles(9), cause(), 61 * MINUTE)
    assert (change.what, change.episode.value, change.episode.peak, change.episode.since) == (
        "refreshed",
        9,
        9,
        5 * MINUTE,
    )


def test_it_is_over_when_most_are_heard_again() -> None:
    assert told(silent(7, 10, singles(5), cause(), 70 * MINUTE)) == [("cleared", 70)]
    assert silent(7, 10, [], msgspec.structs.replace(cause(), cleared=70 * MINUTE), 80 * MINUTE) == []


def test_silence_that_returns_soon_goes_on_with_it() -> None:
    over = msgspec.structs.replace(cause(), cleared=70 * MINUTE)
    soon = [single(number, 72) for number in range(6)]
    (change,) = silent(7, 10, soon, over, 76 * MINUTE)
    assert (change.what, change.episode.since, change.episode.state) == ("reopened", 5 * MINUTE, "active")
    later = [single(number, 90) for number in range(6)]
    assert told(silent(7, 10, later, over, 99 * MINUTE)) == [("raised", 93)]


def test_the_single_alarms_of_a_storehouse_are_part_of_its_alarm_while_both_are_open() -> None:
    assert is_part(single(1), cause())
    assert not is_part(single(1, store_house_id=8), cause())
    assert not is_part(single(1), msgspec.structs.replace(cause(), cleared=0.0))
    assert not is_part(msgspec.structs.replace(single(1), cleared=0.0), cause())
    assert not is_part(msgspec.structs.replace(single(1), kind="high"), cause())
    assert not is_part(cause(), cause())


def test_a_database_that_does_not_answer_is_one_alarm_for_all() -> None:
    assert lost(None, 0.0, LOST_S - 1) == []
    (change,) = lost(None, 0.0, LOST_S + 60)
    assert (change.what, change.time, change.episode.since) == ("raised", LOST_S, 0.0)
    assert change.episode.store_house_id == EVERYWHERE
    assert lost(change.episode, 0.0, LOST_S + 90) == []
    assert is_part(single(1), change.episode)
    assert is_part(single(1, store_house_id=8), change.episode)


def test_it_is_over_when_the_database_answers() -> None:
    (change,) = lost(None, 0.0, LOST_S)
    assert told(lost(change.episode, None, 9 * MINUTE)) == [("cleared", 9)]
    assert lost(None, None, 9 * MINUTE) == []
