"""The command: builds every part from the settings, starts them, stops them in reverse.

`python main.py 8000` serves; `python main.py --check --config settings.yaml` tries the settings on the database.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar

import socketio
import tornado.httpserver
import tornado.netutil
import tornado.web

import check
import dashboard.pages
import database
import demo.history
import demo.live
import garbage
import globals
import instants
import logger
import settings as settings_module
import transport
from ask import Ask
from ask.subjects import Subjects, subjects
from errors import Unavailable, UsageError
from live import cluster, fanout
from live.alarm_watch import AlarmWatch
from live.directory import Directory
from live.heartbeat import Heartbeat
from live.journal import Journal
from live.newest import Newest
from live.poller import Poller
from live.screens import Screens
from live.source import source
from server import Browsers, socket_server
from settings import Settings, Source

log = logging.getLogger("main")

P = ParamSpec("P")
T = TypeVar("T")

STARTING = database.Limits(connect=2.0, statement=30.0, read=31.0, answer=32.0)
"""For the newest reading of each sensor, which a site's tables may be slow to tell."""
MAX_HEADER = 16_384
MAX_BODY = 1_048_576
"""Bytes; a body over `max_payload` is refused, and up to here read to its end so that the refusal arrives."""
SLOW_S = 10
"""Seconds that headers or a body may take to arrive."""
WATCH_S = 1.0
"""Between two looks for browsers that do not answer pings."""
DRAIN_S = 1.5
"""Seconds that browsers have to take note that we stop; the rest of the 5 s is for a database that hangs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        options = parse(arguments)
        settings, origin = settings_module.load(options.config)
        logger.configure(settings.log_level)
        if options.check:
            return check.run(settings, origin)
        asyncio.run(serve(settings, origin, options.port))
    except (UsageError, Unavailable) as error:
        print(f"storewatch: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):  # stopped while it was starting
        return 0
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise UsageError(f"{message}; {usage}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; raises `UsageError`."""
    parser = _Parser(prog="main.py", description="Storewatch watches warehouses.")
    parser.add_argument("port", nargs="?", type=_port, help="the port to listen on; 0: any free one")
    parser.add_argument("--config", default=os.environ.get("STOREWATCH_CONFIG"), help="the settings, a YAML file")
    parser.add_argument("--check", action="store_true", help="try the settings on the database, and stop")
    options = parser.parse_args(arguments)
    if options.port is None and not options.check:
        parser.error("say which port to listen on, such as 8000")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it is a number from 0 to 65535")
    return int(text)


async def serve(settings: Settings, origin: Source, port: int) -> None:
    """Serve until SIGTERM or SIGINT; raises `UsageError` where that cannot begin."""
    stop = asyncio.Event()
    here = asyncio.current_task()
    assert here is not None  # noqa: S101 - this is a coroutine
    _on_signals(here.cancel)
    async with serving(settings, origin, port) as house:
        _on_signals(stop.set)
        print(f"Storewatch: {house.url}", flush=True)
        await stop.wait()
        log.info("stopping")


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


class House(NamedTuple):
    """What tells how a running server is doing."""

    url: str
    sio: socketio.AsyncServer
    browsers: Browsers
    poller: Poller
    directory: Directory


@asynccontextmanager
async def serving(settings: Settings, origin: Source, port: int) -> AsyncIterator[House]:
    """Build every part, start them, and stop them in reverse; raises `UsageError`."""
    async with AsyncExitStack() as running:
        sockets = _listen(settings.host, port)
        for one in sockets:
            running.callback(one.close)
        where, state = settings.sensor_database, settings.state_database
        await _aside(_prepare, settings)
        asking = running.enter_context(_open(where, database.ASKING, 8))
        patient = running.enter_context(_open(where, STARTING, 1))
        pulse = running.enter_context(_open(where, database.BEATING, 1))
        reading_state = running.enter_context(_open(state, database.ASKING, 2))
        keeping_state = running.enter_context(_open(state, database.KEEPING, 1, writes=True))
        found = await _aside(_subjects, patient, origin)

        ask = Ask(asking, patient, found, instants.now)
        manager = _manager(settings)
        sio = socket_server(settings, manager)
        newest = Newest()
        screens = Screens(newest, manager.push, globals.clients, instants.now)
        directory = Directory(ask, newest, instants.now, screens.change)
        readings = source(ask, instants.now)
        poller = Poller(readings, settings.poll_interval, screens.ticked)
        poller.subscribe(screens.take)
        poller.subscribe(directory.take)

        async def beat(answering: bool) -> None:
            if not answering:
                await screens.lost()
            # After a loss too: a tick that was answered just before it must not have the last word.
            poller.wake()

        journal = Journal(reading_state, settings.poll_interval, screens.tell)
        alarm_watch = AlarmWatch(ask, keeping_state, journal, uuid.uuid4().hex, settings.poll_interval)
        heartbeat = Heartbeat(pulse, [asking, patient], beat)
        browsers = Browsers(settings, ask, newest, screens, directory, journal, globals.clients)
        sio.register_namespace(browsers)

        await readings.begin()
        await directory.refresh()
        await journal.begin()
        screens.cursor = journal.cursor
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "heartbeat": heartbeat.run,
            "poller": poller.run,
            "directory": directory.run,
            "journal": journal.run,
            "alarm watch": alarm_watch.run,
            "sweep": manager.sweep,
            "watch": partial(transport.watch, sio, WATCH_S),
        }
        if isinstance(manager, cluster.Cluster | cluster.LibraryCluster):
            works["cluster"] = manager.listen
        for name, work in works.items():
            await running.enter_async_context(_task(name, work()))
        if settings.is_demo:
            await running.enter_async_context(_task("demo", demo.live.run(where)))
        handler = transport.get_tornado_handler(sio, settings.max_payload, settings.allowed_origins)
        await running.enter_async_context(_http(sio, manager.handler(handler), settings, sockets))
        garbage.tame()
        url = f"http://{_address(settings.host)}:{sockets[0].getsockname()[1]}/"
        yield House(url, sio, browsers, poller, directory)


def _manager(settings: Settings) -> fanout.Fanout | fanout.Library:
    bounds = settings.max_unsent, settings.max_stuck
    return fanout.manager(*bounds) if settings.redis is None else cluster.manager(settings.redis, *bounds)


def _listen(host: str, port: int) -> list[socket.socket]:
    try:
        if port:
            return tornado.netutil.bind_sockets(port, host)
        # With port 0, each address of a host would get a port of its own.
        return tornado.netutil.bind_sockets(0, host)[:1]
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}; choose another port") from None


def _address(host: str) -> str:
    """A host that means every address is no address to open in a browser."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns, in a thread that nobody waits for if we are to stop meanwhile."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="starting")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
    finally:
        threads.shutdown(wait=False)


def _prepare(settings: Settings) -> None:
    if settings.sensor_database.map is None:
        database.migrate(settings.sensor_database)
    if settings.state_database is not settings.sensor_database:
        database.migrate(settings.state_database)
    if settings.is_demo:
        demo.history.prepare(settings.sensor_database, instants.now())


def _open(
    where: settings_module.Database, limits: database.Limits, workers: int, *, writes: bool = False
) -> closing[database.Database]:
    return closing(database.Database(where, limits, workers, writes=writes))


def _subjects(patient: database.Database, origin: Source) -> Subjects:
    database.reach(patient.settings)
    with patient.engine.connect() as connection:
        return subjects(patient.settings, origin, connection)


@asynccontextmanager
async def _task(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside everything else until the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception():
            log.error("the %s ended with an error", name, exc_info=task.exception())


@asynccontextmanager
async def _http(
    sio: socketio.AsyncServer, handler: type[Any], settings: Settings, sockets: list[socket.socket]
) -> AsyncIterator[None]:
    application = tornado.web.Application(
        [(r"/socket\.io/", handler), *dashboard.pages.routes()],
        websocket_max_message_size=settings.max_payload,
    )
    http = tornado.httpserver.HTTPServer(
        application,
        max_body_size=max(MAX_BODY, settings.max_payload),
        max_header_size=MAX_HEADER,
        body_timeout=SLOW_S,
    )
    http.add_sockets(sockets)
    try:
        yield
    finally:
        await transport.close_all(sio, DRAIN_S)
        http.stop()
        await sio.shutdown()
        await http.close_all_connections()


def leave(status: int) -> NoReturn:
    """End now: Python would wait for threads, and these for a database that hangs."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
