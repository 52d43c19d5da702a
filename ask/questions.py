"""The payload of each event that a client may send, with its limits.

The server ignores unknown keys.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from ask.answers import Id

MINUTES = 527_040
"""Maximum of `data_minute` as a number of minutes before now: 366 days."""


Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in ISO 8601 with a UTC offset."""


Person = Annotated[str, msgspec.Meta(max_length=100)]
Comment = Annotated[str, msgspec.Meta(max_length=2_000)]


class Nothing(msgspec.Struct, frozen=True):
    """No payload. If a client sends one, the server ignores it."""


class Storehouses(msgspec.Struct, frozen=True):
    """Return the storehouses of an organisation."""

    org_id: Id


class Register(msgspec.Struct, frozen=True):
    """Watch a storehouse, and stop watching the previous one.

    After a reconnect, a client sends its last `cursor` to receive the alarm transitions that it missed. The cursor must
    come from the answer to `register` or from `alarms`: a pushed `envs` may arrive before the alarms that its cursor
    already counts.
    """

    store_house_id: Id
    cursor: int | None = None


class AckAlarm(msgspec.Struct, frozen=True):
    """Acknowledge an alarm. It stays open. `by` is the name of the person, which is required while access is open."""

    alarm_id: Id
    comment: Comment | None = None
    by: Person | None = None


class CloseAlarm(msgspec.Struct, frozen=True):
    """Close an alarm by hand. `reason` says why, for example because the sensor was removed."""

    alarm_id: Id
    reason: Comment
    by: Person | None = None


class QuerySensors(msgspec.Struct, frozen=True):
    """Return the sensors of a storehouse with their positions and limits.

    With `since`, also return the earlier limits that were in force at or after that time.
    """

    store_house_id: Id
    since: Time | None = None


class QueryRules(msgspec.Struct, frozen=True):
    """Return all alarm rules, or only the rules that may apply to one storehouse."""

    store_house_id: Id | None = None


class SaveRules(msgspec.Struct, frozen=True):
    """Replace all alarm rules that the user may edit.

    If `revision` is given and somebody has saved rules since that revision, the server refuses the event.
    """

    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    revision: int | None = None
    by: Person | None = None


class PreviewAlarms(msgspec.Struct, frozen=True):
    """Return the alarms that would have been raised in a storehouse from `start` to `end`.

    The answer contains the alarms that would have been raised if `rules` had replaced all rules in force, and the
    alarms that the rules in force would have raised.
    """

    store_house_id: Id
    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    start: Time
    end: Time


class SaveMaintenance(msgspec.Struct, frozen=True):
    """Mute the alarms of a storehouse, or of one of its sensors, from `start` to `end`.

    With `maintenance_id`, replace the maintenance that has this id, for example to end it early.
    """

    store_house_id: Id
    start: Time
    end: Time
    reason: Comment
    sensor_id: Id | None = None
    maintenance_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    by: Person | None = None


class QueryAlarms(msgspec.Struct, frozen=True):
    """Return the alarms of a storehouse that were open at `data_minute` or have been raised since.

    `data_minute` is a number of minutes before now, or "YYYY-MM-DD HH:MM" in the storehouse's time zone.
    """

    store_house_id: Id
    data_minute: Annotated[int, msgspec.Meta(ge=1, le=MINUTES)] | Annotated[str, msgspec.Meta(max_length=16)]


class QueryEnvs(msgspec.Struct, frozen=True):
    """Return the history of all sensors of a storehouse, or of one sensor, in at most `points` buckets per sensor."""

    store_house_id: Id
    start: Time
    end: Time
    sensor_id: Id | None = None
    points: Annotated[int, msgspec.Meta(ge=10, le=5000)] = 1000
