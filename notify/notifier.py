"""The notifier: sends what is written down to be told, in one process at a time, and sees to it that people answer."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from alarms import notices as plan
from alarms.model import CLEARED, RAISED, Change, Episode, Limit
from ask.answers import Alarm, Id, Storehouse
from common.clock import Clock
from db.database import Database
from errors import Unavailable
from live.newest import Newest
from logger import errors_logged
from notify import text
from notify.sender import Sender
from record import episodes, lease, notices
from record.episodes import JudgedChange
from record.notices import Message, Waiting
from settings import Notify, duration

log = logging.getLogger("notify")

LOOK_S = 1.0
"""Between two looks, where nothing calls for one."""
REMINDING = timedelta(seconds=1)
"""Between two looks at all open alarms: where a message goes out after the other, there are many more."""
KEPT = timedelta(days=366)
"""How long what was sent stays written down."""
FORGETTING = timedelta(minutes=1)
"""Between two deletions of what is older, a portion each."""
RETRIES_S = (1, 2, 4, 8, 16, 32, 60)
"""How long after its first failures a message is tried again; from then on always after the last of these."""
FAILING_TRIES = 3
"""So many failures of a message are an alarm."""
STOPPING_S = 1.0
"""How long messages that are being sent are waited for when we stop."""
AGAIN_S = 1.0
"""Between two attempts to write down what has become of a message."""


class Notifier:
    """Tells the targets of `notify` of our alarms, while this process, `holder`, has the `lease_name`."""

    def __init__(
        self,
        notify: Notify,
        state: Database,
        newest: Newest,
        sender: Sender,
        clock: Clock,
        lease_name: str,
        holder: str,
    ) -> None:
        self._notify = notify
        self._terms = plan.terms(notify)
        self._wait, self._interval = duration(notify.group_wait), duration(notify.group_interval)
        self._targets = {target.name: target for target in notify.targets}
        self._state = state
        self._newest = newest
        self._sender = sender
        self._clock = clock
        self._lease_name = lease_name
        self._holder = holder
        self._sending: dict[str, asyncio.Task[None]] = {}
        """By target: each is sent one message at a time."""
        self._reminded: datetime | None = None
        self._forgot: datetime | None = None
        self._woken = asyncio.Event()

    def follow(self, connection: sa.Connection, alarms: Sequence[Alarm]) -> None:
        """Write down what is to be told of alarms that have changed, in the transaction of the changes."""
        notices.follow(connection, alarms, self._terms, self._wait, self._clock())

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                with errors_logged(log, "tell of alarms"):
                    await self.look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            # What arrives now but is not written down would be sent again.
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_S):
                    await self.settle()

    async def look(self) -> None:
        """Write down what time demands, and begin to send what is due; raises `Unavailable`."""
        now = self._clock()
        free = self._targets.keys() - self._sending.keys()
        reminding = self._reminded is None or now - self._reminded >= REMINDING
        messages = await self._state.run(lambda connection: self._take(connection, now, free, reminding=reminding))
        if reminding:
            self._reminded = now
        for message in messages:
            task = asyncio.create_task(self._tell(message), name=f"notify {message.target}")
            self._sending[message.target] = task
        if self._forgot is None or now - self._forgot >= FORGETTING:
            await self._state.run(lambda connection: self._forget(connection, now))
            self._forgot = now

    async def settle(self) -> None:
        """Wait until everything that is being sent has arrived or failed."""
        await asyncio.gather(*self._sending.values())

    def _take(
        self, connection: sa.Connection, now: datetime, free: Collection[str], *, reminding: bool
    ) -> list[Message]:
        with connection.begin():
            if lease.hold(connection, self._lease_name, self._holder) is None:
                return []
            if reminding:
                notices.remind(connection, self._terms, self._wait, now)
            found: dict[str, Message] = {}
            waiting = notices.waiting(connection, free)
            tried = {(one.target, one.store_house_key) for one in waiting if one.message_id is not None}
            for one in waiting:
                behind = one.message_id is None and (one.target, one.store_house_key) in tried
                if one.target not in found and not behind and self._is_due(connection, one, now):
                    found[one.target] = notices.begin(connection, one)
            return list(found.values())

    def _forget(self, connection: sa.Connection, now: datetime) -> None:
        with connection.begin():
            if lease.hold(connection, self._lease_name, self._holder) is not None:
                notices.forget(connection, now - KEPT)

    def _is_due(self, connection: sa.Connection, one: Waiting, now: datetime) -> bool:
        if one.due > now or one.message_id is not None:
            return one.due <= now
        last = notices.last_sent(connection, one)
        return last is None or last + self._interval <= now

    async def _tell(self, message: Message) -> None:
        try:
            arrived = await self._send(message)
            await self._insist(lambda connection: self._note(connection, message, arrived))
        except Exception:
            log.exception("cannot tell %s of alarms", message.target)
        finally:
            del self._sending[message.target]
            self._woken.set()

    async def _send(self, message: Message) -> bool:
        target = self._targets[message.target]
        language = target.language or self._notify.language
        place, units = self._place(message.store_house_id)
        subject = text.subject(message, place, units, language)
        arrived = await self._sender.send(
            target, subject, text.text(message, place, units, language), text.worst(message)
        )
        if not arrived:
            log.warning("a message to %s has not arrived, attempt %d", target.name, message.tries)
        return arrived

    async def _insist(self, work: Callable[[sa.Connection], None]) -> None:
        """Write down what has become of a message, however long that takes: else it would be sent again."""
        while True:
            try:
                return await self._state.run(work)
            except Unavailable:
                log.debug("cannot write down what has become of a message")
            await asyncio.sleep(AGAIN_S)

    def _note(self, connection: sa.Connection, message: Message, arrived: bool) -> None:
        with connection.begin():
            lease.lock(connection, self._lease_name)
            now = self._clock()
            if arrived:
                notices.arrived(connection, message, now)
            else:
                notices.failed(connection, message, now + backoff(message.tries))
            self._judge_delivery(connection, message, now)

    def _judge_delivery(self, connection: sa.Connection, message: Message, now: datetime) -> None:
        """Make an alarm of it that a storehouse's messages keep failing, and clear it when none does any more."""
        failing = notices.are_failing(connection, message.store_house_id, self._targets, FAILING_TRIES)
        opened = episodes.open_episodes(connection)
        here = (each for each in opened if (each.kind, each.store_house_id) == (plan.DELIVERY, message.store_house_id))
        one = next(here, None)
        if failing and one is None:
            change = Change(RAISED, now.timestamp(), _delivery(message, now))
        elif one is not None and not failing:
            cleared = msgspec.structs.replace(one, cleared=now.timestamp())
            change = Change(CLEARED, now.timestamp(), cleared)
        else:
            return
        written = episodes.write(connection, [JudgedChange(change, message.target, None)], now)
        self.follow(connection, written.alarms)

    def _place(self, store_house_id: Id) -> tuple[Storehouse, text.Units]:
        place = self._newest.storehouse(store_house_id) or Storehouse(store_house_id, str(store_house_id), "", "UTC")
        envs = self._newest.envs(place.store_house_id, self._clock())
        return place, {(env.sensor_id, env.metric): env.unit for env in envs}


def backoff(tries: int) -> timedelta:
    """Return how long to wait after so many attempts."""
    return timedelta(seconds=RETRIES_S[min(tries, len(RETRIES_S)) - 1])


def _delivery(message: Message, now: datetime) -> Episode:
    limit = Limit(FAILING_TRIES, "critical")
    return Episode(
        store_house_id=message.store_house_id,
        key=None,
        kind=plan.DELIVERY,
        since=now.timestamp(),
        limits=(limit,),
        level=0,
        value=float(message.tries),
        peak=float(message.tries),
        raised=now.timestamp(),
    )
