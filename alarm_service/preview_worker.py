"""The process that computes previews of alarm rules.

The first line of stdin contains the settings of the sensor database. Each further line is a task, which the process
answers with one line. The process has a low priority, so that it does not delay pushes.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

import settings
from alarms.model import Episode
from alarms.preview import Comparison, Trial, preview
from alarms.rules import Rule
from ask.answers import AlarmSummary, AlarmTotals, Id, Preview, PreviewedAlarm, PreviewedKind
from ask.replay_readings import ReplayReadings
from ask.sensors import Sensor
from ask.site_mapping import subjects_of
from ask.subjects import Subjects
from db import database
from db.limits import PREVIEW_LIMITS
from errors import BadRequest, Params, Reason, Unavailable, UsageError

NICE = 10
"""Niceness of the preview process. A higher niceness means a lower priority."""
MOST_LISTED = 100
"""Maximum number of alarms that a preview lists for each sensor and kind of alarm."""


class Task(msgspec.Struct, frozen=True):
    """The input of a preview: the sensors, the `proposed` rules, the rules `in_force`, and the time span."""

    store_house_id: Id
    sensors: list[Sensor]
    proposed: list[Rule]
    in_force: list[Rule]
    defaults: bool
    start: datetime
    end: datetime
    now: datetime


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a task: a preview, or an error with its `message`.

    If the request has an invalid field, `field` is the name of this field.
    """

    preview: Preview | None = None
    message: str = ""
    field: str | None = None
    reason: Reason | None = None
    values: Params = {}


def answer(task: Task, connection: sa.Connection, site_subjects: Subjects) -> Preview:
    """Compute the preview for a task.

    Raise `BadRequest` if the preview needs too many readings. Raise `Unavailable` if the readings of one hour are more
    than the database can return.
    """
    replay_readings = ReplayReadings(connection, site_subjects, task.now)
    trial = Trial(task.proposed, task.in_force, task.defaults, task.start.timestamp(), task.end.timestamp())
    comparisons = list(preview(trial, task.sensors, replay_readings))
    return Preview(
        task.store_house_id,
        task.start,
        task.end,
        [_totals(_episodes_of_rule(comparisons, number), trial.end) for number in range(len(task.proposed))],
        [_previewed_kind(comparison, trial.end) for comparison in comparisons],
    )


def _episodes_of_rule(comparisons: Iterable[Comparison], rule_number: int) -> Iterator[Episode]:
    for comparison in comparisons:
        for episode, number in zip(comparison.proposed, comparison.rule_numbers, strict=True):
            if number == rule_number:
                yield episode


def _previewed_kind(comparison: Comparison, end: float) -> PreviewedKind:
    sensor = comparison.sensor
    subject = sensor.sensor_id, sensor.sensor_name, sensor.metric, sensor.unit, comparison.kind
    return PreviewedKind(*subject, _summary(comparison.proposed, end), _summary(comparison.in_force, end))


def _summary(episodes: list[Episode], end: float) -> AlarmSummary:
    longest = max((_duration(episode, end) for episode in episodes), default=0.0)
    listed = [_previewed_alarm(episode) for episode in episodes[:MOST_LISTED]]
    return AlarmSummary(*_count_and_duration(episodes, end), longest, listed)


def _totals(episodes: Iterable[Episode], end: float) -> AlarmTotals:
    return AlarmTotals(*_count_and_duration(episodes, end))


def _count_and_duration(episodes: Iterable[Episode], end: float) -> tuple[int, float]:
    durations = [_duration(episode, end) for episode in episodes]
    return len(durations), round(sum(durations), 3)


def _duration(episode: Episode, end: float) -> float:
    return round((end if episode.cleared is None else episode.cleared) - (episode.raised or end), 3)


def _previewed_alarm(episode: Episode) -> PreviewedAlarm:
    raised = _to_datetime(episode.raised or episode.since)
    cleared = None if episode.cleared is None else _to_datetime(episode.cleared)
    return PreviewedAlarm(episode.severity, raised, cleared, episode.peak, episode.limit)


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def main(lines: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    """Read the settings of the sensor database from the first line, then compute a preview for each further line.

    Pass each answer, as a line of JSON, to `write`.
    """
    line_iterator = iter(lines)
    database_settings = msgspec.json.decode(next(line_iterator), type=settings.Database)
    sensor_database = database.Database(database_settings, PREVIEW_LIMITS, 1)
    for line in line_iterator:
        task = msgspec.json.decode(line, type=Task)
        try:
            with sensor_database.engine.connect() as connection:
                site_subjects = subjects_of(database_settings, settings.Source(None), connection)
                answered = Answer(answer(task, connection, site_subjects))
        except (BadRequest, Unavailable) as error:
            answered = Answer(None, error.message, error.field, error.reason, error.values)
        except (UsageError, *database.DATABASE_ERRORS):
            answered = Answer(None, "the database does not answer")
        write(msgspec.json.encode(answered) + b"\n")


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    os.nice(NICE)
    main(sys.stdin.buffer, _write)
