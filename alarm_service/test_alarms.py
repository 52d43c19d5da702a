"""Drills, run: the test reading is judged, and what comes of it goes the way of every alarm."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from alarms.test_alarm import drill
from ask.answers import Alarm
from ask.episodes import episode_id
from common.clock import Clock
from db.database import Database
from logger import errors_logged
from record import episodes, lease, test_alarms
from record.episodes import JudgedChange
from record.test_alarms import AlarmTest

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two looks for drills."""

Follow = Callable[[sa.Connection, Sequence[Alarm]], None]
"""Is told of alarms that have changed, in the transaction in which they are written."""


class AlarmTestRunner:
    """Looks for drills while this process, `holder`, has the `lease_name`."""

    def __init__(self, state: Database, follow: Follow, clock: Clock, lease_name: str, holder: str) -> None:
        self._state = state
        self._follow = follow
        self._clock = clock
        self._lease_name = lease_name
        self._holder = holder

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with errors_logged(log, "run a drill"):
                await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Go on with the drills that are not over; raises `Unavailable`."""
        await self._state.run(self._go_on)

    def _go_on(self, connection: sa.Connection) -> None:
        with connection.begin():
            running = test_alarms.running(connection, self._clock())
            if running and lease.hold(connection, self._lease_name, self._holder) is not None:
                for one in running:
                    self._judge(connection, one)

    def _judge(self, connection: sa.Connection, one: AlarmTest) -> None:
        """An acknowledgement ends it, or the time: nothing is wrong, so nothing else ever would."""
        now = self._clock()
        over = one.alarm is not None and (one.alarm.acknowledged or now >= one.ends)
        changes = drill(one.sensor, one.asked.timestamp(), now.timestamp() if over else None)
        said = [JudgedChange(change, one.sensor.sensor_name, one.sensor.metric, drill=True) for change in changes]
        alarms = episodes.write(connection, said, now).alarms
        self._follow(connection, alarms)
        found = episode_id(alarms[0].alarm_id) if alarms else None
        if one.alarm is None and found is not None:
            test_alarms.judged(connection, one.drill_id, found)
