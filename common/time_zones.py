"""Time zones: converts local times to instants, and spans of instants to spans of local times."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from common.clock import AHEAD

AROUND_CHANGE = timedelta(hours=3)
"""Length of time before and after a clock change in which this module considers both the old and the new UTC offset. No
time zone has ever set its clocks back by more than this."""
FAR = timedelta(days=2)
"""A time span that is longer than the UTC offset of any time zone."""


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone `name`. Raise ValueError if it does not exist."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError, TypeError):
        raise ValueError(f"{name!r} is not a time zone; name one like Asia/Shanghai or UTC") from None


def to_local(instant: datetime, tz: ZoneInfo) -> datetime:
    """Convert an instant to the local time of `tz`.

    Return the instant itself at the start of the year 1 or at the end of the year 9999, if `tz` has no such time.
    """
    try:
        return instant.astimezone(tz)
    except OverflowError:
        return instant


def offset_if_repeated(instant: datetime, tz: ZoneInfo) -> str | None:
    """Return the UTC offset at an instant, such as `+01:00`, if the clocks of `tz` show the same local time twice.

    This is the case in both passes of the hour that is repeated at the end of daylight saving time. Otherwise return
    None.
    """
    local = to_local(instant, tz)
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return None
    digits = f"{local:%z}"
    return f"{digits[:3]}:{digits[3:5]}"


def from_local(local: datetime, tz: ZoneInfo, now: datetime) -> datetime:
    """Return the instant at which the clocks of `tz` showed the naive time `local`.

    In the hour that is repeated at the end of daylight saving time, there are two such instants. Return the later
    instant, unless it is more than 60 s after `now`. The newest reading, which the dashboard shows, therefore has the
    right time in both passes of the hour.
    """
    earlier = local.replace(tzinfo=tz, fold=0).astimezone(UTC)
    later = local.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return later if earlier < later <= now + AHEAD else earlier


def wall_span(start: datetime, end: datetime, tz: ZoneInfo | None) -> tuple[datetime, datetime]:
    """Return a span of local times of `tz` that covers the instants from `start` to `end`.

    Near a clock change, the span may include more times than needed. If `tz` is None, local times are in UTC, and the
    span is returned unchanged.
    """
    if tz is None:
        return start, end
    return start.replace(tzinfo=None) + min(_offsets(start, tz)), end.replace(tzinfo=None) + max(_offsets(end, tz))


class LocalSpan(NamedTuple):
    """A span of naive local times from `start` up to `end`. All times in the span have the same `offset` from UTC."""

    start: datetime
    end: datetime
    offset: timedelta


def local_spans(start: datetime, end: datetime, tz: ZoneInfo, now: datetime) -> list[LocalSpan]:
    """Return the spans of local times that `from_local` converts to the instants from `start` up to `end`.

    The local times are those of the time zone `tz`. The spans do not overlap. In the hour that is repeated at the end
    of daylight saving time, a local time belongs to the second pass if that pass has already reached the local time,
    and otherwise to the first pass.
    """
    changes = list(_changes(start - AROUND_CHANGE, end + AROUND_CHANGE, tz))
    before = _offset(start - AROUND_CHANGE, tz)
    spans = []
    span_start = start.replace(tzinfo=None) - FAR
    for change, after in changes:
        wall = change.replace(tzinfo=None)
        spans.append(LocalSpan(span_start, wall + after, before))
        # In the repeated hour, times that the second pass has not reached yet belong to the first pass.
        spans.append(LocalSpan(max(wall, now.replace(tzinfo=None) + AHEAD) + after, wall + before, before))
        span_start, before = wall + after, after
    spans.append(LocalSpan(span_start, end.replace(tzinfo=None) + FAR, before))
    return [clipped for span in spans if (clipped := _clip(span, start, end)).start < clipped.end]


def _clip(span: LocalSpan, start: datetime, end: datetime) -> LocalSpan:
    first, last = (instant.replace(tzinfo=None) + span.offset for instant in (start, end))
    return LocalSpan(max(span.start, first), min(span.end, last), span.offset)


def _changes(start: datetime, end: datetime, tz: ZoneInfo) -> Iterator[tuple[datetime, timedelta]]:
    """Yield two values for each change of the UTC offset of `tz`: the instant of the change, and the new offset.

    The instant is exact to the second.
    """
    while start < end:
        day = min(start + timedelta(days=1), end)
        if _offset(start, tz) != _offset(day, tz):
            low, high = int(start.timestamp()), int(day.timestamp()) + 1
            while high - low > 1:
                middle = (low + high) // 2
                same = _offset(datetime.fromtimestamp(middle, UTC), tz) == _offset(start, tz)
                low, high = (middle, high) if same else (low, middle)
            change = datetime.fromtimestamp(high, UTC)
            yield change, _offset(change, tz)
        start = day


def _offset(instant: datetime, tz: ZoneInfo) -> timedelta:
    return instant.astimezone(tz).utcoffset() or timedelta()


def _offsets(instant: datetime, tz: ZoneInfo) -> list[timedelta]:
    return [_offset(instant + way, tz) for way in (-AROUND_CHANGE, AROUND_CHANGE)]
