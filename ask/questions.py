"""What a browser may ask: the payload of each event, with its limits.

Keys that are not known are ignored.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from ask.answers import Id

MINUTES = 527_040
"""The most minutes back from now: 366 days."""


Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""ISO 8601 with its offset."""


Person = Annotated[str, msgspec.Meta(max_length=100)]
Comment = Annotated[str, msgspec.Meta(max_length=2_000)]


class Nothing(msgspec.Struct, frozen=True):
    """No payload; whatever comes is ignored."""


class Storehouses(msgspec.Struct, frozen=True):
    """The storehouses of an organisation."""

    org_id: Id


class Register(msgspec.Struct, frozen=True):
    """Watch a storehouse, instead of the one watched before.

    `cursor` is the last one seen, for a browser that comes back after a lost connection.
    """

    store_house_id: Id
    cursor: int | None = None


class AckAlarm(msgspec.Struct, frozen=True):
    """Somebody, `by` name, has seen an alarm; that does not clear it."""

    alarm_id: Id
    comment: Comment | None = None
    by: Person | None = None


class CloseAlarm(msgspec.Struct, frozen=True):
    """Clear an alarm by hand, for a `reason` such as a sensor that is faulty or was removed."""

    alarm_id: Id
    reason: Comment
    by: Person | None = None


class QuerySensors(msgspec.Struct, frozen=True):
    """The sensors of a storehouse, with their places and limits; the limits that were, too, back to `since`."""

    store_house_id: Id
    since: Time | None = None


class QueryRules(msgspec.Struct, frozen=True):
    """The rules of our alarms, or those that may hold in one storehouse."""

    store_house_id: Id | None = None


class SaveRules(msgspec.Struct, frozen=True):
    """Let these rules hold from now on, instead of all that there are; only if those are still of that `revision`."""

    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    revision: int | None = None
    by: Person | None = None


class PreviewAlarms(msgspec.Struct, frozen=True):
    """Which alarms these rules would have raised in a storehouse from `start` to `end`, had they been all there are."""

    store_house_id: Id
    rules: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=2_000)]
    start: Time
    end: Time


class SaveMaintenance(msgspec.Struct, frozen=True):
    """From `start` to `end` nobody is to be disturbed by a storehouse, or by one of its sensors.

    With `maintenance_id` this holds instead of that one, which may so be ended early.
    """

    store_house_id: Id
    start: Time
    end: Time
    reason: Comment
    sensor_id: Id | None = None
    maintenance_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    by: Person | None = None


class QueryAlarms(msgspec.Struct, frozen=True):
    """The alarms of a storehouse that were open, or raised, since `data_minute`.

    Minutes back from now, or "YYYY-MM-DD HH:MM" in the storehouse's zone.
    """

    store_house_id: Id
    data_minute: Annotated[int, msgspec.Meta(ge=1, le=MINUTES)] | Annotated[str, msgspec.Meta(max_length=16)]


class QueryEnvs(msgspec.Struct, frozen=True):
    """The history of a storehouse's sensors, or of one of them, in at most `points` buckets of time each."""

    store_house_id: Id
    start: Time
    end: Time
    sensor_id: Id | None = None
    points: Annotated[int, msgspec.Meta(ge=10, le=5000)] = 1000
