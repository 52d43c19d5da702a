"""The callback for alarms that have changed."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ask.answers import Alarm

OnAlarms = Callable[[sa.Connection, Sequence[Alarm]], None]
"""Called in the transaction of a change, in a worker thread, with each alarm as it was after each step.

It is called once more with an alarm, without a step, when its late readings have come up to date.
"""
