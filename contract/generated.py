"""The files that are generated from the server's types and kept in the repository."""

from collections.abc import Callable, Mapping
from pathlib import Path

from contract import asyncapi, metrics_module, typescript

GENERATED: Mapping[Path, Callable[[], str]] = {
    asyncapi.PATH: asyncapi.text,
    typescript.PATH: typescript.text,
    metrics_module.PATH: metrics_module.text,
}
"""Each file, and the function that returns its text."""


def write() -> None:
    """Write each file anew."""
    for path, text in GENERATED.items():
        path.write_text(text(), encoding="utf-8")
