"""Watches files that other programs write, so that the server can read them again after a change."""

import os

Stamp = tuple[int, int, int]
"""The modification time (in nanoseconds), size and inode of a file. Any change of the file changes one of them."""


class FileWatch:
    """Detects that files have changed since they were read, and that the change is complete.

    A program needs several steps to write a file or to replace two files. During the change, the first half of a YAML
    file may be valid YAML with fewer keys, and a new certificate may be stored beside the old key.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._read: list[Stamp | None] = [None] * len(paths)
        self._checked = self._read

    def mark_read(self) -> None:
        """Record that the files have just been read, so that `check` reports only later changes.

        Without this call, `check` reports the first content of the files as a change.
        """
        self._read = self._checked = self._stamps()

    def check(self) -> bool:
        """Return True if the files have changed since they were read, and the change is complete.

        A change is complete if the files are the same as at the previous call of `check`. The caller must then read the
        files, because `check` counts them as read.
        """
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
