"""The files that the checks read, and the problems that they report."""

import ast
import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

SUFFIXES = (".py", ".js", ".mjs", ".ts", ".c", ".md", ".html", ".css")
NOT_OURS = {"node_modules", "__pycache__", "var"}

Content = TypeVar("Content")


@dataclass(frozen=True)
class Source:
    """A file of the source tree. `path` is relative to the root of the tree, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """All nodes of a Python file's syntax tree."""
        return list(ast.walk(self.tree))

    @property
    def suffix(self) -> str:
        """The suffix of the file's name, such as `.py`."""
        return Path(self.path).suffix

    @property
    def module(self) -> str:
        """The dotted name under which a Python file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, order=True)
class Problem:
    """A problem that a check has found in a file."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        """Return the problem in the format of compiler messages, so that editors find the line."""
        return f"{self.path}:{self.line}: {self.text}"


def sources(root: Path) -> list[Source]:
    """Return all files of the tree that can be checked, except hidden, installed and run-time files."""
    ours = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NOT_OURS and not name.startswith("."))
        for file in sorted(files):
            if file.endswith(SUFFIXES):
                path = Path(folder, file)
                ours.append(Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")))
    return ours


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a path matches one of these patterns, such as `dashboard/*`."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def load(name: str, content: type[Content]) -> Content:
    """Return the rules in a YAML file of this folder. Raise msgspec.ValidationError if a key is wrong."""
    return msgspec.yaml.decode((Path(__file__).parent / name).read_bytes(), type=content)
