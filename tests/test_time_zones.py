"""Tests of `common.time_zones`: local times that a day shows twice, and their UTC offsets."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from common.time_zones import offset_if_repeated

ZONES = ("Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "America/St_Johns", "Asia/Shanghai", "UTC")
CHANGE = datetime(2026, 10, 25, 1, tzinfo=UTC)  # in Berlin
SHIFTS = [timedelta(minutes=minutes) for minutes in (-60, -30, 30, 60)]


@given(st.sampled_from(ZONES), st.timedeltas(timedelta(days=-2000), timedelta(days=1000)))
def test_only_repeated_local_times_have_an_offset(name: str, since_change: timedelta) -> None:
    tz, instant = ZoneInfo(name), CHANGE + since_change
    local = instant.astimezone(tz).replace(tzinfo=None)
    is_repeated = any((instant + shift).astimezone(tz).replace(tzinfo=None) == local for shift in SHIFTS)
    assert (offset_if_repeated(instant, tz) is not None) == is_repeated


@given(st.integers(-90, 90), st.sampled_from(ZONES[1:]))
def test_both_passes_of_a_repeated_hour_have_their_own_offset(minutes: int, other: str) -> None:
    instant = CHANGE + timedelta(minutes=minutes)
    shown = None if not -60 <= minutes < 60 else "+02:00" if minutes < 0 else "+01:00"
    assert offset_if_repeated(instant, ZoneInfo("Europe/Berlin")) == shown
    assert offset_if_repeated(instant, ZoneInfo(other)) is None


def test_negative_offsets_and_half_hours_are_shown() -> None:
    newfoundland = datetime(2026, 11, 1, 4, 15, tzinfo=UTC)
    assert offset_if_repeated(newfoundland, ZoneInfo("America/St_Johns")) == "-02:30"
    assert offset_if_repeated(newfoundland + timedelta(hours=1), ZoneInfo("America/St_Johns")) == "-03:30"
