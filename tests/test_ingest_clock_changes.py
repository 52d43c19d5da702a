"""Conversion of local times to instants in the hours that daylight saving time repeats or skips."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.clock_changes import Change, change_between, resolve

CHICAGO = ZoneInfo("America/Chicago")
QUARTER = timedelta(minutes=15)
# Shanghai had daylight saving time from 1986 to 1991. Lord Howe Island changes its clocks by half an hour.
ZONES = ["America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai", "Europe/Dublin", "UTC"]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


def instants(times: Sequence[datetime], zone: ZoneInfo, step: timedelta) -> list[datetime]:
    last, resolved = None, []
    for time in times:
        last = resolve(time, zone, last, step).instant
        resolved.append(last)
    return resolved


def walls(series: Sequence[datetime], zone: ZoneInfo) -> list[datetime]:
    return [instant.astimezone(zone).replace(tzinfo=None, fold=0) for instant in series]


def grid(first: datetime, step: timedelta, count: int) -> list[datetime]:
    return [first + step * n for n in range(count)]


@cache
def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    days = grid(datetime(year, 1, 1, tzinfo=UTC), timedelta(days=1), 366)
    found_changes = [change_between(zone, day, next_day) for day, next_day in pairwise(days)]
    return [change.local.astimezone(UTC) for change in found_changes if change]


@st.composite
def series_around_a_change(draw: st.DrawFn) -> tuple[ZoneInfo, timedelta, list[datetime]]:
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    year = draw(st.integers(1984, 2037))
    step = timedelta(minutes=draw(st.integers(1, 180)))
    middle = draw(st.sampled_from(changes(zone, year) or [datetime(year, 7, 1, tzinfo=UTC)]))
    count = draw(st.integers(2, 120))
    shift = timedelta(minutes=draw(st.integers(0, 180)))
    return zone, step, grid(middle - step * draw(st.integers(0, count)) - shift, step, count)


@settings(max_examples=200)
@given(series_around_a_change())
def test_a_regular_series_is_resolved_exactly(case: tuple[ZoneInfo, timedelta, list[datetime]]) -> None:
    zone, step, series = case
    # A file that starts in the second pass of a repeated hour looks like a file that starts in the first pass.
    assume(not series[0].astimezone(zone).fold)
    assert instants(walls(series, zone), zone, step) == series


@settings(max_examples=200)
@given(series_around_a_change())
def test_a_series_with_newest_first_is_resolved_exactly(case: tuple[ZoneInfo, timedelta, list[datetime]]) -> None:
    zone, step, series = case
    series.reverse()
    times = walls(series, zone)
    assume(times[0].replace(tzinfo=zone, fold=1).astimezone(UTC) == series[0])
    assert instants(times, zone, -step) == series


def test_the_second_pass_starts_where_time_goes_back() -> None:
    times = [local(f"2021-11-07 {clock}") for clock in ("00:45", "01:00", "01:30", "01:45", "01:15", "01:45", "02:00")]
    series = instants(times, CHICAGO, QUARTER)
    assert [f"{instant:%H:%M}" for instant in series] == ["05:45", "06:00", "06:30", "06:45", "07:15", "07:45", "08:00"]


def test_the_second_pass_starts_at_an_immediately_repeated_time() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    first, second = instants([local("2024-04-07 01:30")] * 2, zone, timedelta(minutes=30))
    assert second - first == timedelta(minutes=30)


def test_each_pass_has_its_number() -> None:
    first = resolve(local("2021-11-07 01:00"), CHICAGO, None, QUARTER)
    second = resolve(local("2021-11-07 01:00"), CHICAGO, first.instant, QUARTER)
    after = resolve(local("2021-11-07 02:00"), CHICAGO, second.instant, QUARTER)
    assert (first.pass_number, second.pass_number, after.pass_number) == (1, 2, 0)


def test_a_third_occurrence_of_a_local_time_is_refused() -> None:
    last = datetime(2021, 11, 7, 7, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="a third time or out of order"):
        resolve(local("2021-11-07 01:15"), CHICAGO, last, QUARTER)


def test_a_local_time_skipped_by_daylight_saving_is_refused() -> None:
    with pytest.raises(ValueError, match="does not exist in America/Chicago: clocks went forward"):
        resolve(local("2022-03-13 02:30"), CHICAGO, None, QUARTER)


def test_a_shorter_step_does_not_skip_the_first_pass() -> None:
    last = datetime(2021, 11, 7, 5, 45, tzinfo=UTC)
    resolved = resolve(local("2021-11-07 01:00"), CHICAGO, last, timedelta(hours=1))
    assert resolved.instant - last == QUARTER


def test_a_clock_change_is_located_to_the_second() -> None:
    start, end = datetime(2021, 11, 7, tzinfo=UTC), datetime(2021, 11, 8, tzinfo=UTC)
    back = datetime(2021, 11, 7, 7, tzinfo=UTC).astimezone(CHICAGO)
    assert change_between(CHICAGO, start, end) == Change(back, -timedelta(hours=1))
    assert change_between(CHICAGO, end, start) == Change(back, -timedelta(hours=1))
    assert change_between(ZoneInfo("UTC"), start, end) is None
