"""The process that makes previews: a database on its first line of stdin, then a task a line, and an answer to each.

It runs at low priority: pushes come first.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

import settings
from alarms.model import Episode
from alarms.preview import Compared, Trial, preview
from alarms.rules import Rule
from ask.answers import AlarmSummary, AlarmTotals, Id, Preview, PreviewedAlarm, PreviewedKind
from ask.replay_readings import ReplayReadings
from ask.sensors import Sensor
from ask.subjects import Subjects, subjects
from db import database
from errors import BadRequest, Unavailable, UsageError

NICE = 10
TOLD = 100
"""Of the alarms of a kind at a sensor so many are told one by one."""


class Task(msgspec.Struct, frozen=True):
    """Judge what these sensors have read by `proposed` rules and by those `in_force`."""

    store_house_id: Id
    sensors: list[Sensor]
    proposed: list[Rule]
    in_force: list[Rule]
    defaults: bool
    start: datetime
    end: datetime
    now: datetime


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The preview, or else what is wrong; `field` where that is the question."""

    preview: Preview | None = None
    message: str = ""
    field: str | None = None


def answer(task: Task, connection: sa.Connection, found: Subjects) -> Preview:
    """Return the preview; raises `BadRequest`, `Unavailable`."""
    past = ReplayReadings(connection, found, task.now)
    span = task.start.timestamp(), task.end.timestamp()
    trial = Trial(task.proposed, task.in_force, task.defaults, *span)
    rang = list(preview(trial, task.sensors, past))
    return Preview(
        task.store_house_id,
        task.start,
        task.end,
        [AlarmTotals(*_sum(_of_rule(rang, number), trial.end)) for number in range(len(task.proposed))],
        [_kind(one, trial.end) for one in rang],
    )


def _of_rule(rang: Iterable[Compared], number: int) -> Iterator[Episode]:
    for one in rang:
        yield from (episode for episode, giver in zip(one.proposed, one.givers, strict=True) if giver == number)


def _kind(one: Compared, end: float) -> PreviewedKind:
    sensor = one.sensor
    about = sensor.sensor_id, sensor.sensor_name, sensor.metric, sensor.unit, one.kind
    return PreviewedKind(*about, _rings(one.proposed, end), _rings(one.in_force, end))


def _rings(episodes: list[Episode], end: float) -> AlarmSummary:
    longest = max((_duration(one, end) for one in episodes), default=0.0)
    return AlarmSummary(*_sum(episodes, end), longest, [_alarm(one) for one in episodes[:TOLD]])


def _sum(episodes: Iterable[Episode], end: float) -> tuple[int, float]:
    durations = [_duration(one, end) for one in episodes]
    return len(durations), round(sum(durations), 3)


def _duration(one: Episode, end: float) -> float:
    return round((end if one.cleared is None else one.cleared) - (one.raised or end), 3)


def _alarm(one: Episode) -> PreviewedAlarm:
    cleared = None if one.cleared is None else _time(one.cleared)
    return PreviewedAlarm(one.severity, _time(one.raised or one.since), cleared, one.peak, one.limit)


def _time(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def main(lines: Iterable[bytes], tell: Callable[[bytes], object]) -> None:
    """Answer each line."""
    inbox = iter(lines)
    where = msgspec.json.decode(next(inbox), type=settings.Database)
    asked = database.Database(where, database.WORKING, 1)
    for line in inbox:
        task = msgspec.json.decode(line, type=Task)
        try:
            with asked.engine.connect() as connection:
                told = Answer(answer(task, connection, subjects(where, settings.Source(None), connection)))
        except (BadRequest, Unavailable) as error:
            told = Answer(None, error.message, error.field)
        except (UsageError, *database.LOST):
            told = Answer(None, "the database does not answer")
        tell(msgspec.json.encode(told) + b"\n")


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    os.nice(NICE)
    main(sys.stdin.buffer, _tell)
