"""The Socket.IO namespace: authentication of connections, the table of events, and the answers to events.

This is the only module that turns errors into answers.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import socketio

import logger
import transport
from access import guard
from access.access_denied import AccessDenied
from access.admission import Admission, Flooding
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.caller import Caller
from access.connection import Connection, Connections, Request
from access.guard import AnswerGuard, Guarded
from access.lane import Lane
from access.user import Role
from alarm_service.actions import AlarmActions
from alarm_service.journal_follower import JournalFollower
from alarm_service.preview_pool import PreviewPool
from alarm_service.rule_actions import RuleActions
from ask import Ask
from ask.answers import (
    Alarm,
    AskError,
    AskWaiting,
    Ended,
    Envs,
    History,
    Maintenance,
    Organisation,
    Overview,
    Preview,
    Refusal,
    Rules,
    SensorAnswer,
    Storehouse,
    Who,
)
from ask.questions import (
    AckAlarm,
    CloseAlarm,
    Nothing,
    PreviewAlarms,
    QueryAlarms,
    QueryEnvs,
    QueryRules,
    QuerySensors,
    Register,
    SaveMaintenance,
    SaveRules,
    Storehouses,
)
from errors import BadRequest, Conflict, Forbidden, StorewatchError, Unavailable, UnknownEvent
from globals import Clients
from live.directory import Directory
from live.newest import Newest
from live.overview_feed import OverviewFeed
from live.storehouse_feed import StorehouseFeed, alarms_message, room
from record.audit import Entry
from settings import Settings
from transport.rate_limit import RateLimit, TokenBucket

log = logging.getLogger(__name__)

PING_INTERVAL_S = 10
PING_TIMEOUT_S = 5
PACKETS_PER_EVENT, SPARE_PACKETS = 4, 50
"""Packet limit: 4 x the event limit, plus 50. Attachments, pongs and handshakes are packets too."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that event handlers need. `app.serve` builds them. `clients` is `globals.clients`."""

    settings: Settings
    authenticator: Authenticator
    connections: Connections
    guard: AnswerGuard
    audit: AuditWriter
    clients: Clients
    ask: Ask
    newest: Newest
    directory: Directory
    storehouse_feed: StorehouseFeed
    overview_feed: OverviewFeed
    journal: JournalFollower
    alarm_actions: AlarmActions
    rule_actions: RuleActions
    previews: PreviewPool


Handler = Callable[[Services, Request], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """An event that a browser may send, with its handler, its checks, and the types of its payload and answer."""

    question: type[Any]
    answer: Any
    handler: Handler
    guarded: Guarded = guard.NOTHING_HIDDEN
    """The visibility checks that run before and after the handler."""
    check: Callable[[Services, Request], object] | None = None
    """Function that checks the question before any database query, and raises an error if the question is invalid."""
    needs: Role = "watch"
    """Lowest role that may send the event."""
    bare: str | None = None
    """A client may send the value of this key alone (a number or a string) instead of an object with this key."""
    emitted_as: str | None = None
    """Name of the event that carries the answer, if it is not the name of this event."""
    is_long: bool = False
    """Whether the handler may run for seconds. It then waits for a place in the lane (`access.lane`)."""


async def register(services: Services, request: Request) -> Envs:
    """Make the connection watch another storehouse, and return the state of this storehouse."""
    caller, cursor = request.caller, request.question.cursor
    visibility = caller.user.visibility
    async with request.connection.turn:
        storehouse = await services.guard.watchable_storehouse(request.question.store_house_id, visibility)
        store_house_id = storehouse.store_house_id
        if services.newest.storehouse(store_house_id) is None:
            await services.directory.refresh()
        missed_before = [] if cursor is None else await services.journal.missed_before(store_house_id, cursor)
        services.guard.check_watchable(store_house_id, visibility)
        request.check_caller()
        if caller.sid in services.clients:
            services.clients[caller.sid] = store_house_id
    # The connection now watches the storehouse. Until the answer is sent, await nothing that suspends: otherwise a push
    # could overtake the answer, and the answer would replace the newer state of the push with an older one.
    if cursor is not None and missed_before is not None:
        missed = services.journal.missed_transitions(missed_before, store_house_id, cursor)
        if missed:
            await services.connections.send(caller.sid, "alarms", alarms_message(store_house_id, missed))
    return services.storehouse_feed.envs(store_house_id, reset=missed_before is None)


async def unregister(services: Services, request: Request) -> None:
    """Make the connection stop watching its storehouse."""
    async with request.connection.turn:
        if request.caller.sid in services.clients:
            services.clients[request.caller.sid] = None


async def watch_overview(services: Services, request: Request) -> Overview:
    """Make the connection watch the overview of all storehouses, and return the overview."""
    caller = request.caller
    async with request.connection.turn:
        await services.overview_feed.refresh_organisations()
        with suppress(Unavailable):  # without a database, show the last known state
            await services.guard.refresh()
        request.check_caller()
        if caller.sid in services.clients:
            services.overview_feed.watch(caller.sid, caller.user.visibility)
    # As in `register`, await nothing that suspends before the answer is sent.
    return services.overview_feed.answer(caller.user.visibility)


async def leave_overview(services: Services, request: Request) -> None:
    """Make the connection stop watching the overview."""
    async with request.connection.turn:
        services.overview_feed.leave(request.caller.sid)


async def whoami(_services: Services, request: Request) -> Who:
    """Return the caller's name and role, and the time when their session or token expires."""
    return who(request.caller)


async def alive(_services: Services, _request: Request) -> None:
    """Answer a browser that tests the connection, because the browser has received nothing for a while."""


def who(caller: Caller) -> Who:
    """Return the answer of `whoami` for a caller."""
    return Who(caller.user.name, caller.user.role, caller.user.expires)


# The handlers of events about a storehouse get it from the guard, as `request.storehouse`.
EVENTS: dict[str, Event] = {
    "orgs": Event(Nothing, list[Organisation], lambda s, _: s.ask.organisations(), guard.ORGANISATIONS),
    "org": Event(Nothing, list[Organisation], lambda s, _: s.ask.organisations(), guard.ORGANISATIONS),
    "storehouses": Event(
        Storehouses, list[Storehouse], lambda s, r: s.ask.storehouses(r.question), guard.STOREHOUSES, bare="org_id"
    ),
    "storehouse": Event(
        Storehouses, list[Storehouse], lambda s, r: s.ask.storehouses(r.question), guard.STOREHOUSES, bare="org_id"
    ),
    "register": Event(Register, Envs, register, emitted_as="envs"),
    "unregister": Event(Nothing, None, unregister),
    "queryAlarms": Event(
        QueryAlarms, list[Alarm], lambda s, r: s.ask.alarms(r.question, r.storehouse), guard.STOREHOUSE
    ),
    "ackAlarm": Event(AckAlarm, Alarm, lambda s, r: s.alarm_actions.acknowledge(r), guard.ALARM, needs="operate"),
    "closeAlarm": Event(CloseAlarm, Alarm, lambda s, r: s.alarm_actions.close(r), guard.ALARM, needs="operate"),
    "querySensors": Event(
        QuerySensors,
        list[SensorAnswer],
        lambda s, r: s.rule_actions.sensors(r),
        guard.STOREHOUSE,
        lambda s, r: s.rule_actions.check_sensors(r),
        bare="store_house_id",
    ),
    "queryRules": Event(QueryRules, Rules, lambda s, r: s.rule_actions.rules(r), guard.RULES),
    "saveRules": Event(SaveRules, Rules, lambda s, r: s.rule_actions.save_rules(r), guard.ALL_RULES, needs="configure"),
    "saveMaintenance": Event(
        SaveMaintenance,
        Maintenance,
        lambda s, r: s.alarm_actions.save_maintenance(r),
        guard.CHANGE_OF_STOREHOUSE,
        lambda s, r: s.alarm_actions.check_maintenance(r),
        needs="operate",
    ),
    "previewAlarms": Event(
        PreviewAlarms,
        Preview,
        lambda s, r: s.previews.preview(r),
        guard.STOREHOUSE,
        lambda s, r: s.previews.check(r),
        needs="configure",
        is_long=True,
    ),
    "queryEnvs": Event(
        QueryEnvs, History, lambda s, r: s.ask.history(r.question, r.storehouse), guard.STOREHOUSE, is_long=True
    ),
    "overview": Event(Nothing, Overview, watch_overview),
    "leaveOverview": Event(Nothing, None, leave_overview),
    "whoami": Event(Nothing, Who, whoami),
    "alive": Event(Nothing, None, alive),
}


class BrowserNamespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """Authenticates browsers, answers their events and counts connections and errors."""

    def __init__(self, services: Services) -> None:
        super().__init__("/")
        self.connects = 0
        """Number of accepted connections."""
        self.disconnects: Counter[str] = Counter()
        """Number of connections that ended, keyed by python-socketio's name of the reason."""
        self.refusals: Counter[str] = Counter()
        """Number of events that were answered with an error, keyed by error code."""
        self.floods = 0
        """Number of connections closed because they kept sending too many events."""
        self._services = services
        self._rate_limit = RateLimit(services.settings.rate_limit, services.settings.rate_burst)
        self._lane = Lane(self._tell_position)

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """Authenticate a browser and add its connection. If access is denied, reject the connection."""
        address = transport.remote_address(environ)
        try:
            user = await self._services.authenticator.authenticate_connection(environ, auth)
        except AccessDenied as denied:
            self._services.audit.enqueue_counted(Entry("connect_refused", "", address, denied.code))
            refusal = {"code": denied.code, "message": denied.message}
            raise socketio.exceptions.ConnectionRefusedError(denied.message, refusal) from None
        finally:
            transport.forget_handshake(environ)
        bucket = TokenBucket(self._rate_limit, time.monotonic())
        await self._services.connections.add(Connection(Caller(sid, user, address), bucket))
        await self.enter_room(sid, room(sid))
        self.connects += 1
        log.debug("connected from %s", address)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        """Remove a connection that has ended."""
        await self._forget(sid)
        self.disconnects[reason] += 1
        log.debug("disconnected: %s", reason)

    async def caller_changed(self, caller: Caller) -> None:
        """Apply a changed role or visibility to a live connection."""
        connection = await self._services.connections.get(caller.sid)
        if connection is None:
            return
        connection.caller = caller
        self._lane.drop(caller.sid)
        await self._services.connections.send(caller.sid, "whoami", who(caller))
        await self._services.storehouse_feed.caller_changed(caller.sid)
        await self._services.overview_feed.caller_changed(caller.sid, caller.user.visibility)

    async def end(self, caller: Caller, error: StorewatchError) -> None:
        """Send a client the reason why the server ends the connection, and disconnect the client."""
        await self._forget(caller.sid)
        entry = Entry("ended", caller.user.name, caller.address, error.code)
        if isinstance(error, Flooding):
            self._services.audit.enqueue_counted(entry, per_user=True)
        else:
            self._services.audit.enqueue(entry)
        await self._services.connections.send(caller.sid, "ended", Ended(error.code, error.message))
        await self.disconnect(caller.sid)

    async def _forget(self, sid: str) -> None:
        await self._services.connections.remove(sid)
        self._lane.drop(sid)
        self._services.overview_feed.leave(sid)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event of any name. python-socketio calls this method for every event."""
        sid, *payload = args
        with logger.connection(sid):
            if not isinstance(event, transport.EventName):
                return await super().trigger_event(event, *args)
            return await self._answer(str(event), sid, payload)

    async def _answer(self, event: str, sid: str, payload: list[Any]) -> Any:
        """Answer an event, and return the acknowledgement of the event. Errors become error answers.

        Send nothing to a connection that has ended or was disconnected by the server.
        """
        connection = await self._services.connections.get(sid)
        if connection is None:
            return self.server.not_handled
        caller = connection.caller
        try:
            with Admission(connection, self._services.settings):
                answer, emitted_as = await self._ask(event, connection, payload)
                await self._services.connections.send(sid, emitted_as, answer)
        except Exception as error:
            return await self._refuse(event, caller, error)
        return {"ok": True, "data": answer}

    async def _ask(self, event: str, connection: Connection, payload: list[Any]) -> tuple[Any, str]:
        """Return the answer to an event, and the name of the event that carries the answer."""
        caller = connection.caller
        row = EVENTS.get(event)
        if row is None:
            raise UnknownEvent(f"there is no event {event[:80]!r}")
        if not caller.user.may(row.needs):
            raise Forbidden(
                f"this needs the role {row.needs}; yours is {caller.user.role}",
                reason="role_required",
                role=caller.user.role,
            )
        request = Request(connection, caller, decode(row, payload))
        answer_guard, guarded = self._services.guard, row.guarded
        if row.check is not None:
            row.check(self._services, request)
        request = await guarded.admit(answer_guard, request)
        try:
            answer = await self._handle(event, row, request)
        except (BadRequest, Conflict):
            await guarded.recheck(answer_guard, request)  # the error may name data that was hidden meanwhile
            raise
        await guarded.recheck(answer_guard, request)
        answer = await guarded.release(answer_guard, request, answer)
        request.check_caller()
        return answer, row.emitted_as or event

    async def _handle(self, event: str, row: Event, request: Request) -> Any:
        """Call the handler of an event. If the event is long, wait for a place in the lane first."""
        if not row.is_long:
            return await row.handler(self._services, request)

        async def work() -> Any:
            await row.guarded.recheck(self._services.guard, request)  # it may have been hidden during the wait
            return await row.handler(self._services, request)

        return await self._lane.run(request.caller, event, work)

    async def _tell_position(self, sid: str, event: str, position: int) -> None:
        await self._services.connections.send(sid, "ask_waiting", AskWaiting(event, position))

    async def _refuse(self, event: str, caller: Caller, error: Exception) -> Any:
        """Send a client the error answer to an event, and return the acknowledgement of the event."""
        refusal = refuse(error, event)
        if await self._services.connections.get(caller.sid) is None:
            return self.server.not_handled
        self.refusals[refusal.code] += 1
        if isinstance(error, Forbidden) and caller.user.name:
            entry = Entry("refused", caller.user.name, caller.address, event)
            self._services.audit.enqueue_counted(entry, per_user=True)
        message = AskError(event, refusal.code, refusal.message, refusal.field, refusal.params)
        await self._services.connections.send(caller.sid, "ask_error", message)
        if isinstance(error, Flooding):
            self.floods += 1
            await self.end(caller, error)
            return self.server.not_handled
        return {"ok": False, "error": refusal}


def decode(event: Event, payload: list[Any]) -> Any:
    """Convert `payload`, the arguments of an event, to the question type of the event.

    Raise `BadRequest` if it is invalid.
    """
    if event.question is Nothing:
        return Nothing()
    value = payload[0] if payload else None
    if value is transport.UNREADABLE:
        raise BadRequest("the payload cannot be decoded: it is nested too deeply or has an invalid number or text")
    if event.bare and isinstance(value, (int, str)) and not isinstance(value, bool):
        value = {event.bare: value}
    required = [field.name for field in msgspec.structs.fields(event.question) if field.required]
    if value is None and not required:
        value = {}
    if not isinstance(value, dict):
        needed = ", ".join(required)
        raise BadRequest(f"the payload must be an object with the keys {needed}", needed.split(", ")[0])
    try:
        return msgspec.convert(value, event.question)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        name = path.strip("`.") or (message.split("`")[1] if "`" in message else None)
        is_missing = message.startswith("Object missing required field")
        raise BadRequest(message, name, reason="missing_field" if is_missing else "invalid_value") from None


def refuse(error: Exception, event: str) -> Refusal:
    """Convert an error to the error answer. Log an unexpected error, and do not show its details to the client."""
    if not isinstance(error, StorewatchError):
        log.error("%s failed", event[:80], exc_info=error)
        error = StorewatchError("the server failed to handle the event; its log has the traceback")
    return Refusal(error.code, error.message, error.field, error.params)


def socket_server(settings: Settings, manager: socketio.AsyncManager) -> socketio.AsyncServer:
    """Return a Socket.IO server that uses this client manager. The caller must register the namespace."""
    return transport.AsyncServer(
        async_mode="tornado",
        client_manager=manager,
        serializer=transport.TextPacket,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_http_buffer_size=settings.max_payload,
        cors_allowed_origins=settings.allowed_origins or None,
        rate_limit=RateLimit(
            SPARE_PACKETS + PACKETS_PER_EVENT * settings.rate_limit,
            SPARE_PACKETS + PACKETS_PER_EVENT * settings.rate_burst,
        ),
    )
