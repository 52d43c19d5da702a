"""The peers that are written in Python, each as its own documentation would have it.

`python -m bench.peer_server KIND PING_S MESSAGE_FILE ANSWER_FILE`, KIND being one of
each: python-socketio on Tornado, one emit for each connection, as the original example does;
room: the same, one emit into a room;
uvicorn: python-socketio on uvicorn, with uvloop, one emit into a room;
websockets: Tornado's websockets alone.
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
    """A plain Socket.IO server with the events that are asked of it."""

    def __init__(self, mode: str, ping_s: int, message: dict[str, Any], answer: Any) -> None:
        self.sio = socketio.AsyncServer(async_mode=mode, ping_interval=ping_s, cors_allowed_origins="*")
        self._message = message
        self._answer = answer
        self._clients: dict[str, int | None] = {}
        for handler in (self.connect, self.disconnect, self.register, self.orgs):
            self.sio.on(handler.__name__, handler)

    async def connect(self, sid: str, _environ: dict[str, Any]) -> None:
        """Let a client in."""
        self._clients[sid] = None
        await self.sio.enter_room(sid, f"ROOM_{sid}")

    async def disconnect(self, sid: str) -> None:
        """Forget a client."""
        self._clients.pop(sid, None)

    async def register(self, sid: str, question: dict[str, int]) -> dict[str, Any]:
        """Watch a storehouse."""
        store_house_id = question["store_house_id"]
        await self.sio.enter_room(sid, f"storehouse {store_house_id}")
        self._clients[sid] = store_house_id
        return {"ok": True}

    async def orgs(self, sid: str) -> dict[str, Any]:
        """Answer with what is known."""
        await self.sio.emit("orgs", self._answer, to=sid)
        return {"ok": True, "data": self._answer}

    async def push_each(self) -> None:
        """Emit to one connection after the other."""
        for sid, watched in list(self._clients.items()):
            await self.sio.emit("envs", self._envs(watched), to=f"ROOM_{sid}")

    async def push_rooms(self) -> None:
        """Emit into one room after the other."""
        for watched in set(self._clients.values()):
            await self.sio.emit("envs", self._envs(watched), to=f"storehouse {watched}")

    def _envs(self, store_house_id: int | None) -> dict[str, Any]:
        return self._message | {"store_house_id": store_house_id, "time": control.stamp()}


def raw(message: dict[str, Any]) -> tuple[type[tornado.web.RequestHandler], Push]:
    """Return the handler of plain websockets, and how it pushes."""
    handlers: set[tornado.websocket.WebSocketHandler] = set()

    class Handler(tornado.websocket.WebSocketHandler):
        def open(self, *_: str, **__: str) -> None:
            self.set_nodelay(True)
            handlers.add(self)

        def on_message(self, message: str | bytes) -> None:
            """Take nothing."""

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
    # By name, because the checkers run where only the bench's own requirements are missing.
    uvicorn: Any = importlib.import_module("uvicorn")
    config = uvicorn.Config(socketio.ASGIApp(sio), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    control.say(port=listener.getsockname()[1])
    await control.obey(control.pushing(push))
    server.should_exit = True
    server.force_exit = True
    await serving


def main(kind: str, ping_s: str, message_file: str, answer_file: str) -> None:
    """Serve one of the peers."""
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
