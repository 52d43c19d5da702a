"""Computes when events in a storehouse happen, for any time in the past or future."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from random import Random

from common import time_zones
from demo.site import Mishap, Storehouse

Span = tuple[float, float]
"""A time span: its start and end, in seconds since 1970."""

DAY_S = 86_400
SHIFT = (8, 18)
"""Start and end of the working hours, in local time."""
DEFROST_S = 1500
SUNDAY = 6


@dataclass(frozen=True)
class Schedule:
    """The events in a storehouse, such as door openings, computed from the local time and from pseudo-random numbers.

    The numbers depend on `seed`. Most methods return time spans, in chronological order. The result includes all spans
    that overlap the time from `start` to `end`, and the spans of the day before, because an event still has effects
    after it has ended.
    """

    storehouse: Storehouse
    seed: int

    def shifts(self, start: float, end: float) -> list[Span]:
        """Return the times when people work. Nobody works on Sundays."""
        return self._between(self._shift, start, end)

    def openings(self, start: float, end: float) -> list[Span]:
        """Return the times when the door is open.

        It is open at random times in working hours, and after somebody has forgotten to close it.
        """
        return self._between(self._openings, start, end)

    def defrosts(self, start: float, end: float) -> list[Span]:
        """Return the times when the evaporator is defrosted."""
        return self._between(self._defrosts, start, end)

    def mishaps(self, mishap: Mishap, start: float, end: float) -> list[Span]:
        """Return the times when the fault `mishap` occurs."""
        return self._between(lambda day: self._mishap(mishap, day), start, end)

    def switch(self, metric: str, start: float, end: float) -> list[Span]:
        """Return the times when a switch of `metric`, such as a smoke detector, is on."""
        if metric == "door":
            return self.openings(start, end)
        mishaps = [mishap for mishap in self.storehouse.mishaps if mishap.metric == metric]
        return _merged([span for mishap in mishaps for span in self.mishaps(mishap, start, end)])

    def number(self, *names: object) -> int:
        """Return a pseudo-random number for these names. The same names give the same number in every process."""
        text = "/".join(map(str, (self.seed, self.storehouse.name, *names)))
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")

    def _between(self, of_day: Callable[[int], list[Span]], start: float, end: float) -> list[Span]:
        days = range(self._day(start) - 1, self._day(end) + 1)
        return [span for day in days for span in of_day(day)]

    def _shift(self, day: int) -> list[Span]:
        if _is_sunday(day):
            return []
        late = self.number(day, "shift") % 1800
        start, end = (self._at(day, hour) + late for hour in SHIFT)
        return [(start, end)]

    def _openings(self, day: int) -> list[Span]:
        mishaps = [mishap for mishap in self.storehouse.mishaps if mishap.metric == "door"]
        forgotten = [span for mishap in mishaps for span in self._mishap(mishap, day)]
        return _merged(self._usual_openings(day) + forgotten)

    def _usual_openings(self, day: int) -> list[Span]:
        if _is_sunday(day):
            return []
        random = Random(self.number(day, "door"))  # noqa: S311 - it must be reproducible
        first, last = (int(self._at(day, hour)) for hour in SHIFT)
        starts = [random.randrange(first, last) for _ in range(self.storehouse.room.openings)]
        return [(start, start + random.randrange(45, 240)) for start in starts]

    def _defrosts(self, day: int) -> list[Span]:
        late = self.number("defrost") % 3600  # so that the storehouses do not all defrost at once
        starts = [self._at(day, hour) + late for hour in self.storehouse.room.defrosts]
        return [(start, start + DEFROST_S) for start in starts]

    def _mishap(self, mishap: Mishap, day: int) -> list[Span]:
        if (day + self.number(mishap.metric)) % mishap.every_days:
            return []
        start = self._at(day, mishap.hour)
        return [(start, start + 60 * mishap.minutes)]

    def _day(self, instant: float) -> int:
        return int((instant + offset_s(self.storehouse.time_zone, instant)) // DAY_S)

    def _at(self, day: int, hour: int) -> float:
        # The offset at noon is used for the whole day: an error of an hour on the day of a clock change does no harm.
        noon = day * DAY_S + DAY_S // 2
        return day * DAY_S + hour * 3600 - offset_s(self.storehouse.time_zone, noon)


def offset_s(time_zone: str, instant: float) -> int:
    """Return the time zone's offset from UTC at `instant`, in seconds."""
    return _offset_s(time_zone, int(instant // 3600))


def is_within(instant: float, spans: Sequence[Span]) -> bool:
    """Return whether `instant` is in one of the time spans, which must be sorted."""
    index = bisect_right(spans, (instant, float("inf")))
    return index > 0 and instant < spans[index - 1][1]


@lru_cache(maxsize=8192)
def _offset_s(time_zone: str, hour: int) -> int:
    local = datetime.fromtimestamp(hour * 3600, time_zones.zone(time_zone))
    return round((local.replace(tzinfo=UTC) - local).total_seconds())


def _is_sunday(day: int) -> bool:
    return (day + 3) % 7 == SUNDAY  # 1970 began on a Thursday


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
