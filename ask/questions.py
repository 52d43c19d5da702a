"""The payload of each event that a client may send, and the limits of the payload's fields.

The docstring of a class says what the server does when it receives the event. The server ignores unknown keys.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from ask.answers import Id

MINUTES = 527_040
"""Largest `data_minute` that a client may send as a number of minutes before now: 366 days."""


Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in ISO 8601 with a UTC offset."""


Person = Annotated[str, msgspec.Meta(max_length=100)]
Comment = Annotated[str, msgspec.Meta(max_length=2_000)]


class Nothing(msgspec.Struct, frozen=True):
    """This event needs no payload. If a client sends a payload, the server ignores it."""


class Storehouses(msgspec.Struct, frozen=True):
    """Return the storehouses of an organisation."""

    org_id: Id


class Register(msgspec.Struct, frozen=True):
    """Watch a storehouse: receive its readings and alarms. Stop watching the previous storehouse.

    After a reconnect, a client sends its last `cursor` to receive the alarm transitions (changes of alarm states) that
    it missed. The client must take this cursor from the answer to `register` or from an `alarms` event, and not from an
    `envs` event. A pushed `envs` event can overtake an `alarms` event. The cursor of the `envs` event is then
    the id of a transition that the client has not received yet.
    """

    store_house_id: Id
    cursor: int | None = None


class AckAlarm(msgspec.Struct, frozen=True):
    """Acknowledge an alarm. The alarm stays open.

    `by` is the name of the person who acknowledges it. The name is required while access is open (no login is
    required).
    """

    alarm_id: Id
    comment: Comment | None = None
    by: Person | None = None


class CloseAlarm(msgspec.Struct, frozen=True):
    """Close an alarm by hand. `reason` explains why, for example because the sensor was removed."""

    alarm_id: Id
    reason: Comment
    by: Person | None = None


class QuerySensors(msgspec.Struct, frozen=True):
    """Return the sensors of a storehouse with their positions and limits.

    With `since`, also return the earlier limits that were in force at or after the time `since`.
    """

    store_house_id: Id
    since: Time | None = None


class QueryRules(msgspec.Struct, frozen=True):
    """Return all alarm rules, or only the rules that may apply to one storehouse."""

    store_house_id: Id | None = None


class SaveRules(msgspec.Struct, frozen=True):
    """Replace all alarm rules that the user may edit.

    If `revision` is given and the rules have been saved since that revision, the server refuses the event.
    """

    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    revision: int | None = None
    by: Person | None = None


class PreviewAlarms(msgspec.Struct, frozen=True):
    """Return the alarms that rules would have raised in a storehouse from `start` to `end`.

    The answer contains two results. One shows the alarms that would have been raised if `rules` had replaced all rules
    in force. The other shows the alarms that the rules in force would have raised.
    """

    store_house_id: Id
    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    start: Time
    end: Time


class SaveMaintenance(msgspec.Struct, frozen=True):
    """Mute the alarms of a storehouse, or of one of its sensors, from `start` to `end`.

    If `maintenance_id` is given, replace the maintenance that has this id, for example to end it early.
    """

    store_house_id: Id
    start: Time
    end: Time
    reason: Comment
    sensor_id: Id | None = None
    maintenance_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    by: Person | None = None


class QueryAlarms(msgspec.Struct, frozen=True):
    """Return the alarms of a storehouse that were open at `data_minute` or were raised later.

    `data_minute` is a number of minutes before now, or "YYYY-MM-DD HH:MM" in the storehouse's time zone.
    """

    store_house_id: Id
    data_minute: Annotated[int, msgspec.Meta(ge=1, le=MINUTES)] | Annotated[str, msgspec.Meta(max_length=16)]


class QueryEnvs(msgspec.Struct, frozen=True):
    """Return the history of one sensor of a storehouse, or of all its sensors by default.

    The history of each sensor consists of at most `points` buckets (time spans).
    """

    store_house_id: Id
    start: Time
    end: Time
    sensor_id: Id | None = None
    points: Annotated[int, msgspec.Meta(ge=10, le=5000)] = 1000
