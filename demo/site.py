"""The simulated site: organisations, their storehouses, and the sensors in them.

The database holds the English names. In Chinese, the dashboard shows the names in `CHINESE_NAMES` instead.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from demo import rooms

INTERVAL_S = 120.0
"""Expected interval between readings of a sensor, in seconds. A sensor becomes stale after three intervals.

Three intervals are longer than the five-minute steps of the history, so no sensor is stale after a restart.
"""

SWITCHES = {"smoke", "water", "door"}

REPORT_INTERVAL_S = 10
"""Interval between two reports of a storehouse, in seconds. All sensors of the storehouse report together."""


class Condition(Enum):
    """The condition of a sensor."""

    GOOD = auto()
    FAILING = auto()
    """The sensor drifts, jitters and sometimes reports a fault."""
    STOPPED = auto()
    """The sensor stopped reporting days before the first start of the demo."""


@dataclass(frozen=True)
class Metric:
    """A metric of the demo."""

    name: str
    """Name of a sensor of the metric, with a placeholder for the location."""
    chinese_name: str
    unit: str
    digits: int
    shift: float
    """Distance by which the metric's sensors are moved to the right on the floor plan.

    Without this offset, sensors at the same location would hide each other.
    """
    low: float = 0.0
    high: float = inf


METRICS = {
    "temperature": Metric("{} temperature", "{}温度", "°C", 1, 0, low=-inf),
    "humidity": Metric("{} humidity", "{}湿度", "%", 1, 0.06, high=100.0),
    "light": Metric("{} light", "{}照度", "lx", 0, -0.06),
    "co2": Metric("{} CO₂", "{}二氧化碳", "ppm", 0, 0.12),
    "pm25": Metric("{} PM2.5", "{}PM2.5", "µg/m³", 0, -0.12),
    "pressure": Metric("{} overpressure", "{}压差", "Pa", 1, 0.12, low=-inf),
    "power": Metric("{} power", "{}功率", "kW", 2, 0.06),
    "smoke": Metric("{} smoke detector", "{}烟感", "", 0, 0),
    "water": Metric("{} water leak", "{}水浸", "", 0, 0),
    "door": Metric("{} contact", "{}开关", "", 0, 0.12),
}

LOCATIONS = {
    "door": ("Door", "库门", (0.44, 0.92)),
    "rack_a": ("Rack A", "货架A", (0.22, 0.58)),
    "rack_b": ("Rack B", "货架B", (0.72, 0.58)),
    "centre": ("Centre", "中央", (0.46, 0.50)),
    "rear": ("Rear", "库尾", (0.30, 0.12)),
    "evaporator": ("Cooling unit", "制冷机组", (0.76, 0.10)),
    "ceiling": ("Ceiling", "顶棚", (0.50, 0.34)),
    "floor": ("Floor", "地面", (0.88, 0.86)),
}
"""For each location in a room: the English name, the Chinese name, and the position on the floor plan."""


@dataclass(frozen=True)
class Sensor:
    """A sensor. `position` is on the floor plan: x from the left and y from the top, each from 0 to 1."""

    name: str
    metric: str
    position: tuple[float, float]
    condition: Condition = Condition.GOOD

    @property
    def unit(self) -> str:
        """The unit of the sensor's values. It is empty for a switch."""
        return METRICS[self.metric].unit

    @property
    def interval_s(self) -> float | None:
        """Interval between the sensor's readings in seconds. None for a door sensor, which reports only changes."""
        return None if self.metric == "door" else INTERVAL_S


@dataclass(frozen=True)
class Mishap:
    """A fault that occurs in a storehouse every `every_days` days. `amount` is the fault's effect on the metric."""

    metric: str
    amount: float
    every_days: int
    hour: int
    minutes: int


@dataclass(frozen=True, eq=False)
class Storehouse:
    """A storehouse, which has one room."""

    name: str
    time_zone: str
    room: rooms.Room
    phase_s: int
    """The storehouse reports this number of seconds after the start of each period of `REPORT_INTERVAL_S` seconds.

    Storehouses with different values report at different times.
    """
    mishaps: tuple[Mishap, ...]
    sensors: tuple[Sensor, ...]

    @property
    def doors(self) -> tuple[Sensor, ...]:
        """The door sensors, which report only changes."""
        return tuple(sensor for sensor in self.sensors if sensor.interval_s is None)

    @property
    def reporting(self) -> tuple[Sensor, ...]:
        """The sensors that report at an interval and have not stopped reporting."""
        return tuple(sensor for sensor in self.sensors if sensor not in (*self.doors, *self.stopped))

    @property
    def stopped(self) -> tuple[Sensor, ...]:
        """The sensors that no longer report."""
        return tuple(sensor for sensor in self.sensors if sensor.condition is Condition.STOPPED)

    def watched(self, metric: str) -> Sensor:
        """Return the first sensor of `metric`. The limits of the metric apply to this sensor."""
        return next(sensor for sensor in self.sensors if sensor.metric == metric)


@dataclass(frozen=True, eq=False)
class Organisation:
    """An organisation and its storehouses."""

    name: str
    storehouses: tuple[Storehouse, ...]


_CONDITIONS = {
    ("Berlin Cooler", "temperature", "rear"): Condition.FAILING,
    ("Chengdu Freezer", "humidity", "rear"): Condition.STOPPED,
}

_CHINA, _GERMANY, _ILLINOIS = "Asia/Shanghai", "Europe/Berlin", "America/Chicago"

# `every_days` is at most four weeks, so that each mishap occurs at least once in the month before the first start.
_PLAN: dict[str, tuple[tuple[str, str, rooms.Room, tuple[Mishap, ...]], ...]] = {
    "Demo Cold Chain": (
        # The first mishap is a defrost that did not end; the second is a door that was left open.
        ("Shanghai Freezer 1", _CHINA, rooms.FREEZER, (Mishap("temperature", 11, 13, 12, 50),)),
        ("Shanghai Freezer 2", _CHINA, rooms.FREEZER, (Mishap("door", 1, 19, 16, 55),)),
        ("Shanghai Cooler", _CHINA, rooms.COOLER, (Mishap("door", 1, 16, 10, 60),)),
        ("Chengdu Freezer", _CHINA, rooms.FREEZER, (Mishap("water", 1, 25, 5, 35),)),
        ("Berlin Cooler", _GERMANY, rooms.COOLER, (Mishap("temperature", -7, 17, 2, 120),)),
    ),
    "Demo Pharma": (
        ("Beijing Medicine Store", _CHINA, rooms.PHARMACY, ()),
        ("Guangzhou Vaccine Store", _CHINA, rooms.PHARMACY, (Mishap("temperature", 6, 21, 1, 75),)),
        ("Berlin Medicine Store", _GERMANY, rooms.PHARMACY, ()),
        ("Chicago Medicine Store", _ILLINOIS, rooms.PHARMACY, (Mishap("pressure", -14, 18, 9, 45),)),
    ),
    "Demo Fresh Food": (
        ("Kunming Produce Room", _CHINA, rooms.PRODUCE, (Mishap("co2", 3600, 14, 23, 90),)),
        ("Chicago Produce Room", _ILLINOIS, rooms.PRODUCE, ()),
        ("Wuhan Dry Goods Hall", _CHINA, rooms.AMBIENT, (Mishap("humidity", 42, 20, 14, 100),)),
        ("Xi'an Dry Goods Hall", _CHINA, rooms.AMBIENT, (Mishap("smoke", 1, 27, 17, 20),)),
        ("Chicago Dry Goods Hall", _ILLINOIS, rooms.AMBIENT, ()),
    ),
}


_CHINESE_NAMES = {
    "Demo Cold Chain": "演示冷链",
    "Shanghai Freezer 1": "上海一号冷冻库",
    "Shanghai Freezer 2": "上海二号冷冻库",
    "Shanghai Cooler": "上海冷藏库",
    "Chengdu Freezer": "成都冷冻库",
    "Berlin Cooler": "柏林冷藏库",
    "Demo Pharma": "演示医药",
    "Beijing Medicine Store": "北京药品库",
    "Guangzhou Vaccine Store": "广州疫苗库",
    "Berlin Medicine Store": "柏林药品库",
    "Chicago Medicine Store": "芝加哥药品库",
    "Demo Fresh Food": "演示生鲜",
    "Kunming Produce Room": "昆明果蔬库",
    "Chicago Produce Room": "芝加哥果蔬库",
    "Wuhan Dry Goods Hall": "武汉常温库",
    "Xi'an Dry Goods Hall": "西安常温库",
    "Chicago Dry Goods Hall": "芝加哥常温库",
}


def _organisations() -> tuple[Organisation, ...]:
    names = [name for plans in _PLAN.values() for name, *_ in plans]
    phases = {name: index * REPORT_INTERVAL_S // len(names) for index, name in enumerate(names)}
    return tuple(
        Organisation(
            org_name,
            tuple(
                Storehouse(name, time_zone, room, phases[name], mishaps, _sensors(name, room))
                for name, time_zone, room, mishaps in plans
            ),
        )
        for org_name, plans in _PLAN.items()
    )


def _sensors(storehouse: str, room: rooms.Room) -> tuple[Sensor, ...]:
    return tuple(
        _sensor(metric, location, _CONDITIONS.get((storehouse, metric, location), Condition.GOOD))
        for metric, locations in room.locations.items()
        for location in locations
    )


def _sensor(metric: str, location: str, condition: Condition) -> Sensor:
    english, _, (x, y) = LOCATIONS[location]
    return Sensor(METRICS[metric].name.format(english), metric, (round(x + METRICS[metric].shift, 2), y), condition)


ORGANISATIONS = _organisations()
STOREHOUSES = tuple(storehouse for organisation in ORGANISATIONS for storehouse in organisation.storehouses)
CHINESE_NAMES = _CHINESE_NAMES | {
    metric.name.format(english): metric.chinese_name.format(chinese)
    for metric in METRICS.values()
    for english, chinese, _ in LOCATIONS.values()
}
"""The Chinese name of every organisation, storehouse and sensor, by its English name."""
