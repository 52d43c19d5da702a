"""Copies of a SQLite file, made before an upgrade of Storewatch's own tables."""

import logging
import os
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

KEPT = 3
"""Number of copies of a file that are kept. Of each version, only the newest copy is kept."""


class FileCopy(NamedTuple):
    """A copy of a SQLite file. Copies sort by time."""

    time: str
    """UTC time of the copy, such as 20260301T080000Z."""
    version: str
    """Version of Storewatch's own tables in the copy."""
    path: Path


def copy_file(path: Path, version: str, now: datetime) -> None:
    """Copy the SQLite file next to itself, then delete copies that are too old.

    The copy has the permissions of the file. Call this function only while no other process writes the file. Raise
    `OSError` or `sqlite3.Error` if the copy cannot be written.
    """
    target = path.with_name(f"{path.name}.{version}.{now:%Y%m%dT%H%M%SZ}.backup")
    partial = target.with_name(f"{target.name}.partial")
    for leftover in _matching(path, r"\.partial.*"):
        leftover.path.unlink()  # from a process that was killed
    try:
        _write(path, partial)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    log.info("copied %s to %s before the upgrade of Storewatch's own tables", path, target.name)
    _delete_old(copies(path))


def copies(path: Path) -> list[FileCopy]:
    """Return the complete copies of the file, the oldest first."""
    return _matching(path, "")


def _matching(path: Path, suffix: str) -> list[FileCopy]:
    name = re.compile(rf"{re.escape(path.name)}\.(\w+)\.(\d{{8}}T\d{{6}}Z)\.backup{suffix}")
    matches = ((name.fullmatch(each.name), each) for each in path.parent.iterdir())
    return sorted(FileCopy(match[2], match[1], each) for match, each in matches if match)


def _write(path: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL, mode=0o600))
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as destination,
    ):
        source.backup(destination)
    owner = path.stat()
    with suppress(PermissionError):  # if the copy cannot have the same owner and group, only this account may read it
        os.chown(target, owner.st_uid, owner.st_gid)
        shutil.copymode(path, target)


def _delete_old(oldest_first: list[FileCopy]) -> None:
    newest_of_each = {copy.version: copy for copy in oldest_first}
    kept = sorted(newest_of_each.values())[-KEPT:]
    for copy in oldest_first:
        if copy not in kept:
            copy.path.unlink()
