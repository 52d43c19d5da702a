"""Finds import cycles between files. Unlike tach, it also finds cycles within one package."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from lint.sources import Problem, Source

Imports = Mapping[str, Mapping[str, int]]
"""For each module of the project, the project's modules that it imports. Each has the line number of the import."""


def check(files: Sequence[Source]) -> Iterator[Problem]:
    """Yield the first import cycle, if there is one."""
    python = {file.module: file for file in files if file.suffix == ".py"}
    imports: Imports = {module: dict(_imports(file, python)) for module, file in python.items()}
    try:
        TopologicalSorter({module: set(imported) for module, imported in imports.items()}).prepare()
    except CycleError as error:
        # In graphlib's list, each module is imported by the next module.
        circle: list[str] = list(reversed(error.args[1]))
        line = imports[circle[0]][circle[1]]
        yield Problem(python[circle[0]].path, line, f"import cycle: {' > '.join(circle)}")


def _imports(file: Source, python: Mapping[str, Source]) -> Iterator[tuple[str, int]]:
    for node in file.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in python:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                # `from ask import rows` imports a file; `from ask.rows import fetch` imports a name from a file.
                submodule = f"{node.module}.{alias.name}"
                module = submodule if submodule in python else node.module
                if module in python:
                    yield module, node.lineno
