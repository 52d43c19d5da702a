"""Servers in Python with which the benchmark compares Storewatch. Each is used as its documentation recommends.

To start one: `python -m bench.peer_server KIND PING_S MESSAGE_FILE ANSWER_FILE`. KIND is one of these:

- each: python-socketio on Tornado, one emit per connection, as in the original example
- room: python-socketio on Tornado, one emit per room
- uvicorn: python-socketio on uvicorn with uvloop, one emit per room
- websockets: Tornado's websockets without Socket.IO
"""

import asyncio
import importlib
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import socketio
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

from bench import control

Push = Callable[[], Awaitable[None]]


class Peer:
    """A Socket.IO server that supports only the events that the load generator uses."""

    def __init__(self, mode: str, ping_s: int, message: dict[str, Any], answer: Any) -> None:
        self.sio = socketio.AsyncServer(async_mode=mode, ping_interval=ping_s, cors_allowed_origins="*")
        self._message = message
        self._answer = answer
        self._clients: dict[str, int | None] = {}
        for handler in (self.connect, self.disconnect, self.register, self.orgs):
            self.sio.on(handler.__name__, handler)

    async def connect(self, sid: str, _environ: dict[str, Any]) -> None:
        """Accept a client."""
        self._clients[sid] = None
        await self.sio.enter_room(sid, f"ROOM_{sid}")

    async def disconnect(self, sid: str) -> None:
        """Remove a client that has disconnected."""
        self._clients.pop(sid, None)

    async def register(self, sid: str, question: dict[str, int]) -> dict[str, Any]:
        """Put a client into the room of a storehouse. Return the `envs` of this storehouse."""
        store_house_id = question["store_house_id"]
        await self.sio.enter_room(sid, f"storehouse {store_house_id}")
        self._clients[sid] = store_house_id
        return {"ok": True}

    async def orgs(self, sid: str) -> dict[str, Any]:
        """Send the constant answer to `orgs` as an event, and return it as the acknowledgement."""
        await self.sio.emit("orgs", self._answer, to=sid)
        return {"ok": True, "data": self._answer}

    async def push_each(self) -> None:
        """Push the message with one emit for each connection."""
        for sid, watched in list(self._clients.items()):
            await self.sio.emit("envs", self._envs(watched), to=f"ROOM_{sid}")

    async def push_rooms(self) -> None:
        """Push the message with one emit for each room."""
        for watched in set(self._clients.values()):
            await self.sio.emit("envs", self._envs(watched), to=f"storehouse {watched}")

    def _envs(self, store_house_id: int | None) -> dict[str, Any]:
        return self._message | {"store_house_id": store_house_id, "time": control.stamp()}


def raw(message: dict[str, Any]) -> tuple[type[tornado.web.RequestHandler], Push]:
    """Return two objects for a server that uses websockets without Socket.IO.

    The first is a handler of connections. The second is a function that pushes the message to all open connections.
    """
    handlers: set[tornado.websocket.WebSocketHandler] = set()

    class Handler(tornado.websocket.WebSocketHandler):
        def open(self, *_: str, **__: str) -> None:
            self.set_nodelay(True)
            handlers.add(self)

        def on_message(self, message: str | bytes) -> None:
            """Ignore messages."""

        def on_close(self) -> None:
            handlers.discard(self)

    async def push() -> None:
        packet = "42" + json.dumps(["envs", message | {"time": control.stamp()}], separators=(",", ":"))
        for handler in handlers:
            handler.write_message(packet)

    return Handler, push


async def serve_tornado(handler: type[tornado.web.RequestHandler], push: Push) -> None:
    """Serve on Tornado until stdin ends."""
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    tornado.httpserver.HTTPServer(tornado.web.Application([(r"/socket\.io/", handler)])).add_sockets(sockets)
    control.say(port=sockets[0].getsockname()[1])
    await control.obey(control.pushing(push))


async def serve_uvicorn(sio: socketio.AsyncServer, push: Push) -> None:
    """Serve on uvicorn until stdin ends."""
    # Imported by name, because the packages in bench/requirements.txt are not installed where the linters run.
    uvicorn: Any = importlib.import_module("uvicorn")
    config = uvicorn.Config(socketio.ASGIApp(sio), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn signals no event
        await asyncio.sleep(0.01)
    control.say(port=listener.getsockname()[1])
    await control.obey(control.pushing(push))
    server.should_exit = True
    server.force_exit = True
    await serving


def main(kind: str, ping_s: str, message_file: str, answer_file: str) -> None:
    """Run the server that `kind` names."""
    message = json.loads(Path(message_file).read_bytes())
    if kind == "websockets":
        asyncio.run(serve_tornado(*raw(message)))
        return
    answer = json.loads(Path(answer_file).read_bytes())
    peer = Peer("asgi" if kind == "uvicorn" else "tornado", int(ping_s), message, answer)
    push = peer.push_each if kind == "each" else peer.push_rooms
    if kind == "uvicorn":
        uvloop: Any = importlib.import_module("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_uvicorn(peer.sio, push))
    else:
        asyncio.run(serve_tornado(socketio.get_tornado_handler(peer.sio), push))


if __name__ == "__main__":
    main(*sys.argv[1:])
