"""The generated files that are kept in the repository."""

from collections.abc import Callable, Mapping
from pathlib import Path

from contract import asyncapi, metrics_module, typescript

GENERATED: Mapping[Path, Callable[[], str]] = {
    asyncapi.PATH: asyncapi.text,
    typescript.PATH: typescript.text,
    metrics_module.PATH: metrics_module.text,
}
"""For each generated file, the function that returns the text of the file."""


def write() -> None:
    """Write all generated files."""
    for path, text in GENERATED.items():
        path.write_text(text(), encoding="utf-8")
