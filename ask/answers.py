"""What a browser is told: the answers, and what the server pushes."""

from datetime import datetime

import msgspec

Id = int | str
"""An id keeps the JSON type that its column has."""


class Organisation(msgspec.Struct, frozen=True):
    """An owner of storehouses."""

    org_id: Id
    org_name: str


class Storehouse(msgspec.Struct, frozen=True):
    """A place with sensors; `time_zone` is an IANA name."""

    store_house_id: Id
    store_house_name: str
    org_id: Id
    time_zone: str


class Env(msgspec.Struct, frozen=True):
    """A sensor's newest reading.

    `value` and `time` are null where there is none. `quality`: good, stale (older than three of the sensor's
    intervals) or bad (a fault, not a number, no reading at all).
    """

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    value: float | None
    time: datetime | None
    quality: str


class Envs(msgspec.Struct, frozen=True):
    """A storehouse as it stands at `time`; `stale`: the server has lost its database.

    `cursor` is the id of the last alarm transition. `reset` stands there, true, when the cursor that the browser
    brought along is not known: what it missed cannot be told.
    """

    store_house_id: Id
    cursor: int
    time: datetime
    stale: bool
    envs: list[Env]
    reset: bool | msgspec.UnsetType = msgspec.UNSET


class Alarm(msgspec.Struct, frozen=True):
    """An alarm; `cleared` is null while it is open."""

    alarm_id: Id
    store_house_id: Id
    sensor_id: Id | None
    sensor_name: str | None
    metric: str | None
    kind: str
    severity: str
    state: str
    acknowledged: bool
    value: float | None
    limit: float | None
    raised: datetime
    cleared: datetime | None


class Alarms(msgspec.Struct, frozen=True):
    """The transitions of a storehouse's alarms, in their order; `cursor` is the id of the last."""

    store_house_id: Id
    cursor: int
    alarms: list[Alarm]


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a question was refused; `field` is the key of the payload at fault."""

    code: str
    message: str
    field: str | None = None


class AskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The event `ask_error`: a refusal, for browsers that ask without acknowledgement."""

    event: str
    code: str
    message: str
    field: str | None = None
