"""The words of a file: its identifiers and the words of its prose."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PROSE = re.compile(r"[A-Za-z]\w*")


class Role(Enum):
    """The role of a word in a file."""

    DEFINED = auto()
    """A name that the project defines: a function, class, parameter, variable, or an attribute that is set."""
    USED = auto()
    """A name that is used. A library may define it."""
    MODULE = auto()
    """The name of a file or folder, without its suffix."""
    PROSE = auto()
    """A word of a comment, docstring or document."""


class Word(NamedTuple):
    """A word in a file, with its line and role."""

    text: str
    line: int
    role: Role


def parts(identifier: str) -> list[str]:
    """Return the words of an identifier in lower case, such as `no` and `data` for `no_data` or `NoData`."""
    return [part.lower() for part in _PARTS.findall(identifier)]


def prose(text: str, line: int) -> Iterator[Word]:
    """Yield the words of a text whose first line has the number `line`."""
    for number, content in enumerate(text.split("\n"), line):
        for match in _PROSE.finditer(content):
            yield Word(match[0], number, Role.PROSE)
