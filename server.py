"""The Socket.IO server: who comes in, one handler per event, one place where errors become answers."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import socketio

import logger
import transport
from access.access_denied import AccessDenied
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.caller import Caller
from access.user import Role
from alarm_service.actions import AlarmActions
from alarm_service.journal_follower import JournalFollower
from alarm_service.preview_pool import Previews
from ask import Ask
from ask.answers import (
    Alarm,
    AskError,
    Ended,
    Envs,
    History,
    Id,
    Maintenance,
    Organisation,
    Preview,
    Refusal,
    Rules,
    SensorAnswer,
    Storehouse,
    Who,
)
from ask.answers import Overview as OverviewAnswer
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
from ask.visibility import Visibility
from errors import BadRequest, Forbidden, NotFound, RateLimited, StorewatchError, Unavailable, UnknownEvent
from live.directory import Directory
from live.newest import Newest
from live.overview_feed import Overview
from live.storehouse_feed import StorehouseFeed, alarms, room
from record.audit import Entry
from settings import Settings
from transport.rate_limit import RateLimit, TokenBucket

log = logging.getLogger("server")

PING_INTERVAL_S = 10
PING_TIMEOUT_S = 5
IN_FLIGHT = 8
"""Events of one connection that may wait for their answers at once."""
PACKETS, SPARE = 4, 50
"""So many times as many packets may come as events, and so many more: attachments, pongs and handshakes are packets."""


@dataclass(frozen=True)
class Event:
    """An event that a browser may send: the question its payload must be, its answer, and who answers."""

    question: type[Any]
    answer: Any
    handler: Callable[..., Awaitable[Any]]
    needs: Role = "watch"
    """The role that may ask it."""
    bare: str | None = None
    """The key that a payload which is no object stands for."""
    emitted_as: str | None = None
    """The name its answer is emitted under, where that is not the event's own."""


@dataclass(slots=True)
class Connection:
    """What this server keeps of one connection."""

    token_bucket: TokenBucket
    in_flight: int = 0
    # Two registers of one connection must not overtake each other: the last one asked is the one watched.
    turn: asyncio.Lock | None = None


class Browsers(socketio.AsyncNamespace):  # type: ignore[misc]
    """All that browsers can do. `clients` is `globals.clients`, `askers` is who is connected, by sid."""

    def __init__(
        self,
        settings: Settings,
        ask: Ask,
        newest: Newest,
        storehouse_feed: StorehouseFeed,
        directory: Directory,
        journal: JournalFollower,
        alarm_actions: AlarmActions,
        previews: Previews,
        overview: Overview,
        clients: MutableMapping[str, Id | None],
        authenticator: Authenticator,
        callers: MutableMapping[str, Caller],
        audit: AuditWriter,
    ) -> None:
        super().__init__("/")
        self.connects = 0
        """Connections let in."""
        self.disconnects: Counter[str] = Counter()
        """Connections that ended, by the library's word for why."""
        self.refusals: Counter[str] = Counter()
        """Questions refused, by code."""
        self.floods = 0
        """Connections closed because they went on asking too much."""
        self._settings = settings
        self._rate_limit = RateLimit(settings.rate_limit, settings.rate_burst)
        self._ask = ask
        self._newest = newest
        self._storehouse_feed = storehouse_feed
        self._directory = directory
        self._journal = journal
        self._alarm_actions = alarm_actions
        self._previews = previews
        self._overview = overview
        self._clients = clients
        self._authenticator = authenticator
        self._callers = callers
        self._audit = audit
        self._connections: dict[str, Connection] = {}

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """Let a browser in, or tell it why not."""
        address = transport.remote_address(environ)
        try:
            user = await self._authenticator.admit(environ, auth)
        except AccessDenied as refused:
            self._audit.count(Entry("connect_refused", "", address, refused.code))
            told = {"code": refused.code, "message": refused.message}
            raise socketio.exceptions.ConnectionRefusedError(refused.message, told) from None
        finally:
            transport.forget_handshake(environ)
        self._connections[sid] = Connection(TokenBucket(self._rate_limit, time.monotonic()))
        self._callers[sid] = Caller(sid, user, address)
        self._clients[sid] = None
        await self.enter_room(sid, room(sid))
        self.connects += 1
        log.debug("connected from %s", address)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        """Forget a browser."""
        self._forget(sid)
        self.disconnects[reason] += 1
        log.debug("disconnected: %s", reason)

    async def orgs(self, caller: Caller, _question: Nothing) -> list[Organisation]:
        """List the organisations."""
        return await self._ask.organisations(caller.user.visibility)

    async def storehouses(self, caller: Caller, question: Storehouses) -> list[Storehouse]:
        """List an organisation's storehouses."""
        return await self._ask.storehouses(question.org_id, caller.user.visibility)

    async def register(self, caller: Caller, question: Register) -> Envs:
        """Watch a storehouse, and leave the one watched before."""
        sid, cursor = caller.sid, question.cursor
        async with self._turn(sid):
            store_house_id = await self._find(question.store_house_id, caller.user.visibility)
            reached = [] if cursor is None else await self._journal.reach(store_house_id, cursor)
            known = self._newest.storehouse(store_house_id)
            if known is None or not caller.user.visibility.storehouse(known):
                # It vanished, for all or for this one, while we asked; who watched it by now would never be told.
                raise NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id")
            self._stays(caller)
            if sid in self._clients:
                self._clients[sid] = store_house_id
        # From the watching on, nothing may be awaited before the answer is on its way: a push in between would come
        # first, and the older picture after it.
        if cursor is not None and reached is not None:
            missed = self._journal.complete(reached, store_house_id, cursor)
            if missed:
                await self._tell(sid, "alarms", alarms(store_house_id, missed))
        return self._storehouse_feed.envs(store_house_id, reset=reached is None)

    async def unregister(self, caller: Caller, _question: Nothing) -> None:
        """Stop watching."""
        async with self._turn(caller.sid):
            if caller.sid in self._clients:
                self._clients[caller.sid] = None

    async def query_alarms(self, caller: Caller, question: QueryAlarms) -> list[Alarm]:
        """List a storehouse's alarms."""
        return await self._ask.alarms(question, caller.user.visibility)

    async def query_envs(self, caller: Caller, question: QueryEnvs) -> History:
        """Tell the history of a storehouse's sensors."""
        return await self._ask.history(question, caller.user.visibility)

    async def overview(self, caller: Caller, _question: Nothing) -> OverviewAnswer:
        """Watch all storehouses at a glance."""
        async with self._turn(caller.sid):
            await self._overview.learn()
            with suppress(Unavailable):  # then the last that is known is told
                await self._directory.own()
            self._stays(caller)
            if caller.sid in self._clients:
                self._overview.watch(caller.sid, caller.user.visibility)
        # As with `register`, nothing may be awaited from the watching on.
        return self._overview.answer(caller.user.visibility)

    async def leave_overview(self, caller: Caller, _question: Nothing) -> None:
        """Stop watching all storehouses."""
        async with self._turn(caller.sid):
            self._overview.leave(caller.sid)

    async def whoami(self, caller: Caller, _question: Nothing) -> Who:
        """Say who asks."""
        return Who(caller.user.name, caller.user.role, caller.user.expires)

    async def alive(self, _asker: Caller, _question: Nothing) -> None:
        """Say that we are there, to a browser that has heard nothing for a while."""

    async def ack_alarm(self, caller: Caller, question: AckAlarm) -> Alarm:
        """Acknowledge an alarm of ours."""
        return await self._alarm_actions.acknowledge(question, caller)

    async def close_alarm(self, caller: Caller, question: CloseAlarm) -> Alarm:
        """Clear an alarm of ours by hand."""
        return await self._alarm_actions.close(question, caller)

    async def query_sensors(self, caller: Caller, question: QuerySensors) -> list[SensorAnswer]:
        """List a storehouse's sensors."""
        return await self._alarm_actions.sensors(question.store_house_id, caller.user.visibility, question.since)

    async def query_rules(self, caller: Caller, question: QueryRules) -> Rules:
        """Tell the rules of our alarms."""
        return await self._alarm_actions.rules(question.store_house_id, caller.user.visibility)

    async def save_rules(self, caller: Caller, question: SaveRules) -> Rules:
        """Change the rules of our alarms."""
        return await self._alarm_actions.save_rules(question, caller)

    async def save_maintenance(self, caller: Caller, question: SaveMaintenance) -> Maintenance:
        """Take note of when nobody is to be disturbed."""
        return await self._alarm_actions.save_maintenance(question, caller)

    async def preview_alarms(self, caller: Caller, question: PreviewAlarms) -> Preview:
        """Tell which alarms other rules would have raised."""
        return await self._previews.preview(question, caller.user.visibility)

    async def review(self, caller: Caller) -> None:
        """Take in that somebody may do, or see, something else from now on."""
        self._callers[caller.sid] = caller
        await self._tell(caller.sid, "whoami", await self.whoami(caller, Nothing()))
        await self._storehouse_feed.review(caller.sid)
        await self._overview.review(caller.sid, caller.user.visibility)

    async def end(self, caller: Caller, refused: StorewatchError) -> None:
        """Send somebody away who may not stay, and say why."""
        self._forget(caller.sid)
        entry = Entry("ended", caller.user.name, caller.address, refused.code)
        if isinstance(refused, Flooding):
            self._audit.count(entry, known=True)
        else:
            self._audit.note(entry)
        await self._tell(caller.sid, "ended", Ended(refused.code, refused.message))
        await self.disconnect(caller.sid)

    async def _tell(self, sid: str, event: str, data: Any) -> None:
        # A tuple, or null would be emitted as no argument at all. The connection is ours: no other process need know.
        await self.emit(event, (data,), to=sid, ignore_queue=True)

    def _forget(self, sid: str) -> None:
        self._clients.pop(sid, None)
        self._connections.pop(sid, None)
        self._callers.pop(sid, None)
        self._overview.leave(sid)

    def _stays(self, caller: Caller) -> None:
        if self._callers.get(caller.sid) is not caller:
            raise Unavailable("what you may do or see has changed meanwhile; ask again")

    def _turn(self, sid: str) -> asyncio.Lock:
        connection = self._connections.get(sid)
        if connection is None:
            return asyncio.Lock()
        connection.turn = connection.turn or asyncio.Lock()
        return connection.turn

    async def _find(self, store_house_id: Id, visibility: Visibility) -> Id:
        """Return the id as its column has it; raises `NotFound`."""
        try:
            found = (await self._ask.storehouse(store_house_id, visibility)).store_house_id
            await self._directory.own()
        except Unavailable:
            known = self._newest.storehouse(store_house_id)
            if known is None or not visibility.storehouse(known):
                raise
            # The last that is known, marked stale, is more use in front of a cold store than an error.
            return known.store_house_id
        if self._newest.storehouse(found) is None:
            await self._directory.refresh()
        return found

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Take every event, whatever its name: the one way in."""
        sid, *payload = args
        with logger.connection(sid):
            if not isinstance(event, transport.EventName):
                return await super().trigger_event(event, *args)
            return await self._answer(str(event), sid, payload)

    async def _answer(self, event: str, sid: str, payload: list[Any]) -> Any:
        """Answer an event, and return its acknowledgement: here errors become answers.

        Who has left, or was sent away, is told nothing more.
        """
        caller = self._callers.get(sid)
        if caller is None:
            return self.server.not_handled
        try:
            with _Admission(self._connections[sid], self._settings):
                spec = EVENTS.get(event)
                if spec is None:
                    raise UnknownEvent(f"there is no event {event[:80]!r}")
                if not caller.user.may(spec.needs):
                    raise Forbidden(f"this is for the role {spec.needs}; yours is {caller.user.role}")
                data = await spec.handler(self, caller, decode(spec, payload))
                self._stays(caller)
                await self._tell(sid, spec.emitted_as or event, data)
        except Exception as error:
            refusal = refuse(error, event)
            if sid not in self._callers:
                return self.server.not_handled
            self.refusals[refusal.code] += 1
            if isinstance(error, Forbidden) and caller.user.name:
                self._audit.count(Entry("refused", caller.user.name, caller.address, event), known=True)
            told = AskError(event, refusal.code, refusal.message, refusal.field)
            await self._tell(sid, "ask_error", told)
            if isinstance(error, Flooding):
                self.floods += 1
                await self.end(caller, error)
                return self.server.not_handled
            return {"ok": False, "error": refusal}
        return {"ok": True, "data": data}


EVENTS: dict[str, Event] = {
    "orgs": Event(Nothing, list[Organisation], Browsers.orgs),
    "org": Event(Nothing, list[Organisation], Browsers.orgs),
    "storehouses": Event(Storehouses, list[Storehouse], Browsers.storehouses, bare="org_id"),
    "storehouse": Event(Storehouses, list[Storehouse], Browsers.storehouses, bare="org_id"),
    "register": Event(Register, Envs, Browsers.register, emitted_as="envs"),
    "unregister": Event(Nothing, None, Browsers.unregister),
    "queryAlarms": Event(QueryAlarms, list[Alarm], Browsers.query_alarms),
    "ackAlarm": Event(AckAlarm, Alarm, Browsers.ack_alarm, needs="operate"),
    "closeAlarm": Event(CloseAlarm, Alarm, Browsers.close_alarm, needs="operate"),
    "querySensors": Event(QuerySensors, list[SensorAnswer], Browsers.query_sensors, bare="store_house_id"),
    "queryRules": Event(QueryRules, Rules, Browsers.query_rules),
    "saveRules": Event(SaveRules, Rules, Browsers.save_rules, needs="configure"),
    "saveMaintenance": Event(SaveMaintenance, Maintenance, Browsers.save_maintenance, needs="operate"),
    "previewAlarms": Event(PreviewAlarms, Preview, Browsers.preview_alarms, needs="configure"),
    "queryEnvs": Event(QueryEnvs, History, Browsers.query_envs),
    "overview": Event(Nothing, OverviewAnswer, Browsers.overview),
    "leaveOverview": Event(Nothing, None, Browsers.leave_overview),
    "whoami": Event(Nothing, Who, Browsers.whoami),
    "alive": Event(Nothing, None, Browsers.alive),
}


def decode(event: Event, payload: list[Any]) -> Any:
    """Return the typed question that `payload`, the arguments of an event, holds; raises `BadRequest`."""
    if event.question is Nothing:
        return Nothing()
    value = payload[0] if payload else None
    if value is transport.UNREADABLE:
        raise BadRequest("the payload cannot be read: it is nested too deeply, or holds a number or text that is none")
    if event.bare and isinstance(value, (int, str)) and not isinstance(value, bool):
        value = {event.bare: value}
    if value is None and not any(field.required for field in msgspec.structs.fields(event.question)):
        value = {}
    if not isinstance(value, dict):
        needed = ", ".join(field.name for field in msgspec.structs.fields(event.question) if field.required)
        raise BadRequest(f"the payload must be an object with {needed}", needed.split(", ")[0])
    try:
        return msgspec.convert(value, event.question)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        name = place.strip("`.") or (message.split("`")[1] if "`" in message else None)
        raise BadRequest(message, name) from None


def refuse(error: Exception, event: str) -> Refusal:
    """Return what the asker is told of `error`; what is not foreseen is a defect, logged and not shown."""
    if isinstance(error, StorewatchError):
        return Refusal(error.code, error.message, error.field)
    log.error("%s failed", event[:80], exc_info=error)
    return Refusal("internal", "this is a defect of the server; its log says more")


class Flooding(RateLimited):
    """Too many events, and it goes on after it was told so."""


class _Admission:
    """Bounds what one connection may ask: events a second, and events at once. Raises `RateLimited`."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def __enter__(self) -> None:
        connection = self._connection
        left = connection.token_bucket.take(time.monotonic())
        if left < -self._settings.rate_burst:
            raise Flooding("too many events, and no pause: this connection is closed")
        if left < 0 or connection.in_flight >= IN_FLIGHT:
            raise RateLimited(f"more than {self._settings.rate_limit:g} events a second, or {IN_FLIGHT} at once")
        connection.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self._connection.in_flight -= 1


def socket_server(settings: Settings, manager: socketio.AsyncManager) -> socketio.AsyncServer:
    """Return the Socket.IO server over this client manager, without its namespace."""
    return transport.AsyncServer(
        async_mode="tornado",
        client_manager=manager,
        serializer=transport.TextPacket,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_http_buffer_size=settings.max_payload,
        cors_allowed_origins=settings.allowed_origins or None,
        rate_limit=RateLimit(SPARE + PACKETS * settings.rate_limit, SPARE + PACKETS * settings.rate_burst),
    )
