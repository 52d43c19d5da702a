"""Drills, run: the test reading is judged, and what comes of it goes the way of every alarm."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from alarms.drill import drill
from ask.answers import Alarm
from ask.episodes import episode_id
from database import Database
from instants import Clock
from live.enduring import enduring
from record import drills, episodes, lease
from record.drills import Drill
from record.episodes import Said

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two looks for drills."""

Follow = Callable[[sa.Connection, Sequence[Alarm]], None]
"""Is told of alarms that have changed, in the transaction in which they are written."""


class Drills:
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
            with enduring(log, "run a drill"):
                await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Go on with the drills that are not over; raises `Unavailable`."""
        await self._state.run(self._go_on)

    def _go_on(self, connection: sa.Connection) -> None:
        with connection.begin():
            running = drills.running(connection, self._clock())
            if running and lease.hold(connection, self._lease_name, self._holder) is not None:
                for one in running:
                    self._judge(connection, one)

    def _judge(self, connection: sa.Connection, one: Drill) -> None:
        """An acknowledgement ends it, or the time: nothing is wrong, so nothing else ever would."""
        now = self._clock()
        over = one.alarm is not None and (one.alarm.acknowledged or now >= one.ends)
        changes = drill(one.sensor, one.asked.timestamp(), now.timestamp() if over else None)
        said = [Said(change, one.sensor.sensor_name, one.sensor.metric, drill=True) for change in changes]
        alarms = episodes.write(connection, said, now).alarms
        self._follow(connection, alarms)
        found = episode_id(alarms[0].alarm_id) if alarms else None
        if one.alarm is None and found is not None:
            drills.judged(connection, one.drill_id, found)
