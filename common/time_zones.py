"""Time zones: converts local times to instants, and spans of instants to spans of local times."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from common.clock import AHEAD

AROUND_CHANGE = timedelta(hours=3)
"""Both offsets count within this time of a change of a zone's clocks; no zone has set its clocks back by more."""
FAR = timedelta(days=2)
"""More than any zone is from UTC."""


def zone(name: str) -> ZoneInfo:
    """Return the time zone `name` (IANA); raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError, TypeError):
        raise ValueError(f"{name!r} is not a time zone; name one like Asia/Shanghai or UTC") from None


def from_local(local: datetime, tz: ZoneInfo, now: datetime) -> datetime:
    """Return the instant at which the clocks of `tz` showed the naive `local`.

    In the hour that the end of daylight saving repeats there are two. It is the later one, unless that is after `now`:
    so the newest reading, the one that a live table shows, is right in either pass.
    """
    earlier = local.replace(tzinfo=tz, fold=0).astimezone(UTC)
    later = local.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return later if earlier < later <= now + AHEAD else earlier


def wall_span(start: datetime, end: datetime, tz: ZoneInfo | None) -> tuple[datetime, datetime]:
    """Return a span of local times of `tz` that includes all that may mean an instant from `start` to `end`.

    Around a change of the clocks it includes more: times that are shown twice, or never. Where the times are UTC (`tz`
    is None), it is the same span.
    """
    if tz is None:
        return start, end
    return start.replace(tzinfo=None) + min(_offsets(start, tz)), end.replace(tzinfo=None) + max(_offsets(end, tz))


class LocalSpan(NamedTuple):
    """Naive local times from `start` up to `end`, all of them `offset` ahead of UTC."""

    start: datetime
    end: datetime
    offset: timedelta


def local_spans(start: datetime, end: datetime, tz: ZoneInfo, now: datetime) -> list[LocalSpan]:
    """Return the local times of `tz` that `from_local` converts to the instants from `start` up to `end`.

    No time is in two of the spans. In the hour that the end of daylight saving repeats, times are of the second pass;
    those that the second pass has not reached yet are of the first.
    """
    changes = list(_changes(start - AROUND_CHANGE, end + AROUND_CHANGE, tz))
    before = _offset(start - AROUND_CHANGE, tz)
    spans = []
    span_start = start.replace(tzinfo=None) - FAR
    for change, after in changes:
        wall = change.replace(tzinfo=None)
        spans.append(LocalSpan(span_start, wall + after, before))
        # In the repeated hour, times that the second pass has not reached yet are of the first.
        spans.append(LocalSpan(max(wall, now.replace(tzinfo=None) + AHEAD) + after, wall + before, before))
        span_start, before = wall + after, after
    spans.append(LocalSpan(span_start, end.replace(tzinfo=None) + FAR, before))
    return [clipped for span in spans if (clipped := _clip(span, start, end)).start < clipped.end]


def _clip(span: LocalSpan, start: datetime, end: datetime) -> LocalSpan:
    first, last = (instant.replace(tzinfo=None) + span.offset for instant in (start, end))
    return LocalSpan(max(span.start, first), min(span.end, last), span.offset)


def _changes(start: datetime, end: datetime, tz: ZoneInfo) -> Iterator[tuple[datetime, timedelta]]:
    """Yield each instant at which the offset of `tz` changes, to the second, and the new offset."""
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
