"""Socket.IO clients of several kinds with the same interface, so that one test can run with each kind.

"python" and "threads" are python-socketio's clients: the asynchronous one, and the one that uses threads. "node3" and
"node4" are socket.io-client 3 and 4 in a Node process.
"""

import asyncio
import base64
import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_never
from urllib.parse import urlencode

import aiohttp
import socketio
from engineio.payload import Payload

from tests.support import planted

Kind = Literal["python", "threads", "node3", "node4"]
KINDS: tuple[Kind, ...] = ("python", "node3", "node4")
TRANSPORTS: dict[str, Sequence[str]] = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}

HANG = 60.0  # seconds; an operation that takes longer hangs
FIRST_RECONNECTION, LAST_RECONNECTION = 0.1, 0.5  # seconds to wait before the client tries to reconnect
BRIDGE = Path(__file__).parent / "node" / "bridge.mjs"
PACKETS = 100_000  # maximum number of packets in the response to a polling request
GOODBYE = 1.0  # seconds to wait for the last packets; some servers leave the last polling request open for a long time
LINE_LIMIT = 64 * 1024 * 1024  # bytes; the Node process writes each answer as one line


class ConnectRefused(ConnectionError):
    """The server refused the connection, or the client could not reach the server.

    `data` is the `data` of the CONNECT_ERROR packet.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data
        planted.record_leaks(f"{message} {data}", "a refused connection")


class Client(ABC):
    """A Socket.IO client with one connection.

    The client stores the payloads of all events in the order of arrival. The payload is None for an event without
    arguments, the argument itself for one argument, and a list for several arguments.
    """

    def __init__(self) -> None:
        self.disconnected = asyncio.Event()
        self.reason: str | None = None
        """Reason why the connection ended, such as "server disconnect" or "transport close".

        The reason is None while the connection is open.
        """
        self._received: defaultdict[str, list[Any]] = defaultdict(list)
        self._waiting: defaultdict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)

    @abstractmethod
    async def connect(
        self,
        url: str,
        transports: Sequence[str] = ("polling", "websocket"),
        auth: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Connect to the server. Return when the server has accepted the connection.

        Raises:
            ConnectRefused: The server refused the connection, or the client could not reach the server.
        """

    @abstractmethod
    async def upgraded(self, timeout: float = HANG) -> None:  # noqa: ASYNC109 - as asyncio's own wait_for
        """Wait until the client uses the websocket. A Node client connects first and upgrades later."""

    @abstractmethod
    async def emit(self, event: str, *args: Any) -> None:
        """Send an event without requesting an acknowledgement."""

    @abstractmethod
    async def call(self, event: str, *args: Any, timeout: float = HANG) -> Any:  # noqa: ASYNC109
        """Send an event. Return the server's acknowledgement.

        Raises:
            TimeoutError: No acknowledgement arrived in time.
        """

    @abstractmethod
    async def raw(self, text: str) -> None:
        """Send a text as an Engine.IO message. The text may be an invalid Socket.IO packet."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect and release all resources. A second call does nothing."""

    async def next(self, event: str, timeout: float = HANG) -> Any:  # noqa: ASYNC109
        """Return the payload of the next event of this name, in the order of arrival. Wait for the event if necessary.

        Each call returns a different event.

        Raises:
            TimeoutError: No such event arrived in time.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._waiting[event].get()
        except TimeoutError:
            arrived = {name: len(payloads) for name, payloads in self._received.items()}
            raise TimeoutError(f"no {event!r} within {timeout} s; arrived so far: {arrived}") from None

    def received(self, event: str) -> list[Any]:
        """Return the payloads of all events of this name so far, including those that `next` has already returned."""
        return list(self._received[event])

    def last(self, event: str) -> Any:
        """Return the payload of the last event of this name, or None."""
        arrived = self._received[event]
        return arrived[-1] if arrived else None

    def _arrived(self, event: str, *args: Any) -> None:
        payload = _payload(args)
        planted.record_leaks(str(payload), f"the event {event}")
        self._received[event].append(payload)
        self._waiting[event].put_nowait(payload)

    def _ended(self, reason: str) -> None:
        self.reason = reason.removeprefix("io ")  # Node says "io server disconnect"
        self.disconnected.set()


class PythonClient(Client):
    """python-socketio's asynchronous client."""

    def __init__(self, *, reconnection: bool = False) -> None:
        super().__init__()
        self._connect_refused: ConnectRefused | None = None
        # This class opens and closes the HTTP session, because the client does not always close a session of its own.
        self._http = aiohttp.ClientSession()
        self._socket = socketio.AsyncClient(
            reconnection=reconnection,
            reconnection_delay=FIRST_RECONNECTION,
            reconnection_delay_max=LAST_RECONNECTION,
            http_session=self._http,
        )
        self._socket.on("connect", self.disconnected.clear)
        self._socket.on("connect_error", self._refuse)
        self._socket.on("disconnect", self._ended)
        # The handler is not a coroutine, so that events that arrive together keep their order.
        self._socket.on("*", self._arrived)

    async def connect(
        self,
        url: str,
        transports: Sequence[str] = ("polling", "websocket"),
        auth: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Connect to the server. Return when the server has accepted the connection.

        Raise `ConnectRefused` under the conditions described in `Client.connect`.
        """
        if "polling" in transports:
            # By default, this client refuses a response with more than 16 packets. Browsers have no such limit.
            Payload.max_decode_packets = PACKETS
        address = f"{url}?{urlencode(query)}" if query else url
        try:
            await self._socket.connect(address, transports=list(transports), auth=auth, wait_timeout=HANG)
        except socketio.exceptions.ConnectionError as error:
            raise self._connect_refused or ConnectRefused(str(error)) from None

    async def upgraded(self, timeout: float = HANG) -> None:  # noqa: ASYNC109
        """Check that the client uses the websocket.

        No wait is needed, because this client upgrades before it connects to the namespace.
        """
        if self._socket.transport() != "websocket":
            raise TimeoutError("the websocket was refused")

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event without requesting an acknowledgement."""
        await self._socket.emit(event, args)

    async def call(self, event: str, *args: Any, timeout: float = HANG) -> Any:  # noqa: ASYNC109
        """Send an event. Return the server's acknowledgement. Raise `TimeoutError` if none arrives in time."""
        try:
            answer = await self._socket.call(event, args, timeout=timeout)
        except socketio.exceptions.TimeoutError:
            raise _unanswered(event, timeout) from None
        planted.record_leaks(str(answer), f"the acknowledgement of {event}")
        return list(answer) if isinstance(answer, tuple) else answer

    async def raw(self, text: str) -> None:
        """Send a text as an Engine.IO message."""
        await self._socket.eio.send(text)

    async def cut(self) -> None:
        """Close the TCP connection without a disconnect packet, like a browser that crashes."""
        await self._http.close()

    async def close(self) -> None:
        """Disconnect and release all resources."""
        try:
            async with asyncio.timeout(GOODBYE):
                await self._socket.disconnect()
                await self._socket.eio.wait()  # `disconnect` does not wait if the server disconnected first
        except TimeoutError:
            await self._socket.eio.disconnect(abort=True)
        finally:
            await self._http.close()
            if self._socket.eio.http is not None:  # after `cut`, the client opens a session of its own
                await self._socket.eio.http.close()

    def _refuse(self, error: Any) -> None:
        told = error if isinstance(error, dict) else {"message": str(error)}
        self._connect_refused = ConnectRefused(told.get("message", ""), told.get("data"))


class ThreadsClient(Client):
    """python-socketio's client that uses threads."""

    def __init__(self, *, reconnection: bool = False) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._socket = socketio.Client(
            reconnection=reconnection,
            reconnection_delay=FIRST_RECONNECTION,
            reconnection_delay_max=LAST_RECONNECTION,
        )
        self._socket.on("connect", self._in_loop(self.disconnected.clear))
        self._socket.on("disconnect", self._in_loop(self._ended))
        self._socket.on("*", self._in_loop(self._arrived))

    async def connect(
        self,
        url: str,
        transports: Sequence[str] = ("polling", "websocket"),
        auth: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Connect to the server. Return when the server has accepted the connection.

        Raise `ConnectRefused` under the conditions described in `Client.connect`.
        """
        address = f"{url}?{urlencode(query)}" if query else url
        try:
            await asyncio.to_thread(
                self._socket.connect, address, transports=list(transports), auth=auth, wait_timeout=HANG
            )
        except socketio.exceptions.ConnectionError as error:
            raise ConnectRefused(str(error)) from None

    async def upgraded(self, timeout: float = HANG) -> None:  # noqa: ASYNC109
        """Check that the client uses the websocket, to which it upgrades before it connects to the namespace."""
        if self._socket.transport() != "websocket":
            raise TimeoutError("the websocket was refused")

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event without requesting an acknowledgement."""
        await asyncio.to_thread(self._socket.emit, event, args)

    async def call(self, event: str, *args: Any, timeout: float = HANG) -> Any:  # noqa: ASYNC109
        """Send an event. Return the server's acknowledgement. Raise `TimeoutError` if none arrives in time."""
        try:
            answer = await asyncio.to_thread(self._socket.call, event, args, timeout=timeout)
        except socketio.exceptions.TimeoutError:
            raise _unanswered(event, timeout) from None
        return list(answer) if isinstance(answer, tuple) else answer

    async def raw(self, text: str) -> None:
        """Send a text as an Engine.IO message."""
        await asyncio.to_thread(self._socket.eio.send, text)

    async def close(self) -> None:
        """Disconnect and release all resources."""
        await asyncio.to_thread(self._socket.shutdown)

    def _in_loop(self, handler: Callable[..., None]) -> Callable[..., None]:
        """Return a handler that a thread of the client can call. The event loop of the test calls `handler`."""

        def call(*args: Any) -> None:
            self._loop.call_soon_threadsafe(handler, *args)

        return call


class NodeClient(Client):
    """The socket.io-client of a given major version, in a Node process."""

    def __init__(self, version: Literal[3, 4], *, reconnection: bool = False) -> None:
        super().__init__()
        self._version = version
        self._reconnection = reconnection
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._upgraded = asyncio.Event()
        self._admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()

    async def connect(
        self,
        url: str,
        transports: Sequence[str] = ("polling", "websocket"),
        auth: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Connect to the server. Return when the server has accepted the connection.

        Raise `ConnectRefused` under the conditions described in `Client.connect`.
        """
        self._process = await asyncio.create_subprocess_exec(
            "node",
            str(BRIDGE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        options = {
            "transports": list(transports),
            "auth": auth or {},
            "query": query or {},
            "reconnection": self._reconnection,
            "reconnectionDelay": FIRST_RECONNECTION * 1000,
            "reconnectionDelayMax": LAST_RECONNECTION * 1000,
        }
        await self._command("connect", version=self._version, url=url, options=options)
        try:
            await asyncio.wait_for(self._admitted, HANG)
        except TimeoutError:
            raise ConnectRefused(f"not connected within {HANG} s") from None

    async def upgraded(self, timeout: float = HANG) -> None:  # noqa: ASYNC109
        """Wait until the client uses the websocket."""
        await asyncio.wait_for(self._upgraded.wait(), timeout)

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event without requesting an acknowledgement."""
        await self._command("emit", event=event, args=args)

    async def call(self, event: str, *args: Any, timeout: float = HANG) -> Any:  # noqa: ASYNC109
        """Send an event. Return the server's acknowledgement. Raise `TimeoutError` if none arrives in time."""
        number = next(self._ids)
        self._calls[number] = asyncio.get_running_loop().create_future()
        await self._command("call", event=event, args=args, id=number)
        try:
            answer = await asyncio.wait_for(self._calls[number], timeout)
            planted.record_leaks(str(answer), f"the acknowledgement of {event}")
            return answer
        except TimeoutError:
            raise _unanswered(event, timeout) from None
        finally:
            del self._calls[number]

    async def raw(self, text: str) -> None:
        """Send a text as an Engine.IO message."""
        await self._command("raw", text=text)

    async def close(self) -> None:
        """Disconnect and release all resources."""
        process, self._process = self._process, None
        if process is None or self._reader is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(self._reader, HANG)
        except TimeoutError:
            process.kill()
        await process.wait()

    async def _command(self, command: str, **details: Any) -> None:
        assert self._process is not None, "not connected"
        assert self._process.stdin is not None
        self._process.stdin.write(_line({"command": command, **details}))
        await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._heard(json.loads(line, object_hook=_unwrap_binary))
        self._over("the Node process has ended")

    def _heard(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "event", "name": name, "args": args}:
                self._arrived(name, *args)
            case {"type": "ack", "id": number, "args": args}:
                self._answered(number, args)
            case {"type": "connected", "transport": transport}:
                self._connected(transport)
            case {"type": "upgraded"}:
                self._upgraded.set()
            case {"type": "disconnected", "reason": reason}:
                self._ended(reason)
            case {"type": "connect_error", "message": text}:
                if not self._admitted.done():
                    self._admitted.set_exception(ConnectRefused(text, message.get("data")))

    def _connected(self, transport: str) -> None:
        self.disconnected.clear()
        if transport == "websocket":
            self._upgraded.set()
        if not self._admitted.done():
            self._admitted.set_result(None)

    def _answered(self, number: int, args: list[Any]) -> None:
        call = self._calls.get(number)
        if call is not None and not call.done():
            call.set_result(_payload(args))

    def _over(self, reason: str) -> None:
        """Raise `ConnectRefused` in all calls that wait for the Node process, because the process has ended."""
        for waiting in (self._admitted, *self._calls.values()):
            if not waiting.done():
                waiting.set_exception(ConnectRefused(reason))
        if not self.disconnected.is_set():
            self._ended(reason)


def new(kind: Kind, *, reconnection: bool = False) -> Client:
    """Return a client of the given kind that is not connected yet."""
    match kind:
        case "python":
            return PythonClient(reconnection=reconnection)
        case "threads":
            return ThreadsClient(reconnection=reconnection)
        case "node3":
            return NodeClient(3, reconnection=reconnection)
        case "node4":
            return NodeClient(4, reconnection=reconnection)
    assert_never(kind)


@contextlib.asynccontextmanager
async def connected(
    kind: Kind,
    url: str,
    transports: Sequence[str] = TRANSPORTS["websocket"],
    auth: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None,
) -> AsyncIterator[Client]:
    """Connect a client of the given kind. Disconnect the client at the end of the block."""
    client = new(kind)
    try:
        await client.connect(url, transports, auth, query)
        yield client
    finally:
        await client.close()


def _payload(args: Sequence[Any]) -> Any:
    match args:
        case []:
            return None
        case [payload]:
            return payload
    return list(args)


def _unanswered(event: str, seconds: float) -> TimeoutError:
    return TimeoutError(f"{event!r} was not acknowledged within {seconds} s")


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=_wrap_binary, allow_nan=False).encode() + b"\n"


def _wrap_binary(value: Any) -> dict[str, str]:
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"{value!r} cannot be sent")
    return {"$binary": base64.b64encode(value).decode()}


def _unwrap_binary(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$binary"]) if value.keys() == {"$binary"} else value
