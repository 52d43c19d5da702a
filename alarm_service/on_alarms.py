"""The type of the callback that is called with changed alarms."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ask.answers import Alarm

OnAlarms = Callable[[sa.Connection, Sequence[Alarm]], None]
"""A function that is called with alarms that have changed, in the transaction of the change and in a worker thread.

It is also called with an alarm that was raised by late readings, when the readings of the alarm's sensor are up to date
again.
"""
