"""A table in a text file: a column with the time, and one column per sensor."""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from errors import UsageError
from ingest import cells

TIME_NAMES = {"time", "timestamp", "date", "时间"}
ENCODINGS = ("utf-8-sig", "gb18030")
DELIMITERS = "\t;,"
"""Possible delimiters. If several of them fit equally well, the first is used. Characters that are rarer in names and
numbers therefore come first."""
BLANK = DELIMITERS + ' "\r\n'
"""A line that contains only these characters counts as empty. Spreadsheets leave such lines at the end of a file."""
HEAD_ROWS = 1000
"""Number of rows that are read ahead to find the order of the rows and the usual time between two rows."""


class Fault(NamedTuple):
    """The reason why a row of the file, or one cell of the row, cannot be imported.

    `column` is the name of the column with the wrong cell. It is None if the fault concerns the row as a whole.
    """

    line: int
    column: str | None
    why: str

    def __str__(self) -> str:
        """Return the position and the reason of the fault."""
        position = f"line {self.line}" if self.column is None else f"line {self.line}, column {self.column}"
        return f"{position}: {self.why}"


class Row(NamedTuple):
    """A row of the table. `time` is None if the whole row cannot be imported.

    `values` contains a value for each sensor. A value is None if its cell is empty or wrong.
    """

    line: int
    time: datetime | None
    values: list[float | None]
    faults: list[Fault]


class Layout(NamedTuple):
    """The layout of a table. `time` is the number of the time column. `sensors` maps column numbers to sensor names.

    Column numbers start at 0. `width` is the number of columns.
    """

    delimiter: str
    width: int
    time: int
    time_name: str
    sensors: dict[int, str]


class Table:
    """The rows of a table, in order. They are read lazily.

    Every line is a separate row, so an unclosed quote makes only one row wrong, and not all rows after it.
    """

    def __init__(self, stream: Iterable[str]) -> None:
        lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip(BLANK))
        _, header = next(lines, (0, ""))
        first = list(islice(lines, 1))
        self.layout = _layout(header, first[0][1] if first else "")
        self._rows = (_row(number, line, self.layout) for number, line in chain(first, lines))
        self._head = list(islice(self._rows, HEAD_ROWS))
        self._check_times()
        self.step = _step([row.time for row in self._head if row.time])

    def __iter__(self) -> Iterator[Row]:
        """Iterate over all rows. This is possible only once."""
        return chain(self._head, self._rows)

    @property
    def sensor_names(self) -> list[str]:
        """The names of the sensors, in the order of a row's values."""
        return list(self.layout.sensors.values())

    def _check_times(self) -> None:
        # This check comes before anything is created in the database.
        if not self._head:
            raise UsageError("there are no rows below the header")
        if all(row.time is None for row in self._head):
            raise UsageError(f"no row can be read; {self._head[0].faults[0]}")


@contextmanager
def open_table(path: Path) -> Iterator[tuple[Table, io.BufferedReader]]:
    """Open a file. Yield two values: the table in the file, and the file's raw stream.

    Call `tell()` of the stream to get the number of bytes read so far. Raise `UsageError` if the file cannot be read or
    contains no table.
    """
    encoding = _encoding(path)
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding) as text:
        try:
            table = Table(text)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        yield table, raw


def _encoding(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is not a file")
    try:
        for encoding in ENCODINGS:
            if _decodes(path, encoding):
                return encoding
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    raise UsageError(f"{path}: is neither UTF-8 nor GB18030 text; save it as CSV in UTF-8")


def _decodes(path: Path, encoding: str) -> bool:
    with path.open(encoding=encoding) as text:
        try:
            while text.read(1 << 20):
                pass
        except UnicodeDecodeError:
            return False
    return True


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, skipinitialspace=True, strict=True))


def _layout(header: str, first: str) -> Layout:
    delimiter = _delimiter(header, first)
    try:
        names = [name.strip() for name in _split(header, delimiter)]
    except csv.Error as error:
        raise UsageError(f"the header cannot be read: {error}") from None
    time = next((i for i, name in enumerate(names) if name.casefold() in TIME_NAMES), 0)
    sensors = {i: name for i, name in enumerate(names) if i != time and name}
    _check_names(list(sensors.values()))
    return Layout(delimiter, len(names), time, names[time], sensors)


def _delimiter(header: str, first: str) -> str:
    """Return the delimiter that splits the header and the first row into the same number of cells.

    If several delimiters do this, return the delimiter that produces the most cells.
    """

    def fitness(delimiter: str) -> tuple[bool, int]:
        width = _width(header, delimiter)
        return _width(first, delimiter) == width > 1, width

    return max(DELIMITERS, key=fitness)


def _width(line: str, delimiter: str) -> int:
    try:
        return len(_split(line, delimiter))
    except csv.Error:
        return 0


def _check_names(names: list[str]) -> None:
    if not names:
        raise UsageError("the header names no sensor; it must look like time,freezer_1,freezer_2 (or with ; or tabs)")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two columns are named {name!r}: give each sensor its own name")
        if len(name) > 255:
            raise UsageError(f"the column name {cells.quoted(name)} is longer than 255 characters")


def _row(line: int, text: str, layout: Layout) -> Row:
    try:
        row = _split(text, layout.delimiter)
    except csv.Error as error:
        return Row(line, None, [], [Fault(line, None, f"its quotes are wrong: {error}")])
    if len(row) != layout.width:
        return Row(line, None, [], [Fault(line, None, f"{len(row)} cells where the header has {layout.width}")])
    try:
        time = cells.parse_time(row[layout.time])
    except ValueError as error:
        return Row(line, None, [], [Fault(line, layout.time_name, str(error))])
    return _values(line, time, row, layout)


def _values(line: int, time: datetime, row: list[str], layout: Layout) -> Row:
    values: list[float | None] = []
    faults = _unnamed_cells(line, row, layout)
    for index, name in layout.sensors.items():
        value = None
        try:
            value = cells.parse_number(row[index], decimal_comma=layout.delimiter != ",")
        except ValueError as error:
            faults.append(Fault(line, name, str(error)))
        values.append(value)
    return Row(line, time, values, faults)


def _unnamed_cells(line: int, row: list[str], layout: Layout) -> list[Fault]:
    # Many exports end each line with a delimiter, which adds an empty column.
    others = (i for i in range(layout.width) if i != layout.time and i not in layout.sensors)
    return [Fault(line, str(i + 1), "this column has no name") for i in others if row[i].strip()]


def _step(times: list[datetime]) -> timedelta | None:
    """Return the usual time between two rows, or None if it cannot be determined.

    It is negative if the newest rows come first.
    """
    walls = [time.replace(tzinfo=None) for time in times]
    steps = [later - earlier for earlier, later in pairwise(walls) if later != earlier]
    return median_low(steps) if steps else None
