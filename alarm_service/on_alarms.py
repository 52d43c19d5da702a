"""The types of the callbacks that are called with changed alarms."""

from collections.abc import Callable, Sequence
from typing import Protocol

import sqlalchemy as sa

from ask.answers import Alarm

OnAlarms = Callable[[sa.Connection, Sequence[Alarm]], None]
"""A function that receives changed alarms. It runs in a worker thread, in the transaction of the change.

It also receives an alarm that was marked as late, as soon as the readings of the alarm's sensor are up to date again.
"""


class UnrecordedAlarms(Protocol):
    """Notifies targets of alarms while the alarms cannot be recorded. All functions run in the event loop."""

    def add_unrecorded(self, alarms: Sequence[Alarm]) -> None:
        """Add alarms that could not be recorded. Each element is an alarm after one transition, in order."""

    def settle(self, alarms: Sequence[Alarm]) -> None:
        """Stop notifying of these alarms, because they are recorded now."""

    def clear_unrecorded(self) -> None:
        """Forget all added alarms: they are recorded, or another process evaluates the alarm rules."""
