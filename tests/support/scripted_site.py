"""A server whose answers the test chooses, for states that are rare on a real site.

All answers conform to the protocol.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import socketio
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from dashboard import pages
from web.security_headers import SecurityHeaders

MARKUP = "<img src=x onerror=alert(1)>"
STOREHOUSE = "冷 1%"
PATH = "#/storehouse/%E5%86%B7%201%25"
NOW = "2026-01-31T16:30:05Z"


class ScriptedSite:
    """A server with one storehouse. The test sets the readings, sensors, curves and alarms of the storehouse.

    The server answers the events in `unknown_events` as unknown events. `errors` maps other events to the errors with
    which the server refuses these events.
    """

    def __init__(self, *unknown_events: str) -> None:
        self.url = ""
        self.name = MARKUP
        self.unknown_events = set(unknown_events)
        self.registered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.asked: list[tuple[str, Any]] = []
        self.envs = [env()]
        self.sensors: list[dict[str, Any]] = []
        self.alarms: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.bucket_s = 60
        self.organisations: list[dict[str, Any]] | None = None
        self.rules: list[dict[str, Any]] = []
        self.who: dict[str, Any] | None = None
        self.revision = 1
        self.errors: dict[str, dict[str, Any]] = {}
        self.maintenance: list[dict[str, Any]] = []
        self._websockets: list[Any] = []
        self._socket = socketio.AsyncServer(async_mode="tornado")
        self._socket.on("*", self._answer)

    @contextlib.contextmanager
    def serving(self) -> Iterator["ScriptedSite"]:
        """Serve on a free port during the block."""
        listener, port = bind_unused_port()
        rules: list[Any] = [(r"/socket.io/", self._handler()), *pages.routes()]
        server = HTTPServer(tornado.web.Application(rules, transforms=[SecurityHeaders]))
        server.add_socket(listener)
        self.url = f"http://127.0.0.1:{port}/"
        try:
            yield self
        finally:
            server.stop()

    @property
    def storehouse_url(self) -> str:
        """URL of the dashboard's page of the storehouse."""
        return self.url + PATH

    def asked_last(self, event: str) -> Any:
        """Return the payload of the last request that a browser sent with this event."""
        return next(data for name, data in reversed(self.asked) if name == event)

    async def push(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event to all browsers."""
        await self._socket.emit(event, payload)

    async def push_overview(self, *storehouses: dict[str, Any], stale: bool = False, unrecorded: bool = False) -> None:
        """Send all browsers an overview with these storehouses in one organisation."""
        await self.push("overview", overview(organisation(*storehouses), stale=stale, unrecorded=unrecorded))

    async def cut(self) -> None:
        """Close every connection, as a network failure does. Browsers reconnect by themselves."""
        for socket in list(self._socket.eio.sockets.values()):
            await socket.close(wait=False)
        for websocket in self._websockets:  # needed because socket.io-client may ignore that the session was closed
            websocket.close()

    def _handler(self) -> Any:
        base: Any = socketio.get_tornado_handler(self._socket)
        websockets = self._websockets

        class Handler(base):  # type: ignore[misc]
            async def open(self, *args: Any) -> None:
                websockets.append(self)
                await super().open(*args)

        return Handler

    async def _answer(self, event: str, sid: str, data: Any = None) -> dict[str, Any]:
        if event in self.unknown_events:
            return {"ok": False, "error": {"code": "unknown_event", "message": f"there is no event {event!r}"}}
        self.asked.append((event, data))
        if event in self.errors:
            return {"ok": False, "error": self.errors[event]}
        answer = self._ask(event, data)
        if isinstance(answer, AccessDenied):
            return {"ok": False, "error": answer.error}
        await self._socket.emit("envs" if event == "register" else event, answer, to=sid)
        return {"ok": True, "data": answer}

    def _ask(self, event: str, data: Any) -> Any:
        match event:
            case "whoami":
                return self.who
            case "overview":
                return overview(*(self.organisations or [organisation(storehouse(self.name), name=self.name)]))
            case "register":
                self.registered.put_nowait(data)
                return envs(*self.envs)
            case "querySensors":
                return self.sensors
            case "queryEnvs":
                return {**data, "bucket_s": self.bucket_s, "sensors": self.curves}
            case "queryAlarms":
                return self.alarms
            case "ackAlarm" | "closeAlarm":
                return self._act(event, data)
        return self._of_rules(event, data)

    def _of_rules(self, event: str, data: Any) -> Any:
        match event:
            case "queryRules":
                return self._book()
            case "saveRules" if data.get("revision") != self.revision:
                return AccessDenied("conflict", "there are others", "revision")
            case "saveRules":
                self.rules = data["rules"]
                self.revision += 1
                return self._book()
            case "previewAlarms":
                sensors = [{"proposed": {"count": count}, "in_force": {"count": 20}} for count in (1, 2)]
                return {"sensors": sensors} if "rules" in data else AccessDenied("bad_request", "rules is missing")
            case "saveMaintenance":
                others = [each for each in self.maintenance if each["maintenance_id"] != data.get("maintenance_id")]
                self.maintenance = [*others, {"sensor_id": None} | data | {"maintenance_id": 1 + len(self.asked)}]
                return self.maintenance[-1]
        return None

    def _book(self) -> dict[str, Any]:
        profiles: dict[str, Any] = {"frozen": {}, "chilled": {}}
        book = {"rules": self.rules, "maintenance": self.maintenance, "revision": self.revision}
        return book | {"defaults": {}, "profiles": profiles, "changes": []}

    def _act(self, event: str, data: dict[str, Any]) -> Any:
        if "alarm_id" not in data:
            return AccessDenied("bad_request", "alarm_id is missing")
        done = {"transition": "acknowledged", "acknowledged": True, "acknowledged_by": data["by"]}
        done |= {"acknowledged_at": NOW, "comment": data.get("comment", "")}
        if event == "closeAlarm":
            done = {"transition": "closed", "state": "cleared", "cleared": NOW, "closed_by": data["by"]}
            done |= {"reason": data["reason"]}
        self.alarms = [alarm | done if alarm["alarm_id"] == data["alarm_id"] else alarm for alarm in self.alarms]
        return next(alarm for alarm in self.alarms if alarm["alarm_id"] == data["alarm_id"])


class AccessDenied:
    """The code, message and field with which the server refuses a request."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        self.error = {"code": code, "message": message, "field": field}


def env(**changes: Any) -> dict[str, Any]:
    """Return an item of the `envs` payload. `changes` replaces default values of the item."""
    return {
        "sensor_id": 5,
        "sensor_name": MARKUP,
        "metric": "temperature",
        "unit": "°C",
        "value": 4.25,
        "time": "2026-01-31T16:30:00Z",
        "quality": "good",
    } | changes


def envs(*those: dict[str, Any], stale: bool = False, unrecorded: bool = False) -> dict[str, Any]:
    """Return the `envs` payload of the storehouse with these items."""
    return {
        "store_house_id": STOREHOUSE,
        "cursor": 7,
        "time": NOW,
        "stale": stale,
        "unrecorded": unrecorded,
        "envs": those,
    }


def sensor(**changes: Any) -> dict[str, Any]:
    """Return an item of the answer to `querySensors`. `changes` replaces default values of the item."""
    return {
        "sensor_id": 5,
        "sensor_name": MARKUP,
        "metric": "temperature",
        "unit": "°C",
        "interval_s": 60,
        "position": [0.5, 0.5],
        "limits": {"high": 8, "high_high": None, "low": 2, "low_low": None},
    } | changes


def alarm(**changes: Any) -> dict[str, Any]:
    """Return an alarm in the form of alarms from the site's own tables. `changes` replaces default values."""
    return {
        "alarm_id": 1,
        "store_house_id": STOREHOUSE,
        "sensor_id": 5,
        "sensor_name": MARKUP,
        "metric": "temperature",
        "kind": "high",
        "severity": "critical",
        "state": "active",
        "acknowledged": False,
        "value": 9.5,
        "limit": 8,
        "raised": "2026-01-31T16:29:00Z",
        "cleared": None,
    } | changes


def own_alarm(**changes: Any) -> dict[str, Any]:
    """Return an alarm in the form of alarms that Storewatch raises. `changes` replaces default values."""
    fields = {"alarm_id": "sw-3", "transition": "raised", "since": "2026-01-31T16:20:00Z", "peak": 10.1}
    limits = [{"limit": 8.0, "severity": "critical", "delay": 540.0}]
    return alarm(**fields, limits=limits) | changes


def alarms(*those: dict[str, Any], cursor: int = 9) -> dict[str, Any]:
    """Return an `alarms` payload with these alarm transitions."""
    return {"store_house_id": STOREHOUSE, "cursor": cursor, "alarms": those}


def curve(*points: list[Any], **changes: Any) -> dict[str, Any]:
    """Return the history of a sensor with these points, as in the answer to `queryEnvs`."""
    named = {"sensor_id": 5, "sensor_name": MARKUP, "metric": "temperature", "unit": "°C"}
    return named | {"points": points} | changes


def overview(*organisations: dict[str, Any], stale: bool = False, unrecorded: bool = False) -> dict[str, Any]:
    """Return an `overview` payload with these organisations."""
    return {"time": NOW, "stale": stale, "unrecorded": unrecorded, "organisations": organisations}


def organisation(*storehouses: dict[str, Any], name: str = "Owner", org_id: int = 1) -> dict[str, Any]:
    """Return an organisation of the overview with these storehouses."""
    return {"org_id": org_id, "org_name": name, "storehouses": storehouses}


def storehouse(name: str, **changes: Any) -> dict[str, Any]:
    """Return a storehouse of the overview. `changes` replaces default values of the storehouse."""
    return {
        "store_house_id": STOREHOUSE,
        "store_house_name": name,
        "time_zone": "Asia/Shanghai",
        "state": "good",
        "envs": [env()],
        "alarms": {"open": 0, "unacknowledged": 0, "worst": None},
        "spark": [None, *(4 + (hour % 5) / 10 for hour in range(23))],
    } | changes
