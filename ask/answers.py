"""What a browser is told: the answers, and what the server pushes."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from common.severity import Severity

Id = int | str
"""An id keeps the JSON type that its column has."""
EVERYWHERE: Id = "*"
"""The storehouse of an alarm about all of them; it is told to whoever watches any."""
Data = dict[str, Any]
"""A JSON object as people wrote it, such as a rule; `alarms/rules.py` has its shape."""
Quality = Literal["good", "stale", "bad"]
StorehouseState = Severity | Literal["stale", "good", "empty"]


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
    quality: Quality


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
    """An alarm; `cleared` is null while it is open.

    What comes after `cleared` stands there for the alarms that Storewatch judges, not for those of a site's own system.
    `raised` of one that is pending is the time of its first reading out of limits.
    """

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
    transition: str | msgspec.UnsetType = msgspec.UNSET
    """The last: pending raised worsened acknowledged cleared reopened closed dismissed withdrawn."""
    since: datetime | msgspec.UnsetType = msgspec.UNSET
    """The time of the first reading out of limits; of missing data, that of the last reading."""
    peak: float | msgspec.UnsetType | None = msgspec.UNSET
    """The value furthest out."""
    limits: list[dict[str, float | str]] | msgspec.UnsetType = msgspec.UNSET
    """Those of its kind that were in force when it began, the mildest first, with their terms in seconds."""
    acknowledged_by: str | msgspec.UnsetType = msgspec.UNSET
    acknowledged_at: datetime | msgspec.UnsetType = msgspec.UNSET
    comment: str | msgspec.UnsetType = msgspec.UNSET
    closed_by: str | msgspec.UnsetType = msgspec.UNSET
    """Who closed it by hand, for which `reason`."""
    reason: str | msgspec.UnsetType = msgspec.UNSET
    cause: str | msgspec.UnsetType = msgspec.UNSET
    """The alarm of which this one is only a part."""
    late: bool | msgspec.UnsetType = msgspec.UNSET
    """It was noticed long after the fact, from readings that came late."""
    silenced: bool | msgspec.UnsetType = msgspec.UNSET
    """It fell into maintenance."""
    drill: bool | msgspec.UnsetType = msgspec.UNSET
    """It is a test."""

    @property
    def is_open(self) -> bool:
        """Whether it is not over; a pending alarm is open, too."""
        return self.cleared is None and self.state != "cleared"


class ChartLimits(msgspec.Struct, frozen=True):
    """The limits in force, as a chart has them; null where there is none."""

    high: float | None
    high_high: float | None
    low: float | None
    low_low: float | None


class FormerChartLimits(ChartLimits, frozen=True):
    """The limits that were in force from `start` to `end`."""

    start: datetime
    end: datetime


class SensorAnswer(msgspec.Struct, frozen=True):
    """A sensor. `interval_s`: null where it reports changes only. `position`: on the floor plan, 0 to 1 each.

    `past_limits` stands there for who has asked since when: those before the last change of the rules.
    """

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    interval_s: float | None
    position: tuple[float, float] | None
    limits: ChartLimits
    past_limits: list[FormerChartLimits] | msgspec.UnsetType = msgspec.UNSET


class RuleChange(msgspec.Struct, frozen=True):
    """A change of the rules: who made it, when, and all rules before and after."""

    written: datetime
    by: str
    before: list[Data]
    after: list[Data]


class Maintenance(msgspec.Struct, frozen=True):
    """A time in which nobody is to be disturbed by a sensor, or by a whole storehouse."""

    maintenance_id: int
    store_house_id: Id
    sensor_id: Id | None
    start: datetime
    end: datetime
    reason: str
    by: str


class Rules(msgspec.Struct, frozen=True):
    """The rules in force, as people wrote them; what counts where none says otherwise; and the newest changes.

    `revision` grows with each change.
    """

    rules: list[Data]
    defaults: dict[str, Data]
    profiles: dict[str, Data]
    changes: list[RuleChange]
    maintenance: list[Maintenance]
    revision: int


class PreviewedAlarm(msgspec.Struct, frozen=True):
    """An alarm as rules would have raised it; `cleared` is null where it is not over at the end of the span."""

    severity: Severity
    raised: datetime
    cleared: datetime | None
    peak: float | None
    limit: float


class AlarmTotals(msgspec.Struct, frozen=True):
    """How many alarms, and for how many seconds in all."""

    count: int
    duration_s: float


class AlarmSummary(msgspec.Struct, frozen=True):
    """How many alarms, for how many seconds in all, the longest, and the first 100 of them."""

    count: int
    duration_s: float
    longest_s: float
    alarms: list[PreviewedAlarm]


class PreviewedKind(msgspec.Struct, frozen=True):
    """The alarms of a kind at a sensor: those of the proposed rules, and those of the rules in force."""

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    kind: str
    proposed: AlarmSummary
    in_force: AlarmSummary


class Preview(msgspec.Struct, frozen=True):
    """Which alarms would have been raised from `start` on and before `end`; `rules`: by each of those proposed."""

    store_house_id: Id
    start: datetime
    end: datetime
    rules: list[AlarmTotals]
    sensors: list[PreviewedKind]


Point = tuple[datetime, float, float, float, int]
"""A bucket of time: when it begins; of its good readings the lowest, the highest, the mean and the number."""


class Curve(msgspec.Struct, frozen=True):
    """A sensor's history; buckets without a good reading are left out."""

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    points: list[Point]


class History(msgspec.Struct, frozen=True):
    """The curves of a storehouse, in buckets of `bucket_s` seconds: those that `start` and `end` lie in are whole."""

    store_house_id: Id
    start: datetime
    end: datetime
    bucket_s: int
    sensors: list[Curve]


class OpenAlarms(msgspec.Struct, frozen=True):
    """How many alarms are open, how many of them nobody has acknowledged, and the worst one's severity."""

    open: int
    unacknowledged: int
    worst: str | None


class OverviewStorehouse(msgspec.Struct, frozen=True):
    """The summary of a storehouse, for the overview.

    `state`, the worst first: critical, warning, info (an alarm is open), stale (a sensor has no recent data, or is
    faulty), good, empty (no sensors). `envs`: of each metric the reading that says most, at most four. `spark`: of the
    first temperature sensor, else of the first, the means of the last 24 hours, null where there are none.
    """

    store_house_id: Id
    store_house_name: str
    time_zone: str
    state: StorehouseState
    envs: list[Env]
    alarms: OpenAlarms
    spark: list[float | None]


class OverviewOrganisation(msgspec.Struct, frozen=True):
    """The summaries of an organisation's storehouses."""

    org_id: Id
    org_name: str
    storehouses: list[OverviewStorehouse]


class Overview(msgspec.Struct, frozen=True):
    """Organisations as they stand at `time`, each of them whole; `stale`: the server has lost its database."""

    time: datetime
    stale: bool
    organisations: list[OverviewOrganisation]


class Alarms(msgspec.Struct, frozen=True):
    """The transitions of a storehouse's alarms, in their order; `cursor` is the id of the last."""

    store_house_id: Id
    cursor: int
    alarms: list[Alarm]


class Who(msgspec.Struct, frozen=True):
    """Who asks: without a name, anybody, for access is open; `expires` null: never."""

    name: str
    role: Literal["watch", "operate", "configure"]
    expires: datetime | None


class Ended(msgspec.Struct, frozen=True):
    """The event `ended`: why the server ends the connection."""

    code: str
    message: str


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
