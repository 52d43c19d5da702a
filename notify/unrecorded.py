"""Keeps the notices about new, worsened and reopened alarms in memory while the database cannot be written.

A notice is a notification about one alarm to one target (a recipient). When the database can be written again, the
alarms and notices are written to it. The rows of the notices then say which of them were already sent.

The module uses no clock and no database. `UnrecordedNotices.attempts` may run in another thread. All other functions
run in the event loop.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alarms.model import RAISED, REOPENED, WORSENED
from alarms.notices import Case, EscalationPolicy, Notice, NoticeContent, change_notices
from ask.answers import Alarm, Id
from record.notices import Attempt, Item, Message

NEW_BREACHES = (RAISED, WORSENED, REOPENED)
"""The transitions of an alarm about which targets are notified while the database cannot be written."""
IN_FLIGHT = timedelta(minutes=1)
"""Time after the start of an attempt at which a process that does not know its result tries again.

It is longer than the time-out of an attempt.
"""

StepKey = tuple[Any, ...]


@dataclass(eq=False)
class UnrecordedMessage:
    """A message with notices that are not in the database yet, and the attempts to send it."""

    message_id: int
    target: str
    store_house_id: Id
    since: datetime
    due: datetime
    items: list[Item] = field(default_factory=list)
    tries: int = 0
    sent: datetime | None = None
    written_sent: datetime | None = None
    """The value of `sent` that was last written to the database."""
    is_recorded: bool = False
    """Whether the database contains a notice of this message. The database then decides about further attempts."""

    def attempt(self) -> Attempt:
        """Return what the database must know of the message. The caller writes it to the database."""
        self.written_sent = self.sent
        return Attempt(self.message_id, self.tries, self.since, self.due, self.sent)


Step = dict[str, UnrecordedMessage]
"""The messages about one transition of an alarm, by the name of the target."""


class UnrecordedNotices:
    """The notices about alarms that are not in the database yet.

    `wait` is the time for which a message waits for further notices. `interval` is the minimum time between two
    messages about the same storehouse to the same target.
    """

    def __init__(self, policy: EscalationPolicy, wait: timedelta, interval: timedelta) -> None:
        self._policy = policy
        self._wait = wait
        self._interval = interval
        self._last_id = 0
        self.clear()

    def clear(self) -> None:
        """Forget all notices. The database contains them, or another process evaluates the alarm rules."""
        self._steps: dict[StepKey, list[Step]] = defaultdict(list)
        """The messages about each unrecorded transition of an alarm, by target. Equal transitions are in order."""
        self._ends: dict[Id, Step] = {}
        """The messages about the last unrecorded end of each alarm that has not been reopened since."""
        self._messages: dict[int, UnrecordedMessage] = {}
        self._last_notices: dict[Id, dict[str, NoticeContent]] = defaultdict(dict)
        self._last_sent: dict[tuple[str, Id], datetime] = {}

    def add(self, alarms: Sequence[Alarm], now: datetime) -> None:
        """Add the notices about these alarms. Each element is an alarm after one transition, in order."""
        for alarm in alarms:
            last = self._last_notices[alarm.alarm_id]
            notices = change_notices([Case(alarm, last)], self._policy, now)
            last |= {notice.target: notice.content for notice in notices}
            step: Step = {}
            self._steps[_step_key(alarm)].append(step)
            if not alarm.is_open:
                self._ends[alarm.alarm_id] = step
            elif alarm.transition in NEW_BREACHES:
                end = self._ends.pop(alarm.alarm_id, None)
                for notice in notices:
                    step[notice.target] = self._put(notice, end, now)

    def start_messages(self, free: Collection[str], now: datetime) -> list[Message]:
        """Return at most one due message for each target in `free`, and count the attempt to send it."""
        started: dict[str, Message] = {}
        for message in self._messages.values():
            if message.target in free and message.target not in started and self._is_due(message, now):
                message.tries += 1
                message.due = now + IN_FLIGHT
                items = tuple(message.items)
                started[message.target] = Message(
                    message.message_id, message.target, message.store_house_id, items, message.tries, unrecorded=True
                )
        return list(started.values())

    def finish(self, message: Message, arrived: bool, now: datetime, retry: datetime) -> bool:
        """Keep the result of an attempt. Return whether the result must also be written to the database."""
        kept = self._messages.get(message.message_id)
        if kept is None:
            return True
        if arrived:
            kept.sent = now
            self._last_sent[message.target, message.store_house_id] = now
        else:
            kept.due = retry
        return kept.is_recorded

    def attempts(self, alarms: Sequence[Alarm]) -> list[Mapping[str, Attempt]]:
        """Return the attempts to send the notices about each alarm, by target. May run in any thread."""
        return [
            # Copy the items, because the event loop may change the dict meanwhile.
            {target: message.attempt() for target, message in list(messages.items())}
            for messages in self._messages_of(alarms)
        ]

    def settle(self, alarms: Sequence[Alarm]) -> list[Message]:
        """Mark the notices about these alarms as recorded.

        Return the messages that arrived after `attempts` was called. The caller must write this to the database.
        """
        touched = {message.message_id: message for of_step in self._messages_of(alarms) for message in of_step.values()}
        for alarm in alarms:
            if steps := self._steps.get(_step_key(alarm)):
                steps.pop(0)
        for message in touched.values():
            message.is_recorded = True
        return [
            Message(message.message_id, message.target, message.store_house_id, (), message.tries)
            for message in touched.values()
            if message.sent != message.written_sent
        ]

    def _messages_of(self, alarms: Iterable[Alarm]) -> list[Step]:
        messages: list[Step] = []
        counts: Counter[StepKey] = Counter()
        for alarm in alarms:
            key = _step_key(alarm)
            steps = self._steps.get(key, ())
            messages.append(steps[counts[key]] if counts[key] < len(steps) else {})
            counts[key] += 1
        return messages

    def _put(self, notice: Notice, end: Step | None, now: datetime) -> UnrecordedMessage:
        """Add the notice to the next message about its storehouse to its target. Return the message.

        If the alarm was reopened, `end` contains the messages about its last end. The message about the reopening also
        counts as a message about this end. Otherwise the target would hear of the end later, from the database, and
        assume that the alarm is over.
        """
        target, alarm, content = notice
        # A target that was notified earlier gets a notice of another type, as the database decides later. Here, the
        # transition itself is the best description.
        what = WORSENED if alarm.transition == WORSENED else content.what
        message = next(
            (
                message
                for message in reversed(self._messages.values())
                if (message.target, message.store_house_id) == (target, alarm.store_house_id)
            ),
            None,
        )
        if message is None or message.tries or message.is_recorded:
            self._last_id = min(self._last_id - 1, -round(now.timestamp() * 1000))
            message = UnrecordedMessage(self._last_id, target, alarm.store_house_id, now, now + self._wait)
            self._messages[message.message_id] = message
        if end is not None:
            end[target] = message
        message.items.append(Item(what, alarm))
        return message

    def _is_due(self, message: UnrecordedMessage, now: datetime) -> bool:
        if message.sent is not None or message.is_recorded or message.due > now:
            return False
        last = self._last_sent.get((message.target, message.store_house_id))
        return message.tries > 0 or last is None or last + self._interval <= now


def _step_key(alarm: Alarm) -> StepKey:
    """Return the properties of an alarm's transition that are the same before and after it is recorded."""
    of_alarm = alarm.store_house_id, alarm.sensor_id, alarm.metric, alarm.kind, alarm.since
    return *of_alarm, alarm.transition, alarm.severity, alarm.limit
