"""The simulated site: organisations, their storehouses, and the sensors in them."""

from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from demo import rooms

INTERVAL_S = 120.0
"""Expected seconds between readings. Three times this is longer than the five-minute steps of the history, so no sensor
looks stale after a restart."""

SWITCHES = {"smoke", "water", "door"}

REPORT_INTERVAL_S = 10
"""Seconds between two reports of a storehouse's sensors, which report together."""


class Condition(Enum):
    """The condition of a sensor."""

    GOOD = auto()
    FAILING = auto()
    """It drifts, jitters, and reports a fault now and then."""
    STOPPED = auto()
    """It stopped reporting days before the first start."""


@dataclass(frozen=True)
class Metric:
    """A metric of the demo."""

    name: str
    """In both languages, with a field each for the location."""
    unit: str
    digits: int
    shift: float
    """To the right on the floor plan, so that sensors at one location do not hide each other."""
    low: float = 0.0
    high: float = inf


METRICS = {
    "temperature": Metric("{}温度 {} temperature", "°C", 1, 0, low=-inf),
    "humidity": Metric("{}湿度 {} humidity", "%", 1, 0.06, high=100.0),
    "light": Metric("{}照度 {} light", "lx", 0, -0.06),
    "co2": Metric("{}二氧化碳 {} CO₂", "ppm", 0, 0.12),
    "pm25": Metric("{}PM2.5 {} PM2.5", "µg/m³", 0, -0.12),
    "pressure": Metric("{}压差 {} overpressure", "Pa", 1, 0.12, low=-inf),
    "power": Metric("{}功率 {} power", "kW", 2, 0.06),
    "smoke": Metric("{}烟感 {} smoke detector", "", 0, 0),
    "water": Metric("{}水浸 {} water leak", "", 0, 0),
    "door": Metric("{}开关 {} contact", "", 0, 0.12),
}

LOCATIONS = {
    "door": ("库门", "Door", (0.44, 0.92)),
    "rack_a": ("货架A", "Rack A", (0.22, 0.58)),
    "rack_b": ("货架B", "Rack B", (0.72, 0.58)),
    "centre": ("中央", "Centre", (0.46, 0.50)),
    "rear": ("库尾", "Rear", (0.30, 0.12)),
    "evaporator": ("制冷机组", "Cooling unit", (0.76, 0.10)),
    "ceiling": ("顶棚", "Ceiling", (0.50, 0.34)),
    "floor": ("地面", "Floor", (0.88, 0.86)),
}
"""Location: its name in both languages, and its position on the floor plan."""


@dataclass(frozen=True)
class Sensor:
    """A sensor; `position` as in `tables.sensor`."""

    name: str
    metric: str
    position: tuple[float, float]
    condition: Condition = Condition.GOOD

    @property
    def unit(self) -> str:
        """The unit of its values; empty for a switch."""
        return METRICS[self.metric].unit

    @property
    def interval_s(self) -> float | None:
        """Seconds between its readings; none for a door, which reports changes only."""
        return None if self.metric == "door" else INTERVAL_S


@dataclass(frozen=True)
class Mishap:
    """A fault in a storehouse every so many days: `amount` is how far it moves the metric."""

    metric: str
    amount: float
    every_days: int
    hour: int
    minutes: int


@dataclass(frozen=True, eq=False)
class Storehouse:
    """A storehouse: one room."""

    name: str
    time_zone: str
    room: rooms.Room
    phase_s: int
    """Offset of its reports in each `REPORT_INTERVAL_S`, in seconds, so that the storehouses take turns."""
    mishaps: tuple[Mishap, ...]
    sensors: tuple[Sensor, ...]

    @property
    def doors(self) -> tuple[Sensor, ...]:
        """The sensors that report changes only."""
        return tuple(sensor for sensor in self.sensors if sensor.interval_s is None)

    @property
    def reporting(self) -> tuple[Sensor, ...]:
        """The sensors that report at an interval."""
        return tuple(sensor for sensor in self.sensors if sensor not in (*self.doors, *self.stopped))

    @property
    def stopped(self) -> tuple[Sensor, ...]:
        """The sensors that no longer report."""
        return tuple(sensor for sensor in self.sensors if sensor.condition is Condition.STOPPED)

    def watched(self, metric: str) -> Sensor:
        """Return the sensor of `metric` that has the limits."""
        return next(sensor for sensor in self.sensors if sensor.metric == metric)


@dataclass(frozen=True, eq=False)
class Organisation:
    """An organisation and its storehouses."""

    name: str
    storehouses: tuple[Storehouse, ...]


_CONDITIONS = {
    ("柏林冷藏库 Berlin Cooler", "temperature", "rear"): Condition.FAILING,
    ("成都冷冻库 Chengdu Freezer", "humidity", "rear"): Condition.STOPPED,
}

_CHINA, _GERMANY, _ILLINOIS = "Asia/Shanghai", "Europe/Berlin", "America/Chicago"

# No mishap's `every_days` is longer than four weeks: the month before the first start has each at least once.
_PLAN: dict[str, tuple[tuple[str, str, rooms.Room, tuple[Mishap, ...]], ...]] = {
    "演示冷链 Demo Cold Chain": (
        # A defrost that did not end, and a door that was left open.
        ("上海一号冷冻库 Shanghai Freezer 1", _CHINA, rooms.FREEZER, (Mishap("temperature", 11, 13, 12, 50),)),
        ("上海二号冷冻库 Shanghai Freezer 2", _CHINA, rooms.FREEZER, (Mishap("door", 1, 19, 16, 55),)),
        ("上海冷藏库 Shanghai Cooler", _CHINA, rooms.COOLER, (Mishap("door", 1, 16, 10, 60),)),
        ("成都冷冻库 Chengdu Freezer", _CHINA, rooms.FREEZER, (Mishap("water", 1, 25, 5, 35),)),
        ("柏林冷藏库 Berlin Cooler", _GERMANY, rooms.COOLER, (Mishap("temperature", -7, 17, 2, 120),)),
    ),
    "演示医药 Demo Pharma": (
        ("北京药品库 Beijing Medicine Store", _CHINA, rooms.PHARMACY, ()),
        ("广州疫苗库 Guangzhou Vaccine Store", _CHINA, rooms.PHARMACY, (Mishap("temperature", 6, 21, 1, 75),)),
        ("柏林药品库 Berlin Medicine Store", _GERMANY, rooms.PHARMACY, ()),
        ("芝加哥药品库 Chicago Medicine Store", _ILLINOIS, rooms.PHARMACY, (Mishap("pressure", -14, 18, 9, 45),)),
    ),
    "演示生鲜 Demo Fresh Food": (
        ("昆明果蔬库 Kunming Produce Room", _CHINA, rooms.PRODUCE, (Mishap("co2", 3600, 14, 23, 90),)),
        ("芝加哥果蔬库 Chicago Produce Room", _ILLINOIS, rooms.PRODUCE, ()),
        ("武汉常温库 Wuhan Dry Goods Hall", _CHINA, rooms.AMBIENT, (Mishap("humidity", 42, 20, 14, 100),)),
        ("西安常温库 Xi'an Dry Goods Hall", _CHINA, rooms.AMBIENT, (Mishap("smoke", 1, 27, 17, 20),)),
        ("芝加哥常温库 Chicago Dry Goods Hall", _ILLINOIS, rooms.AMBIENT, ()),
    ),
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
    chinese, english, (x, y) = LOCATIONS[location]
    name = METRICS[metric].name.format(chinese, english)
    return Sensor(name, metric, (round(x + METRICS[metric].shift, 2), y), condition)


ORGANISATIONS = _organisations()
STOREHOUSES = tuple(storehouse for organisation in ORGANISATIONS for storehouse in organisation.storehouses)
