"""The notifier: sends the notices (notifications about alarms) in the database, and retries until they arrive.

Only one process at a time sends notices.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from alarms.model import CLEARED, RAISED, Change, Episode, Limit
from alarms.notices import DELIVERY, escalation_policy
from ask.answers import Alarm, Id, Storehouse
from common.clock import Clock
from common.periodic import run_periodically
from db.database import Database
from errors import Unavailable
from live.newest import Newest
from notify import text
from notify.sender import Sender
from notify.unrecorded import UnrecordedNotices
from record import episodes, lease, notices
from record.episode_rows import JudgedChange
from record.notices import Message, PendingMessage
from settings import Notify, duration

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Time between two polls of the notifier if nothing wakes it earlier, in seconds."""
REMIND_INTERVAL = timedelta(seconds=1)
"""Minimum time between two checks of all open alarms for due reminders and escalations.

The notifier polls more often than this while it sends messages, but it does not check the open alarms at every poll.
"""
RETENTION = timedelta(days=366)
"""Time for which sent notices are kept in the database."""
DELETE_INTERVAL = timedelta(minutes=1)
"""Minimum time between two deletions of old notices. One deletion removes a limited number of notices."""
RETRIES_S = (1, 2, 4, 8, 16, 32, 60)
"""Waiting times after the first, second and further failed attempts to send a message, in seconds.

The last waiting time in the list is also used after all further attempts.
"""
FAILING_TRIES = 3
"""Number of failed attempts to send a message after which Storewatch raises an alarm."""
STOP_TIMEOUT_S = 1.0
"""After `run` is cancelled, it waits at most this number of seconds for messages that are being sent."""
WRITE_RETRY_S = 1.0
"""Time between two attempts to write to the database whether a message has arrived, in seconds."""


class Notifier:
    """Sends notices (notifications about alarms) to the targets of the setting `notify`.

    It sends only notices about alarms that Storewatch itself raised, and only while this process has the lease
    `lease_name`. `holder` is the name of this process.

    While `is_recording` returns False, alarms cannot be recorded in the database. The notifier then sends the notices
    that `add_unrecorded` has added.
    """

    def __init__(
        self,
        notify: Notify,
        state: Database,
        newest: Newest,
        sender: Sender,
        clock: Clock,
        lease_name: str,
        holder: str,
        is_recording: Callable[[], bool] = lambda: True,
    ) -> None:
        self._notify = notify
        self._policy = escalation_policy(notify)
        self._wait, self._interval = duration(notify.group_wait), duration(notify.group_interval)
        self._targets = {target.name: target for target in notify.targets}
        self._state = state
        self._newest = newest
        self._sender = sender
        self._clock = clock
        self._lease_name = lease_name
        self._holder = holder
        self._sending: dict[str, asyncio.Task[None]] = {}
        """Tasks that are sending a message, by the name of the target. Each target gets one message at a time."""
        self._last_reminded: datetime | None = None
        self._last_deleted: datetime | None = None
        self._wake = asyncio.Event()
        self._is_recording = is_recording
        self._unrecorded = UnrecordedNotices(self._policy, self._wait, self._interval)
        self._writing: dict[asyncio.Task[None], str] = {}
        """Tasks that write to the database whether a message has arrived, with the name of the target.

        Until the result is written, the database must not start another message to the target, because it might start
        the same message again.
        """

    def write_notices(self, connection: sa.Connection, alarms: Sequence[Alarm]) -> None:
        """Write the notices that are due because these alarms have changed.

        `connection` has the open transaction in which the alarms were changed.
        """
        notices.add_for_changes(connection, alarms, self._policy, self._wait, self._clock(), self._unrecorded.attempts)

    def add_unrecorded(self, alarms: Sequence[Alarm]) -> None:
        """Add notices about alarms that could not be recorded. Each element is an alarm after one transition."""
        self._unrecorded.add(alarms, self._clock())

    def settle(self, alarms: Sequence[Alarm]) -> None:
        """Stop notifying of these alarms from memory, because they are recorded now.

        Record the notices that were already sent as sent.
        """
        for message in self._unrecorded.settle(alarms):
            self._write_in_background(message, arrived=True)

    def clear_unrecorded(self) -> None:
        """Forget the notices about unrecorded alarms: all are recorded, or another process evaluates the rules."""
        self._unrecorded.clear()

    async def run(self) -> None:
        """Poll until cancelled, then wait a short time for the messages that are being sent."""
        try:
            await run_periodically(self.poll, POLL_S, log=log, purpose="send notifications", wake=self._wake)
        finally:
            # Wait, because a message whose arrival is not recorded is sent again after the next start.
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.wait_until_sent()

    async def poll(self) -> None:
        """Write due notices to the database, and start to send due messages.

        Raise `Unavailable` if the database does not answer.
        """
        now = self._clock()
        if not self._is_recording():
            free = self._targets.keys() - self._sending.keys()
            self._deliver_in_background(self._unrecorded.start_messages(free, now))
        free = self._targets.keys() - self._sending.keys() - set(self._writing.values())
        reminding = self._last_reminded is None or now - self._last_reminded >= REMIND_INTERVAL
        messages = await self._state.run(
            lambda connection: self._start_messages(connection, now, free, reminding=reminding)
        )
        if reminding:
            self._last_reminded = now
        self._deliver_in_background(messages)
        if self._last_deleted is None or now - self._last_deleted >= DELETE_INTERVAL:
            await self._state.run(lambda connection: self._delete_old(connection, now))
            self._last_deleted = now

    async def wait_until_sent(self) -> None:
        """Wait until every message that is being sent has arrived or failed, and the result is written."""
        while self._sending or self._writing:
            await asyncio.gather(*self._sending.values(), *self._writing)

    def _deliver_in_background(self, messages: Sequence[Message]) -> None:
        for message in messages:
            task = asyncio.create_task(self._deliver(message), name=f"notify {message.target}")
            self._sending[message.target] = task

    def _start_messages(
        self, connection: sa.Connection, now: datetime, free: Collection[str], *, reminding: bool
    ) -> list[Message]:
        """Return at most one due message for each target in `free`, and record the attempt to send it.

        `free` contains the targets to which no message is being sent. Return an empty list if another process has the
        lease.
        """
        with connection.begin():
            if lease.acquire(connection, self._lease_name, self._holder) is None:
                return []
            if reminding:
                notices.add_due(connection, self._policy, self._wait, now)
            started: dict[str, Message] = {}
            waiting = notices.pending_messages(connection, free)
            tried = {(pending.target, pending.store_house_key) for pending in waiting if pending.message_id is not None}
            for pending in waiting:
                is_behind = pending.message_id is None and (pending.target, pending.store_house_key) in tried
                if pending.target not in started and not is_behind and self._is_due(connection, pending, now):
                    started[pending.target] = notices.start_attempt(connection, pending)
            return list(started.values())

    def _delete_old(self, connection: sa.Connection, now: datetime) -> None:
        with connection.begin():
            if lease.acquire(connection, self._lease_name, self._holder) is not None:
                notices.delete_old(connection, now - RETENTION)

    def _is_due(self, connection: sa.Connection, pending: PendingMessage, now: datetime) -> bool:
        if pending.due > now or pending.message_id is not None:
            return pending.due <= now
        last = notices.last_sent(connection, pending)
        return last is None or last + self._interval <= now

    async def _deliver(self, message: Message) -> None:
        try:
            arrived = await self._send_or_log(message)
            if not message.unrecorded or self._finish_unrecorded(message, arrived):
                self._write_in_background(message, arrived)
        except Exception:
            log.exception("cannot record whether a message to %s has arrived; it is sent again", message.target)
        finally:
            del self._sending[message.target]
            self._wake.set()

    async def _send_or_log(self, message: Message) -> bool:
        try:
            return await self._send(message)
        except Exception:  # counts as a failed attempt, so that the next attempt waits
            log.exception("cannot send a message to %s; it is retried", message.target)
            return False

    def _write_in_background(self, message: Message, arrived: bool) -> None:
        task = asyncio.create_task(self._write_until_written(message, arrived), name=f"notified {message.target}")
        self._writing[task] = message.target
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        del self._writing[task]
        self._wake.set()

    async def _write_until_written(self, message: Message, arrived: bool) -> None:
        try:
            await self._run_until_written(lambda connection: self._write_result(connection, message, arrived))
        except Exception:
            log.exception("cannot write whether a message to %s has arrived; it is retried", message.target)

    def _finish_unrecorded(self, message: Message, arrived: bool) -> bool:
        """Keep the result in memory. Return whether the database has the message too, and must get the result."""
        now = self._clock()
        return self._unrecorded.finish(message, arrived, now, now + backoff(message.tries))

    async def _send(self, message: Message) -> bool:
        target = self._targets[message.target]
        language = target.language or self._notify.language
        storehouse, units = self._storehouse_and_units(message.store_house_id)
        subject = text.subject(message, storehouse, units, language)
        arrived = await self._sender.send(
            target, subject, text.text(message, storehouse, units, language), text.worst(message)
        )
        if not arrived:
            log.warning("a message to %s has not arrived (attempt %d); it is retried", target.name, message.tries)
        return arrived

    async def _run_until_written(self, work: Callable[[sa.Connection], None]) -> None:
        """Run `work`, and repeat it until the database answers.

        `work` writes whether a message has arrived. Without this record, the message would be sent again.
        """
        while True:
            try:
                return await self._state.run(work)
            except Unavailable:
                log.debug("cannot write the result of a message: the database does not answer; trying again")
            await asyncio.sleep(WRITE_RETRY_S)

    def _write_result(self, connection: sa.Connection, message: Message, arrived: bool) -> None:
        with connection.begin():
            lease.lock(connection, self._lease_name)
            now = self._clock()
            if arrived:
                notices.set_arrived(connection, message, now)
            else:
                notices.set_failed(connection, message, now + backoff(message.tries))
            self._update_delivery_alarm(connection, message, now)

    def _update_delivery_alarm(self, connection: sa.Connection, message: Message, now: datetime) -> None:
        """Raise or clear the delivery alarm of a storehouse.

        The alarm means that messages about the storehouse do not arrive. Raise it if such messages keep failing. Clear
        it as soon as none of these messages is failing.
        """
        is_failing = notices.are_failing(connection, message.store_house_id, self._targets, FAILING_TRIES)
        episode = next(
            (
                episode
                for episode in episodes.open_episodes(connection)
                if (episode.kind, episode.store_house_id) == (DELIVERY, message.store_house_id)
            ),
            None,
        )
        if is_failing and episode is None:
            change = Change(RAISED, now.timestamp(), _delivery_episode(message, now))
        elif episode is not None and not is_failing:
            cleared = msgspec.structs.replace(episode, cleared=now.timestamp())
            change = Change(CLEARED, now.timestamp(), cleared)
        else:
            return
        result = episodes.write(connection, [JudgedChange(change, message.target, None)], now)
        self.write_notices(connection, result.alarms)

    def _storehouse_and_units(self, store_house_id: Id) -> tuple[Storehouse, text.Units]:
        unnamed = Storehouse(store_house_id, str(store_house_id), "", "UTC")
        storehouse = self._newest.storehouse(store_house_id) or unnamed
        envs = self._newest.envs(storehouse.store_house_id, self._clock())
        return storehouse, {(env.sensor_id, env.metric): env.unit for env in envs}


def backoff(tries: int) -> timedelta:
    """Return the waiting time before the next attempt to send a message that has failed `tries` times."""
    return timedelta(seconds=RETRIES_S[min(tries, len(RETRIES_S)) - 1])


def _delivery_episode(message: Message, now: datetime) -> Episode:
    limit = Limit(FAILING_TRIES, "critical")
    return Episode(
        store_house_id=message.store_house_id,
        key=None,
        kind=DELIVERY,
        since=now.timestamp(),
        limits=(limit,),
        level=0,
        value=float(message.tries),
        peak=float(message.tries),
        raised=now.timestamp(),
    )
