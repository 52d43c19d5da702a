"""The Socket.IO server: who comes in, one handler per event, one place where errors become answers."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec
import socketio

import logger
import transport
from ask import Ask
from ask.answers import (
    Alarm,
    AskError,
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
from errors import BadRequest, NotFound, RateLimited, StorewatchError, Unavailable, UnknownEvent
from live.directory import Directory
from live.journal import Journal
from live.newest import Newest
from live.overview import Overview
from live.people import People
from live.previews import Previews
from live.screens import Screens, alarms, room
from settings import Settings

log = logging.getLogger("server")

PING_INTERVAL_S = 10
PING_TIMEOUT_S = 5
IN_FLIGHT = 8
"""Events of one connection that may wait for their answers at once."""


@dataclass(frozen=True)
class Event:
    """An event that a browser may send: the question its payload must be, its answer, and who answers."""

    question: type[Any]
    answer: Any
    handler: Callable[..., Awaitable[Any]]
    bare: str | None = None
    """The key that a payload which is no object stands for."""
    emitted_as: str | None = None
    """The name its answer is emitted under, where that is not the event's own."""


@dataclass(slots=True)
class Connection:
    """What this server keeps of one connection."""

    allowance: float
    at: float
    in_flight: int = 0
    # Two registers of one connection must not overtake each other: the last one asked is the one watched.
    turn: asyncio.Lock | None = None


class Browsers(socketio.AsyncNamespace):  # type: ignore[misc]
    """All that browsers can do. `clients` is `globals.clients`."""

    def __init__(
        self,
        settings: Settings,
        ask: Ask,
        newest: Newest,
        screens: Screens,
        directory: Directory,
        journal: Journal,
        people: People,
        previews: Previews,
        overview: Overview,
        clients: MutableMapping[str, Id | None],
    ) -> None:
        super().__init__("/")
        self.connects = 0
        """Connections let in."""
        self.disconnects: Counter[str] = Counter()
        """Connections that ended, by the library's word for why."""
        self.refusals: Counter[str] = Counter()
        """Questions refused, by code."""
        self._settings = settings
        self._ask = ask
        self._newest = newest
        self._screens = screens
        self._directory = directory
        self._journal = journal
        self._people = people
        self._previews = previews
        self._overview = overview
        self._clients = clients
        self._connections: dict[str, Connection] = {}

    async def on_connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        """Let a browser in."""
        self._connections[sid] = Connection(self._settings.rate_burst, time.monotonic())
        self._clients[sid] = None
        await self.enter_room(sid, room(sid))
        self.connects += 1
        log.debug("connected from %s", transport.remote_address(environ))
        transport.forget_handshake(environ)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        """Forget a browser."""
        self._clients.pop(sid, None)
        self._connections.pop(sid, None)
        self._overview.leave(sid)
        self.disconnects[reason] += 1
        log.debug("disconnected: %s", reason)

    async def orgs(self, _sid: str, _question: Nothing) -> list[Organisation]:
        """List the organisations."""
        return await self._ask.organisations()

    async def storehouses(self, _sid: str, question: Storehouses) -> list[Storehouse]:
        """List an organisation's storehouses."""
        return await self._ask.storehouses(question.org_id)

    async def register(self, sid: str, question: Register) -> Envs:
        """Watch a storehouse, and leave the one watched before."""
        cursor = question.cursor
        async with self._turn(sid):
            store_house_id = await self._find(question.store_house_id)
            reached = [] if cursor is None else await self._journal.reach(store_house_id, cursor)
            if self._newest.storehouse(store_house_id) is None:
                # It vanished while we asked; who watched it by now would never be told.
                raise NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id")
            if sid in self._clients:
                self._clients[sid] = store_house_id
        # From the watching on, nothing may be awaited before the answer is on its way: a push in between would come
        # first, and the older picture after it.
        if cursor is not None and reached is not None:
            missed = self._journal.complete(reached, store_house_id, cursor)
            if missed:
                await self._tell(sid, "alarms", alarms(store_house_id, missed))
        return self._screens.envs(store_house_id, reset=reached is None)

    async def unregister(self, sid: str, _question: Nothing) -> None:
        """Stop watching."""
        async with self._turn(sid):
            if sid in self._clients:
                self._clients[sid] = None

    async def query_alarms(self, _sid: str, question: QueryAlarms) -> list[Alarm]:
        """List a storehouse's alarms."""
        return await self._ask.alarms(question)

    async def query_envs(self, _sid: str, question: QueryEnvs) -> History:
        """Tell the history of a storehouse's sensors."""
        return await self._ask.history(question)

    async def overview(self, sid: str, _question: Nothing) -> OverviewAnswer:
        """Watch all storehouses at a glance."""
        async with self._turn(sid):
            await self._overview.learn()
            if sid in self._clients:
                self._overview.watch(sid)
        # As with `register`, nothing may be awaited from the watching on.
        return self._overview.answer()

    async def leave_overview(self, sid: str, _question: Nothing) -> None:
        """Stop watching all storehouses."""
        async with self._turn(sid):
            self._overview.leave(sid)

    async def ack_alarm(self, _sid: str, question: AckAlarm) -> Alarm:
        """Acknowledge an alarm of ours."""
        return await self._people.acknowledge(question)

    async def close_alarm(self, _sid: str, question: CloseAlarm) -> Alarm:
        """Clear an alarm of ours by hand."""
        return await self._people.close(question)

    async def query_sensors(self, _sid: str, question: QuerySensors) -> list[SensorAnswer]:
        """List a storehouse's sensors."""
        return await self._people.sensors(question.store_house_id)

    async def query_rules(self, _sid: str, question: QueryRules) -> Rules:
        """Tell the rules of our alarms."""
        return await self._people.rules(question.store_house_id)

    async def save_rules(self, _sid: str, question: SaveRules) -> Rules:
        """Change the rules of our alarms."""
        return await self._people.save_rules(question)

    async def save_maintenance(self, _sid: str, question: SaveMaintenance) -> Maintenance:
        """Take note of when nobody is to be disturbed."""
        return await self._people.save_maintenance(question)

    async def preview_alarms(self, _sid: str, question: PreviewAlarms) -> Preview:
        """Tell which alarms other rules would have raised."""
        return await self._previews.preview(question)

    async def _tell(self, sid: str, event: str, data: Any) -> None:
        # A tuple, or null would be emitted as no argument at all. The connection is ours: no other process need know.
        await self.emit(event, (data,), to=sid, ignore_queue=True)

    def _turn(self, sid: str) -> asyncio.Lock:
        connection = self._connections.get(sid)
        if connection is None:
            return asyncio.Lock()
        connection.turn = connection.turn or asyncio.Lock()
        return connection.turn

    async def _find(self, store_house_id: Id) -> Id:
        """Return the id as its column has it; raises `NotFound`."""
        try:
            found = (await self._ask.storehouse(store_house_id)).store_house_id
        except Unavailable:
            known = self._newest.storehouse(store_house_id)
            if known is None:
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

    async def _answer(self, event: str, sid: str, payload: list[Any]) -> dict[str, Any]:
        """Answer an event, and return its acknowledgement: here errors become answers."""
        try:
            with _Admission(self._connections.get(sid), self._settings):
                spec = EVENTS.get(event)
                if spec is None:
                    raise UnknownEvent(f"there is no event {event[:80]!r}")
                data = await spec.handler(self, sid, decode(spec, payload))
                await self._tell(sid, spec.emitted_as or event, data)
        except Exception as error:
            refusal = refuse(error, event)
            self.refusals[refusal.code] += 1
            told = AskError(event, refusal.code, refusal.message, refusal.field)
            await self._tell(sid, "ask_error", told)
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
    "ackAlarm": Event(AckAlarm, Alarm, Browsers.ack_alarm),
    "closeAlarm": Event(CloseAlarm, Alarm, Browsers.close_alarm),
    "querySensors": Event(QuerySensors, list[SensorAnswer], Browsers.query_sensors, bare="store_house_id"),
    "queryRules": Event(QueryRules, Rules, Browsers.query_rules),
    "saveRules": Event(SaveRules, Rules, Browsers.save_rules),
    "saveMaintenance": Event(SaveMaintenance, Maintenance, Browsers.save_maintenance),
    "previewAlarms": Event(PreviewAlarms, Preview, Browsers.preview_alarms),
    "queryEnvs": Event(QueryEnvs, History, Browsers.query_envs),
    "overview": Event(Nothing, OverviewAnswer, Browsers.overview),
    "leaveOverview": Event(Nothing, None, Browsers.leave_overview),
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


class _Admission:
    """Bounds what one connection may ask: events a second, and events at once. Raises `RateLimited`."""

    def __init__(self, connection: Connection | None, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def __enter__(self) -> None:
        connection = self._connection
        if connection is None:
            return
        now = time.monotonic()
        earned = (now - connection.at) * self._settings.rate_limit
        connection.allowance = min(connection.allowance + earned, self._settings.rate_burst)
        connection.at = now
        if connection.allowance < 1 or connection.in_flight >= IN_FLIGHT:
            raise RateLimited(f"more than {self._settings.rate_limit:g} events a second, or {IN_FLIGHT} at once")
        connection.allowance -= 1
        connection.in_flight += 1

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
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
    )
