"""The type of the callback that is called with changed alarms."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ask.answers import Alarm

OnAlarms = Callable[[sa.Connection, Sequence[Alarm]], None]
"""A function that receives changed alarms. It runs in a worker thread, in the transaction of the change.

It also receives an alarm that was marked as late, as soon as the readings of the alarm's sensor are up to date again.
"""
