"""Watches files that others write while we run, to read them again once they have changed."""

import os

Stamp = tuple[int, int, int]
"""Changes when a file does: its modification time in nanoseconds, its size and its inode."""


class FileWatch:
    """Tells when files have changed since they were read, and no longer change.

    Nobody writes a file at once, nor replaces two: in between, half of a YAML file may be valid YAML that says less,
    and a new certificate lies beside the old key.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._read: list[Stamp | None] = [None] * len(paths)
        self._checked = self._read

    def mark_read(self) -> None:
        """Report only changes from now on; without this call, the first content counts as a change."""
        self._read = self._checked = self._stamps()

    def check(self) -> bool:
        """Return whether to read the files: they have changed since they were read, but not since the last check."""
        previous, self._checked = self._checked, self._stamps()
        if self._checked != previous or self._checked == self._read:
            return False
        self._read = self._checked
        return True

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> Stamp | None:
    """Return None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
