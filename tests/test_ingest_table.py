"""Parsing of CSV tables: the layout of the table, and the contents of its cells."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from errors import UsageError
from ingest import cells
from ingest.table import Row, Table

NOON = datetime(2024, 1, 31, 12, 5)  # noqa: DTZ001 - it is a local time


def table(*lines: str) -> Table:
    return Table(f"{line}\n" for line in lines)


def values(*lines: str) -> list[list[float | None]]:
    return [row.values for row in table(*lines)]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-01-31 12:05", NOON),
        ("2024/01/31 12:05:00", NOON),
        ("2024/1/31 12:05", NOON),
        ("2024-01-31T12:05", NOON),
        ("  2024-01-31  12:05 ", NOON),
        ("2024-01-31 12:05:06.7", NOON.replace(second=6, microsecond=700_000)),
        ("2024-01-31 12:05:06.123999999", NOON.replace(second=6, microsecond=123_000)),
        ("2024-01-31T12:05Z", NOON.replace(tzinfo=UTC)),
        ("2024-01-31 12:05 +0800", NOON.replace(tzinfo=timezone(timedelta(hours=8)))),
        ("2024-01-31T12:05:00-03:30", NOON.replace(tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    ],
)
def test_times_are_read_in_many_formats(text: str, time: datetime) -> None:
    got = cells.parse_time(text)
    assert (got, got.utcoffset()) == (time, time.utcoffset())


@pytest.mark.parametrize(
    "text",
    [
        *("", "2024-01-31", "12:05", "2024-02-30 12:05", "2024-01-31 24:00", "31/01/2024 12:05", "1706702700"),
        *("0024-01-31 12:05", "2024-01-31 12:05+99:00", "2024-01-31 12:05 Mars", "２０２４-01-31 12:05"),
    ],
)
def test_any_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        cells.parse_time(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), (" -1.5 ", -1.5), ("+2e3", 2000), (".5", 0.5), ("", None)])
def test_numbers_are_read(text: str, number: float | None) -> None:
    assert cells.parse_number(text) == number


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-Infinity", "1e999", "1_000", "1,5", "0x10", "--", "5 °C"])
def test_any_other_text_is_not_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        cells.parse_number(text)


def test_a_long_cell_is_truncated_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"^'x{40}\.\.\.' is not a number$"):
        cells.parse_number("x" * 100_000)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_detected(delimiter: str) -> None:
    lines = [delimiter.join(cells) for cells in (["time", "a", "b"], ["2024-01-31 12:05", "1.5", "2"])]
    assert values(*lines) == [[1.5, 2]]


def test_semicolons_are_detected_despite_commas_in_names_and_numbers() -> None:
    lines = ["time;Hall, left, °C", "2024-01-31 12:05;3,7"]
    assert table(*lines).sensor_names == ["Hall, left, °C"]
    assert values(*lines) == [[3.7]]


@pytest.mark.parametrize("name", ["time", "Time", "TIMESTAMP", "date", "时间", " time "])
def test_the_time_column_is_found_by_its_name(name: str) -> None:
    csv_table = table(f"a,{name},b", "1,2024-01-31 12:05,2")
    assert csv_table.sensor_names == ["a", "b"]
    assert [row.time for row in csv_table] == [NOON]


def test_the_first_column_is_the_default_time_column() -> None:
    assert table("when,a", "2024-01-31 12:05,2").sensor_names == ["a"]


def test_an_empty_column_without_a_name_is_ignored() -> None:
    assert list(table("time,a,", "2024-01-31 12:05,2,")) == [Row(2, NOON, [2], [])]


def test_a_value_in_a_column_without_a_name_is_reported() -> None:
    (row,) = table("time,a,", "2024-01-31 12:05,2,3")
    assert (row.values, [str(fault) for fault in row.faults]) == ([2], ["line 2, column 3: this column has no name"])


def test_an_empty_cell_is_neither_a_reading_nor_bad() -> None:
    assert list(table("time,a,b", "2024-01-31 12:05,,2")) == [Row(2, NOON, [None, 2], [])]


def test_an_unclosed_quote_loses_only_one_row() -> None:
    rows = list(table("time,a", '2024-01-31 12:05,"1', "2024-01-31 12:05,2"))
    assert [(row.time, row.values) for row in rows] == [(None, []), (NOON, [2])]


def test_line_numbers_match_those_of_an_editor() -> None:
    assert [row.line for row in table("", "time,a", "", "2024-01-31 12:05,1", ",", "2024-01-31 12:05,1")] == [4, 6]


def test_a_long_file_is_read_to_its_end() -> None:
    lines = [f"{NOON + timedelta(minutes=n)},{n}" for n in range(2500)]
    assert values("time,a", *lines) == [[n] for n in range(2500)]


@pytest.mark.parametrize(("minutes", "step"), [([0, 5, 10, 60, 65], 5), ([10, 5, 0], -5), ([0, 0, 15, 15], 15)])
def test_the_step_is_the_median_of_all_steps(minutes: list[int], step: int) -> None:
    lines = [f"{NOON + timedelta(minutes=minute)},1" for minute in minutes]
    assert table("time,a", *lines).step == timedelta(minutes=step)


def test_a_single_row_has_no_step() -> None:
    assert table("time,a", "2024-01-31 12:05,1").step is None


def test_two_columns_with_the_same_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two columns are named 'a'"):
        table("time,a,a", "2024-01-31 12:05,1,2")
