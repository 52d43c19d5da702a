"""The kinds of room: their sensors and limits, and how each metric responds to events."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Response:
    """The effect of each influence, such as an open door, on a metric in a room.

    All fields are in the unit of the metric.
    """

    level: float
    noise: float
    """Amplitude of the measurement noise of a sensor."""
    day: float = 0
    """Change in the value at the warmest hour of the day. The change at the coldest hour is the opposite."""
    weather: float = 0
    """Amplitude of the change in the value from day to day, because of the weather."""
    people: float = 0
    """Change in the value after people have worked in the room for a long time."""
    lit: float = 0
    """Change in the value during working hours."""
    open: float = 0
    """Change in the value as soon as a door opens."""
    door: float = 0
    """Change in the value after the door has been open for a long time."""
    cycle: float = 0
    """Difference between the values at the start and at the end of a compressor run."""
    running: float = 0
    """Change in the value while the compressor runs."""
    heater: float = 0
    """Change in the value while the defrost heater is on."""
    defrost: float = 0
    """Change in the value after a very long defrost."""


@dataclass(frozen=True)
class Limit:
    """A limit for the first sensor of `metric` in a room.

    The limit of a switch is 0, because a switch that is on has the value 1.
    """

    metric: str
    kind: str
    limit: float
    severity: str

    def is_passed(self, value: float | None) -> bool:
        """Return whether `value` is beyond the limit."""
        if value is None:
            return False
        return value < self.limit if self.kind == "low" else value > self.limit


@dataclass(frozen=True, eq=False)
class Room:
    """A kind of room, such as a freezer."""

    responses: dict[str, Response]
    locations: dict[str, tuple[str, ...]]
    """The locations in the room at which each metric is measured. Limits apply to the first location of a metric."""
    limits: tuple[Limit, ...]
    openings: int
    """Number of times that the room's door is opened on a working day."""
    cycle_s: int = 1800
    """Time from one start of the compressor to the next, in seconds."""
    defrosts: tuple[int, ...] = ()
    """The local hours of the day at which a defrost starts."""


_SAFETY = {"smoke": ("ceiling",), "water": ("floor",), "door": ("door",)}
_SAFETY_LIMITS = (Limit("smoke", "switch", 0, "critical"), Limit("water", "switch", 0, "critical"))

FREEZER = Room(
    responses={
        "temperature": Response(-23, 0.2, day=0.3, weather=0.4, people=0.2, door=13, cycle=1.4, defrost=5),
        "humidity": Response(68, 0.8, day=1, weather=3, door=40, cycle=3, defrost=14),
        "light": Response(1, 1, lit=35, open=190),
        "power": Response(0.9, 0.06, running=7.4, heater=5.2),
    },
    locations={
        "temperature": ("rack_a", "rack_b", "door", "rear", "evaporator"),
        "humidity": ("rack_a", "rear"),
        "light": ("door",),
        "power": ("evaporator",),
        **_SAFETY,
    },
    limits=(Limit("temperature", "high", -15, "critical"), *_SAFETY_LIMITS),
    openings=16,
    cycle_s=2100,
    defrosts=(4, 12, 20),
)

COOLER = Room(
    responses={
        "temperature": Response(3.4, 0.15, day=0.2, weather=0.2, people=0.2, door=9, cycle=0.9, defrost=1.3),
        "humidity": Response(78, 0.8, day=1, weather=3, door=22, cycle=3, defrost=6),
        "light": Response(2, 1, lit=90, open=160),
        "power": Response(0.6, 0.05, running=4.1, heater=1.8),
    },
    locations={
        "temperature": ("rack_a", "rack_b", "door", "rear"),
        "humidity": ("rack_a", "rack_b", "rear"),
        "light": ("door",),
        "power": ("evaporator",),
        **_SAFETY,
    },
    limits=(
        Limit("temperature", "high", 8, "warning"),
        Limit("temperature", "low", 0, "warning"),
        *_SAFETY_LIMITS,
    ),
    openings=22,
    cycle_s=1700,
    defrosts=(5, 21),
)

PHARMACY = Room(
    responses={
        "temperature": Response(4.9, 0.1, day=0.2, weather=0.1, people=0.2, door=5, cycle=0.6, defrost=0.7),
        "humidity": Response(47, 0.6, day=1, weather=3, people=2, door=16, cycle=2, defrost=3),
        "light": Response(2, 1, lit=240, open=60),
        "pressure": Response(15, 0.4, weather=1, open=-7),
    },
    locations={
        "temperature": ("rack_a", "rack_b", "door", "rear"),
        "humidity": ("rack_a", "rack_b", "rear"),
        "light": ("centre",),
        "pressure": ("centre",),
        **_SAFETY,
    },
    limits=(
        Limit("temperature", "high", 8, "critical"),
        Limit("temperature", "low", 2, "critical"),
        Limit("pressure", "low", 4, "warning"),
        *_SAFETY_LIMITS,
    ),
    openings=12,
    cycle_s=1500,
    defrosts=(3, 15),
)

PRODUCE = Room(
    responses={
        "temperature": Response(8.6, 0.2, day=0.5, weather=0.4, people=0.4, door=6, cycle=0.9, defrost=0.9),
        "humidity": Response(88, 0.7, day=1, weather=2, people=-2, door=-25, cycle=2),
        "co2": Response(1350, 18, day=60, weather=120, people=-180, door=-2200),
        "light": Response(2, 1, lit=130, open=220),
        "power": Response(0.5, 0.04, running=3.2, heater=1.2),
    },
    locations={
        "temperature": ("rack_a", "door", "rear"),
        "humidity": ("rack_a", "rear"),
        "co2": ("centre", "rear"),
        "light": ("centre",),
        "power": ("evaporator",),
        **_SAFETY,
    },
    limits=(
        Limit("co2", "high", 3000, "warning"),
        Limit("temperature", "high", 13, "warning"),
        *_SAFETY_LIMITS,
    ),
    openings=20,
    cycle_s=1900,
    defrosts=(2, 14),
)

AMBIENT = Room(
    responses={
        "temperature": Response(21, 0.2, day=2.8, weather=2.5, people=0.8, door=4),
        "humidity": Response(52, 0.8, day=-5, weather=6, people=1, door=14),
        "light": Response(4, 3, lit=380, open=140),
        "co2": Response(440, 8, weather=15, people=260, door=-90),
        "pm25": Response(18, 2, weather=9, people=12, door=30),
    },
    locations={
        "temperature": ("rack_a", "door", "rear"),
        "humidity": ("rack_a", "rear"),
        "light": ("centre", "rear"),
        "co2": ("centre",),
        "pm25": ("door",),
        **_SAFETY,
    },
    limits=(Limit("humidity", "high", 78, "warning"), *_SAFETY_LIMITS),
    openings=26,
)
