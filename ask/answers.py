"""The types of the server's answers and pushes."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from common.severity import Severity
from errors import Params

Id = int | str
"""An id; it has the JSON type of its database column."""
EVERYWHERE: Id = "*"
"""The `store_house_id` of an alarm about all storehouses. Every client that watches a storehouse gets this alarm."""
Data = dict[str, Any]
"""A JSON object as a user wrote it, such as an alarm rule. `alarms/rules.py` defines the fields of a rule."""
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

    `value` is null if the reading is a fault. `value` and `time` are null if there is no reading. `quality` is stale if
    the reading is older than three intervals of the sensor. It is bad if the reading is a fault or not a number, or if
    there is no reading. Otherwise it is good.
    """

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    value: float | None
    time: datetime | None
    quality: Quality


class Envs(msgspec.Struct, frozen=True):
    """The newest reading of each sensor of a storehouse, at `time`. `stale` is true while the database does not answer.

    `cursor` is the id of the last alarm transition. `reset` is true if the server cannot send the transitions that the
    client missed, because it does not know the cursor that the client sent, or because there are more than 10,000.
    Otherwise `reset` is absent.
    """

    store_house_id: Id
    cursor: int
    time: datetime
    stale: bool
    envs: list[Env]
    reset: bool | msgspec.UnsetType = msgspec.UNSET


class Alarm(msgspec.Struct, frozen=True):
    """An alarm. `cleared` is null while the alarm is open.

    Only alarms that Storewatch raises have the fields after `cleared`; alarms of a site's own system do not. While an
    alarm is pending, `raised` is the time of its first reading out of limits.
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
    """The alarm's last transition: pending raised worsened acknowledged cleared reopened closed dismissed withdrawn."""
    since: datetime | msgspec.UnsetType = msgspec.UNSET
    """Time of the alarm's first reading out of limits; for a no-data alarm, time of the sensor's last good reading."""
    peak: float | msgspec.UnsetType | None = msgspec.UNSET
    """The value of the alarm that was furthest beyond the limit."""
    limits: list[dict[str, float | str]] | msgspec.UnsetType = msgspec.UNSET
    """The limits of this alarm kind, mildest first. They change with the rules while the alarm is open.

    Delays and time spans are in seconds.
    """
    acknowledged_by: str | msgspec.UnsetType = msgspec.UNSET
    acknowledged_at: datetime | msgspec.UnsetType = msgspec.UNSET
    comment: str | msgspec.UnsetType = msgspec.UNSET
    closed_by: str | msgspec.UnsetType = msgspec.UNSET
    """Name of the user who closed the alarm by hand. `reason` is the explanation of this user."""
    reason: str | msgspec.UnsetType = msgspec.UNSET
    cause: str | msgspec.UnsetType = msgspec.UNSET
    """The `alarm_id` of the outage alarm of which this alarm is a part."""
    late: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether the alarm was found by readings that arrived late."""
    silenced: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether maintenance mutes the alarm."""
    drill: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether the alarm is a test alarm."""

    @property
    def is_open(self) -> bool:
        """Whether the alarm has not ended yet. A pending alarm is open too."""
        return self.cleared is None and self.state != "cleared"


class ChartLimits(msgspec.Struct, frozen=True):
    """The limits of a sensor that a chart shows. A limit that is not set is null."""

    high: float | None
    high_high: float | None
    low: float | None
    low_low: float | None


class FormerChartLimits(ChartLimits, frozen=True):
    """The limits of a sensor that were in force from `start` to `end`."""

    start: datetime
    end: datetime


class SensorAnswer(msgspec.Struct, frozen=True):
    """A sensor with its limits.

    `interval_s` is null if the sensor reports only changes. `position` is x and y on the floor plan, each from 0 to 1.
    `past_limits` is present only if the request has `since`: the limits before the last change of the rules.
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
    """A change of the alarm rules: its time, its user, and all rules before and after it."""

    written: datetime
    by: str
    before: list[Data]
    after: list[Data]


class Maintenance(msgspec.Struct, frozen=True):
    """A time span in which the alarms of a sensor, or of a whole storehouse, are muted."""

    maintenance_id: int
    store_house_id: Id
    sensor_id: Id | None
    start: datetime
    end: datetime
    reason: str
    by: str


class Rules(msgspec.Struct, frozen=True):
    """The alarm rules in force, the default limits, the profiles, the newest changes of the rules, and the maintenance.

    `rules` are as users wrote them. `defaults` contains the limits that apply if no rule sets them, by metric.
    `revision` increases with each change.
    """

    rules: list[Data]
    defaults: dict[str, Data]
    profiles: dict[str, Data]
    changes: list[RuleChange]
    maintenance: list[Maintenance]
    revision: int


class PreviewedAlarm(msgspec.Struct, frozen=True):
    """An alarm that rules would have raised. `cleared` is null if the alarm is still open at the end of the preview."""

    severity: Severity
    raised: datetime
    cleared: datetime | None
    peak: float | None
    limit: float


class AlarmTotals(msgspec.Struct, frozen=True):
    """Number of alarms in a preview, and their total duration in seconds."""

    count: int
    duration_s: float


class AlarmSummary(msgspec.Struct, frozen=True):
    """Number of alarms in a preview, their total and longest duration in seconds, and the first 100 alarms."""

    count: int
    duration_s: float
    longest_s: float
    alarms: list[PreviewedAlarm]


class PreviewedKind(msgspec.Struct, frozen=True):
    """The alarms of one kind that the proposed rules, and the rules in force, would have raised at a sensor."""

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    kind: str
    proposed: AlarmSummary
    in_force: AlarmSummary


class Preview(msgspec.Struct, frozen=True):
    """The alarms that the proposed rules, and the rules in force, would have raised from `start` to before `end`.

    `rules` contains the totals of each proposed rule, in the order of the request.
    """

    store_house_id: Id
    start: datetime
    end: datetime
    rules: list[AlarmTotals]
    sensors: list[PreviewedKind]


Point = tuple[datetime, float, float, float, int]
"""The start of a bucket, then the minimum, maximum, mean and count of its good readings."""


class Curve(msgspec.Struct, frozen=True):
    """The history of a sensor, without buckets that have no good reading."""

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    points: list[Point]


class History(msgspec.Struct, frozen=True):
    """The history of a storehouse's sensors, in buckets of `bucket_s` seconds.

    The first and last buckets include all their readings, even those before `start` or after `end`.
    """

    store_house_id: Id
    start: datetime
    end: datetime
    bucket_s: int
    sensors: list[Curve]


class OpenAlarms(msgspec.Struct, frozen=True):
    """Number of open alarms in a storehouse, number of unacknowledged alarms, and the worst severity.

    `worst` is null if no alarm is open.
    """

    open: int
    unacknowledged: int
    worst: str | None


class OverviewStorehouse(msgspec.Struct, frozen=True):
    """The summary of a storehouse in the overview.

    `state` is the first of these that applies: critical, warning or info (an alarm is open), stale (a sensor has no
    recent data or is faulty), good, empty (no sensors).

    `envs` contains one env for each metric, at most four. It is chosen among the good readings: first those of sensors
    with an open alarm, then the one furthest from the median. If none is good, it is the newest.

    `spark` contains 24 hourly means from the first temperature sensor, or from the first sensor if none measures
    temperature. An hour without readings is null.
    """

    store_house_id: Id
    store_house_name: str
    time_zone: str
    state: StorehouseState
    envs: list[Env]
    alarms: OpenAlarms
    spark: list[float | None]


class OverviewOrganisation(msgspec.Struct, frozen=True):
    """An organisation and the summaries of its visible storehouses."""

    org_id: Id
    org_name: str
    storehouses: list[OverviewStorehouse]


class Overview(msgspec.Struct, frozen=True):
    """The state of organisations at `time`, each with all its visible storehouses.

    `stale` is true while the database does not answer.
    """

    time: datetime
    stale: bool
    organisations: list[OverviewOrganisation]


class Alarms(msgspec.Struct, frozen=True):
    """Transitions of a storehouse's alarms, in order. `cursor` is the id of the last transition."""

    store_house_id: Id
    cursor: int
    alarms: list[Alarm]


class Who(msgspec.Struct, frozen=True):
    """The user of this connection.

    `name` is empty while access is open. `expires` is null if the user's access never expires.
    """

    name: str
    role: Literal["watch", "operate", "configure"]
    expires: datetime | None


class Ended(msgspec.Struct, frozen=True):
    """The payload of the event `ended`: the reason why the server closes the connection."""

    code: str
    message: str


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reason why the server refused an event. `field` is the payload key that is wrong."""

    code: str
    message: str
    field: str | None = None
    params: Params = msgspec.field(default_factory=dict)


class AskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of the event `ask_error`: a refusal, for clients that request no acknowledgement."""

    event: str
    code: str
    message: str
    field: str | None = None
    params: Params = msgspec.field(default_factory=dict)
