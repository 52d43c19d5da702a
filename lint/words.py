"""Words: the identifiers of a file, and the words of its prose."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PROSE = re.compile(r"[A-Za-z]\w*")


class Role(Enum):
    """How a word is used where it stands."""

    DEFINED = auto()
    """The name of something of ours: a function, a class, a parameter, a variable, an attribute that is set."""
    USED = auto()
    """A name that is used, which may be a library's."""
    MODULE = auto()
    """The name of a file or of a folder, without its ending."""
    PROSE = auto()
    """A word of a comment, of a docstring or of a document."""


class Word(NamedTuple):
    """A word, and the line where it stands."""

    text: str
    line: int
    role: Role


def parts(identifier: str) -> list[str]:
    """Return the words of an identifier in lower case: `no_data` and `NoData` are both `no`, `data`."""
    return [part.lower() for part in _PARTS.findall(identifier)]


def prose(text: str, line: int) -> Iterator[Word]:
    """Return the words of a text that begins in this line."""
    for number, content in enumerate(text.split("\n"), line):
        for match in _PROSE.finditer(content):
            yield Word(match[0], number, Role.PROSE)
