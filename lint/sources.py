"""The files that are checked, and what a check says about one of them."""

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
    """A file of the tree; `path` is relative to its root, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """All nodes of the syntax tree."""
        return list(ast.walk(self.tree))

    @property
    def suffix(self) -> str:
        """The ending of the file's name, such as `.py`."""
        return Path(self.path).suffix

    @property
    def module(self) -> str:
        """The dotted name under which a Python file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, order=True)
class Problem:
    """Something that a check does not allow."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        """Return the problem as compilers print it, so that editors find the line."""
        return f"{self.path}:{self.line}: {self.text}"


def sources(root: Path) -> list[Source]:
    """Return all files of the tree that can be checked, without what was installed or generated into it."""
    ours = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NOT_OURS and not name.startswith("."))
        for file in sorted(files):
            if file.endswith(SUFFIXES):
                path = Path(folder, file)
                ours.append(Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")))
    return ours


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a path is one of these, or below one that ends with `/*`."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def load(name: str, content: type[Content]) -> Content:
    """Return the rules in a YAML file beside this one; raises msgspec.ValidationError where a key is wrong."""
    return msgspec.yaml.decode((Path(__file__).parent / name).read_bytes(), type=content)
