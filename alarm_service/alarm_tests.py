"""Runs requested test alarms: evaluates test readings, and writes the test alarms like real alarms."""

import logging

import sqlalchemy as sa

from alarm_service.on_alarms import OnAlarms
from alarms.alarm_test_reading import changes_of_test_alarm
from ask.episodes import episode_id
from common.clock import Clock
from common.periodic import run_periodically
from db.database import Database
from record import alarm_tests, episodes, lease
from record.alarm_tests import AlarmTest
from record.episode_rows import JudgedChange

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Time between two polls for requested test alarms, in seconds."""


class AlarmTestRunner:
    """Runs test alarms while this process has the lease, and writes them to the database `state`.

    `lease_name` is the name of the lease. `holder` is the name of this process.
    """

    def __init__(self, state: Database, on_alarms: OnAlarms, clock: Clock, lease_name: str, holder: str) -> None:
        self._state = state
        self._on_alarms = on_alarms
        self._clock = clock
        self._lease_name = lease_name
        self._holder = holder

    async def run(self) -> None:
        """Run test alarms until cancelled."""
        await run_periodically(self.poll, POLL_S, log=log, purpose="run a test alarm")

    async def poll(self) -> None:
        """Raise requested test alarms. Clear each test alarm that was acknowledged or whose duration has passed.

        Raise `Unavailable` if the database does not answer.
        """
        await self._state.run(self._judge_running)

    def _judge_running(self, connection: sa.Connection) -> None:
        with connection.begin():
            running = alarm_tests.running(connection, self._clock())
            if running and lease.acquire(connection, self._lease_name, self._holder) is not None:
                for test_alarm in running:
                    self._judge(connection, test_alarm)

    def _judge(self, connection: sa.Connection, test_alarm: AlarmTest) -> None:
        # A test alarm has no real fault that could end, so it ends when it is acknowledged or its time is over.
        now = self._clock()
        alarm, sensor = test_alarm.alarm, test_alarm.sensor
        is_over = alarm is not None and (alarm.acknowledged or now >= test_alarm.ends)
        changes = changes_of_test_alarm(sensor, test_alarm.asked.timestamp(), now.timestamp() if is_over else None)
        judged = [JudgedChange(change, sensor.sensor_name, sensor.metric, is_test=True) for change in changes]
        alarms = episodes.write(connection, judged, now).alarms
        self._on_alarms(connection, alarms)
        number = episode_id(alarms[0].alarm_id) if alarms else None
        if alarm is None and number is not None:
            alarm_tests.set_episode(connection, test_alarm.test_alarm_id, number)
