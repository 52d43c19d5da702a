"""Files that others write while we run, and that count anew once they have changed."""

import os

Stamp = tuple[int, int, int]
"""What changes when a file does."""


class FileWatch:
    """Files to be read again once they have changed, and only when they change no more.

    Nobody writes a file at once, nor replaces two: in between, half of a YAML file may be good YAML that says less,
    and a certificate lies beside the key of the one before.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._read: list[Stamp | None] = [None] * len(paths)
        self._seen = self._read

    def were_read(self) -> None:
        """From now on only a change counts; before, whatever they hold."""
        self._read = self._seen = self._stamps()

    def look(self) -> bool:
        """Look at them; return whether to read them, as they have changed, though not since the last look."""
        before, self._seen = self._seen, self._stamps()
        if self._seen != before or self._seen == self._read:
            return False
        self._read = self._seen
        return True

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> Stamp | None:
    """Return None where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
