"""Writes many rows together, and sets aside the rows that the database rejects.

One row that cannot be stored must not prevent the other rows from being stored.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

import sqlalchemy as sa

from db.database import reason
from db.dialects import dialect_of
from errors import StorewatchError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

Kind = Literal["alarm", "site_alarm", "reading", "snapshot"]
"""What was set aside: an alarm of Storewatch, an alarm of the site's own system, a reading that the judge could not
evaluate, or a snapshot of the judge."""
KINDS: Sequence[Kind] = get_args(Kind)
MOST_REMEMBERED = 10_000
"""Maximum number of subjects that are remembered, so that each of them is logged only once."""


class SetAside:
    """Counts what was set aside because it could not be evaluated or stored, and logs each subject once.

    The methods may be called from any thread.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """The number of subjects that were set aside, for each kind of data, such as `alarm`."""
        self._seen: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()

    def add(self, kind: Kind, subject: object, error: Exception) -> None:
        """Count and log that data of this kind about `subject` was set aside because of `error`.

        Do nothing if this was already logged.
        """
        key = kind, str(subject)
        with self._lock:
            if key in self._seen:
                return
            self._seen[key] = None
            self.counts[kind] += 1
            if len(self._seen) > MOST_REMEMBERED:
                del self._seen[next(iter(self._seen))]
        if isinstance(error, sa.exc.DBAPIError):
            log.error("set aside the %s of %s: %s; all others continue", kind, subject, reason(error))
        else:  # a defect, so log its traceback
            log.error("set aside the %s of %s; all others continue", kind, subject, exc_info=error)


def write_separately(
    connection: sa.Connection,
    items: Sequence[T],
    write: Callable[[Sequence[T]], R],
    set_aside: Callable[[T, Exception], None],
) -> list[R]:
    """Call `write` with all items in a savepoint of the caller's transaction. Return the result in a list.

    If the data of an item is rejected, undo the write and write each half of the items in the same way. Call
    `set_aside` with each item that is rejected alone. Return the results of all successful calls, in the order of the
    items. Errors of the database itself are raised.
    """
    if not items:
        return []
    try:
        with connection.begin_nested():
            return [write(items)]
    except Exception as error:
        if not _is_about_data(connection, error):
            raise
        if len(items) == 1:
            set_aside(items[0], error)
            return []
    middle = len(items) // 2
    halves = items[:middle], items[middle:]
    return [result for half in halves for result in write_separately(connection, half, write, set_aside)]


def _is_about_data(connection: sa.Connection, error: Exception) -> bool:
    if isinstance(error, sa.exc.DBAPIError):
        return dialect_of(connection).is_row_error(error)
    return not isinstance(error, StorewatchError | sa.exc.TimeoutError)
