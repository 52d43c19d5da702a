"""Watches files that other programs write, so that the server can read them again after a change."""

import os

Stamp = tuple[int, int, int]
"""The modification time (in nanoseconds), the size and the inode of a file. They change when the file changes."""


class FileWatch:
    """Detects that files have changed since they were read, and that the change is complete.

    A program does not write a file, or replace two files, in one step. During the change, the first half of a YAML file
    may be valid YAML with fewer keys, and a new certificate may be stored beside the old key.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._read: list[Stamp | None] = [None] * len(paths)
        self._checked = self._read

    def mark_read(self) -> None:
        """Let `check` report only later changes. Without this call, the first content counts as a change."""
        self._read = self._checked = self._stamps()

    def check(self) -> bool:
        """Return whether the files have changed since they were last read, but not since the last check."""
        previous, self._checked = self._checked, self._stamps()
        if self._checked != previous or self._checked == self._read:
            return False
        self._read = self._checked
        return True

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> Stamp | None:
    """Return the stamp of a file, or None if the file does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
