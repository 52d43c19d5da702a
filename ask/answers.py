"""The types of the server's answers and pushes."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from common.severity import Severity
from errors import Params

Id = int | str
"""An id. It is an integer if its database column contains integers, and otherwise a string."""
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
    """A place with sensors. `time_zone` is the IANA name of its time zone, such as Asia/Shanghai."""

    store_house_id: Id
    store_house_name: str
    org_id: Id
    time_zone: str


class Env(msgspec.Struct, frozen=True):
    """A sensor's newest reading.

    `value` is null if the reading is a fault, such as a value that is not a number or that no sensor can measure.
    `value` and `time` are null if the sensor has no reading. `quality` is bad if the reading is a fault or does not
    exist. It is stale if the reading is older than three times the sensor's interval between readings. Otherwise it is
    good.
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

    `unrecorded` is true while the server cannot record alarms.

    `cursor` is the id of the last alarm transition (change of an alarm's state). `reset` is true if the server cannot
    send the transitions that the client missed. There are two possible reasons: the server does not know the cursor
    that the client sent, or the client missed more than 10,000 transitions. Otherwise `reset` is absent.
    """

    store_house_id: Id
    cursor: int
    time: datetime
    stale: bool
    unrecorded: bool
    envs: list[Env]
    reset: bool | msgspec.UnsetType = msgspec.UNSET


class Alarm(msgspec.Struct, frozen=True):
    """An alarm. `cleared` is null while the alarm is open.

    Alarms that Storewatch raises have all fields. Alarms of a site's own system have only the fields up to `cleared`.
    While an alarm is pending (waiting until its delay has passed), `raised` has the value of `since`.
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
    """The alarm's last change of state: pending, raised, worsened, acknowledged, cleared, reopened, closed, dismissed
    or withdrawn."""
    since: datetime | msgspec.UnsetType = msgspec.UNSET
    """Time of the first reading that violated a limit. For a no-data alarm, it is the time of the sensor's last
    usable reading."""
    peak: float | msgspec.UnsetType | None = msgspec.UNSET
    """The value that was furthest beyond the limit since the alarm began."""
    limits: list[dict[str, float | str]] | msgspec.UnsetType = msgspec.UNSET
    """All limits of this kind of alarm at this sensor, the least severe first. If the rules change while the alarm is
    open, this list changes too.

    Delays and time spans are in seconds.
    """
    acknowledged_by: str | msgspec.UnsetType = msgspec.UNSET
    acknowledged_at: datetime | msgspec.UnsetType = msgspec.UNSET
    comment: str | msgspec.UnsetType = msgspec.UNSET
    closed_by: str | msgspec.UnsetType = msgspec.UNSET
    """Name of the user who closed the alarm by hand. The field `reason` contains this user's explanation."""
    reason: str | msgspec.UnsetType = msgspec.UNSET
    cause: str | msgspec.UnsetType = msgspec.UNSET
    """The `alarm_id` of the outage alarm that includes this alarm. An outage alarm is raised when most sensors of
    a storehouse have no data, or when the sensor database does not answer."""
    late: bool | msgspec.UnsetType = msgspec.UNSET
    """True if late readings caused the alarm's last change. Storewatch then found the change some time after it had
    happened. The field becomes false when the sensor's readings are up to date again."""
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

    `interval_s` is the number of seconds between readings. It is null if the sensor reports only changes. `position`
    contains x (from the left) and y (from the top) on the floor plan, each from 0 to 1. `past_limits` is present only
    if the request contains `since`. It lists the limits that were in force from `since` until the last change of the
    rules.
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
    """A change of the alarm rules: when it was made and by which user, and all rules before and after the change."""

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
    """The alarm rules in force, with default limits, profiles, recent changes of the rules, and maintenance.

    `rules` contains the rules as users wrote them. `defaults` contains, for each metric, the limits that apply if no
    rule sets other limits. `maintenance` contains time spans in which alarms are muted. `revision` increases each time
    the rules are saved.
    """

    rules: list[Data]
    defaults: dict[str, Data]
    profiles: dict[str, Data]
    changes: list[RuleChange]
    maintenance: list[Maintenance]
    revision: int


class PreviewedAlarm(msgspec.Struct, frozen=True):
    """An alarm that alarm rules would have raised in the time span of a preview.

    `cleared` is null if the alarm is still open at the end of this time span.
    """

    severity: Severity
    raised: datetime
    cleared: datetime | None
    peak: float | None
    limit: float


class AlarmTotals(msgspec.Struct, frozen=True):
    """The number of alarms that a rule would have raised, and their total duration in seconds."""

    count: int
    duration_s: float


class AlarmSummary(msgspec.Struct, frozen=True):
    """Previewed alarms of one kind at one sensor: their number, durations in seconds, and the first 100 alarms.

    `duration_s` is the total duration of all alarms. `longest_s` is the duration of the longest alarm.
    """

    count: int
    duration_s: float
    longest_s: float
    alarms: list[PreviewedAlarm]


class PreviewedKind(msgspec.Struct, frozen=True):
    """The alarms of one kind that alarm rules would have raised at one sensor.

    `proposed` contains the alarms that the proposed rules would have raised. `in_force` contains the alarms that the
    rules in force would have raised.
    """

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    kind: str
    proposed: AlarmSummary
    in_force: AlarmSummary


class Preview(msgspec.Struct, frozen=True):
    """The alarms that alarm rules would have raised in a storehouse from `start` to `end`.

    The time `end` is not included. `sensors` compares the alarms of the proposed rules with those of the rules in
    force. `rules` contains one element for each proposed rule, in the order of the request: the number of alarms that
    this rule would have raised, and their total duration.
    """

    store_house_id: Id
    start: datetime
    end: datetime
    rules: list[AlarmTotals]
    sensors: list[PreviewedKind]


Point = tuple[datetime, float, float, float, int]
"""A bucket (time span) of a chart: its start, and the minimum, maximum, mean and number of its good readings."""


class Curve(msgspec.Struct, frozen=True):
    """The history of a sensor: a point for each bucket (time span). Buckets without a good reading are left out."""

    sensor_id: Id
    sensor_name: str
    metric: str
    unit: str
    points: list[Point]


class History(msgspec.Struct, frozen=True):
    """The history of a storehouse's sensors, in buckets (time spans) of `bucket_s` seconds.

    The first and the last bucket are complete: they also contain readings shortly before `start` and shortly after
    `end`.
    """

    store_house_id: Id
    start: datetime
    end: datetime
    bucket_s: int
    sensors: list[Curve]


class OpenAlarms(msgspec.Struct, frozen=True):
    """The number and the worst severity of a storehouse's open alarms. Pending alarms are not counted.

    `unacknowledged` is the number of open alarms that no user has acknowledged. `worst` is null if no alarm is open.
    """

    open: int
    unacknowledged: int
    worst: str | None


class OverviewStorehouse(msgspec.Struct, frozen=True):
    """The summary of a storehouse in the overview.

    `state` is the first of these words that applies: critical, warning or info (an alarm with this severity is open),
    stale (a sensor has no recent data or is faulty), empty (there are no sensors), good (all sensors are good).

    `envs` contains the newest reading of one sensor for each metric, for at most four metrics. For each metric, the
    candidates are the good readings of sensors with an open alarm. If there are none, all good readings of the metric
    are candidates. The server chooses the candidate whose value is furthest from the median of the metric's good
    readings. If the metric has no good reading, the server chooses the newest reading of the metric.

    `spark` contains 24 hourly means from the first temperature sensor, or from the first sensor if no sensor measures
    temperature. The mean of an hour without readings is null.
    """

    store_house_id: Id
    store_house_name: str
    time_zone: str
    state: StorehouseState
    envs: list[Env]
    alarms: OpenAlarms
    spark: list[float | None]


class OverviewOrganisation(msgspec.Struct, frozen=True):
    """An organisation, and a summary of each of its storehouses that the user may see."""

    org_id: Id
    org_name: str
    storehouses: list[OverviewStorehouse]


class Overview(msgspec.Struct, frozen=True):
    """The state of organisations and their storehouses at `time`.

    An organisation contains all its storehouses that the user may see. `stale` is true while the database does not
    answer. `unrecorded` is true while the server cannot record alarms.
    """

    time: datetime
    stale: bool
    unrecorded: bool
    organisations: list[OverviewOrganisation]


class Alarms(msgspec.Struct, frozen=True):
    """Transitions (changes of alarm states) in a storehouse.

    `alarms` contains one element for each transition, in order: the alarm as it was after the transition. `cursor` is
    the id of the last transition.
    """

    store_house_id: Id
    cursor: int
    alarms: list[Alarm]


class Who(msgspec.Struct, frozen=True):
    """The user of this connection.

    `name` is empty while access is open (no login is required). `expires` is null if the user's access never expires.
    """

    name: str
    role: Literal["watch", "operate", "configure"]
    expires: datetime | None


class Ended(msgspec.Struct, frozen=True):
    """The payload of the event `ended`: the reason why the server closes the connection."""

    code: str
    message: str


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reason why the server refused an event. `field` is the key of the invalid value in the payload, if any."""

    code: str
    message: str
    field: str | None = None
    params: Params = msgspec.field(default_factory=dict)


class AskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of the event `ask_error`: why the server refused an event.

    The server sends it to clients that request no acknowledgement.
    """

    event: str
    code: str
    message: str
    field: str | None = None
    params: Params = msgspec.field(default_factory=dict)


class AskWaiting(msgspec.Struct, frozen=True):
    """The payload of the event `ask_waiting`: a long question of the client waits for its turn.

    `event` is the name of the question. At position 1, the question is the next to start.
    """

    event: str
    position: int
