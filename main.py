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
from contextlib import AsyncExitStack, asynccontextmanager, closing, nullcontext
from functools import partial
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar

import socketio
import sqlalchemy as sa
import tornado.netutil
import tornado.routing
import tornado.web

import access.pages
import access.policy
import alarms.rules
import check
import dashboard.pages
import database
import demo.history
import demo.live
import demo.rules
import garbage
import globals
import instants
import logger
import probes
import settings as settings_module
import transport
from access.asker import Asker
from access.following import Following
from access.gate import Gate
from alarms.rules import Rule
from ask import Ask
from ask.answers import Alarm
from ask.journal import Transition
from ask.subjects import Subjects, subjects
from errors import Unavailable, UsageError
from headers import Secured
from health import Health
from live import cluster, fanout
from live.alarm_watch import LEASE, AlarmWatch
from live.audit import Audit
from live.directory import Directory
from live.drills import Drills
from live.heartbeat import Heartbeat
from live.journal import Journal
from live.judging import Judging
from live.newest import Newest
from live.overview import Overview
from live.owned import Owned
from live.people import People
from live.poller import Poller
from live.previews import Previews
from live.rollups import PATIENT, Rollups
from live.screens import Screens
from live.source import source
from live.standing import Standing
from metrics import Metrics, Parts
from notify import sender
from notify.notifier import Notifier
from record.audit import Entry
from server import Browsers, socket_server
from settings import Settings, Source

log = logging.getLogger("main")

P = ParamSpec("P")
T = TypeVar("T")

STARTING = database.Limits(connect=2.0, statement=30.0, read=31.0, answer=32.0)
"""For the newest reading of each sensor, which a site's tables may be slow to tell."""
MAX_HEADER = 16_384
SPARE_BODY = 1_048_576
"""Bytes; of a body so much larger than it may be nothing is read any more, if nobody has refused it yet."""
DRAIN_S = 1.5
"""Seconds that browsers have to take note that we stop; the rest of the 5 s is for a database that hangs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        options = parse(arguments)
        settings, origin = settings_module.load(options.config)
        logger.configure(settings.log_level, settings.log_format)
        if settings.rules:
            _rules(settings, origin)
        access.policy.policy(settings.restricted, origin)
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
    overview: Overview


@asynccontextmanager
async def serving(settings: Settings, origin: Source, port: int) -> AsyncIterator[House]:
    """Build every part, start them, and stop them in reverse; raises `UsageError`."""
    async with AsyncExitStack() as running:
        certificate = _certificate(settings, origin)
        sockets = _listen(settings.host, port)
        for one in sockets:
            running.callback(one.close)
        where, state = settings.sensor_database, settings.state_database
        await _aside(_prepare, settings, origin)
        asking = running.enter_context(_open(where, database.ASKING, 8))
        patient = running.enter_context(_open(where, STARTING, 1))
        pulse = running.enter_context(_open(where, database.BEATING, 1))
        reading_state = running.enter_context(_open(state, database.ASKING, 2))
        keeping_state = running.enter_context(_open(state, database.KEEPING, 3, writes=True))
        found = await _aside(_subjects, patient, origin)
        rules = await _aside(_rules, settings, origin)

        gate = Gate(access.policy.policy(settings.restricted, origin), instants.now)
        running.callback(gate.stop)
        metrics = Metrics()
        ask = Ask(asking, patient, found, instants.now, reading_state, metrics.query)
        manager = _manager(settings)
        sio = socket_server(settings, manager)
        newest = Newest()
        askers: dict[str, Asker] = {}
        screens = Screens(newest, manager.push, globals.clients, instants.now, lambda sid: askers[sid].user.sight)
        directory = Directory(ask, newest, instants.now, screens.change, lambda: gate.restricted)
        readings = Owned(source(ask, instants.now), directory.own)
        overview = Overview(
            ask, reading_state, newest, manager.push, instants.now, lambda: screens.stale, directory.own
        )

        async def ticked(answered: bool) -> None:
            judging.ticked(answered)
            await screens.ticked(answered)
            await overview.push()

        async def lost() -> None:
            await screens.lost()
            await overview.push()

        poller = Poller(readings, settings.poll_interval, ticked, lost, metrics.ticks.time)
        poller.subscribe(screens.take)
        poller.subscribe(directory.take)

        async def beat(answering: bool) -> None:
            if not answering:
                judging.ticked(False)
                await lost()
            # After a loss too: a tick that was answered just before it must not have the last word.
            poller.wake()

        async def tell(transitions: Sequence[Transition]) -> None:
            metrics.follow(transitions)
            await screens.tell(transitions)
            await overview.follow(transitions)

        holder = uuid.uuid4().hex
        journal = Journal(reading_state, settings.poll_interval, tell, directory.own)
        alarm_watch = AlarmWatch(ask, keeping_state, journal, holder, settings.poll_interval)
        notifier = _notifier(settings, keeping_state, newest, holder)
        follow = notifier.follow if notifier else _tell_nobody
        defaults = settings.own_alarms.default_rules
        judging = Judging(
            ask,
            newest,
            readings,
            lambda: source(ask, instants.now),
            keeping_state,
            journal,
            holder,
            instants.now,
            rules,
            defaults=defaults,
            tell=follow,
        )
        people = People(
            ask,
            newest,
            directory.own,
            keeping_state,
            journal,
            instants.now,
            rules,
            defaults=defaults,
            tell=follow,
        )
        previews = Previews(ask, people, where, instants.now, defaults=defaults)
        running.callback(previews.stop)
        drills = Drills(keeping_state, follow, instants.now, LEASE, holder)
        audit = Audit(keeping_state, instants.now)
        audit.note_news(Entry("access_changed", "", "", after=gate.policy.described()))
        heartbeat = Heartbeat(pulse, [asking, patient], beat)
        browsers = Browsers(
            settings,
            ask,
            newest,
            screens,
            directory,
            journal,
            people,
            previews,
            overview,
            globals.clients,
            gate,
            askers,
            audit,
        )
        standing = Standing(gate, askers, browsers.review, browsers.end)
        sio.register_namespace(browsers)
        judge = judging if settings.own_alarms.judge else None
        redis = manager if isinstance(manager, cluster.Cluster | cluster.LibraryCluster) else None
        health = Health(asking, poller, redis, judge)
        parts = Parts(globals.clients, browsers, sio.refusals, audit.counts, manager, poller, overview, judge, health)
        metrics.read(parts)

        await readings.begin()
        await directory.refresh()
        await journal.begin()
        screens.cursor = journal.cursor
        await overview.begin()
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "audit": audit.run,  # ends after whatever it is told of
            "heartbeat": heartbeat.run,
            "poller": poller.run,
            "directory": directory.run,
            "journal": journal.run,
            "alarm watch": alarm_watch.run,
            **({"judge": judge.run} if judge else {}),  # ends before the lease is let go
            "drills": drills.run,
            "overview": overview.run,
            "sweep": manager.sweep,
            "standing": standing.run,
        }
        poller.subscribe(judging.take)
        if ask.subjects.ours:
            rollups = Rollups(running.enter_context(_open(where, PATIENT, 1, writes=True)), holder)
            poller.subscribe(rollups.take)
            works["rollups"] = rollups.run
        works |= {"notifier": notifier.run} if notifier else {}
        works |= {"cluster": redis.listen} if redis else {}
        works |= {"access": Following(gate, origin.path, audit.note_news).run} if origin.path else {}
        for name, work in works.items():
            await running.enter_async_context(_task(name, work()))
        if settings.is_demo:
            await running.enter_async_context(_task("demo", demo.live.run(where)))
        handler = transport.get_tornado_handler(sio, per_address=settings.max_per_address)
        pages = [
            *probes.routes(health, metrics, gate),
            *access.pages.routes(gate, audit),
            *dashboard.pages.routes(partial(access.pages.elsewhere, gate)),
        ]
        await running.enter_async_context(_http(sio, manager.handler(handler), pages, settings, sockets, certificate))
        garbage.tame()
        url = f"http{'s' * bool(certificate)}://{_address(settings.host)}:{sockets[0].getsockname()[1]}/"
        yield House(url, sio, browsers, poller, directory, overview)


def _notifier(settings: Settings, state: database.Database, newest: Newest, holder: str) -> Notifier | None:
    """Return what tells people of alarms, if anybody is to be told."""
    if settings.notify is None:
        return None
    return Notifier(settings.notify, state, newest, sender.Sender(), instants.now, LEASE, holder)


def _rules(settings: Settings, origin: Source) -> list[Rule]:
    """Return the rules of the settings, else those of the demo; raises `UsageError` where one is wrong."""
    if settings.is_demo and not settings.rules:
        return demo.rules.rules(settings.sensor_database)
    try:
        return alarms.rules.read(settings.rules)
    except ValueError as error:
        raise UsageError(f"{origin.where('rules')}: {error}; docs/settings.md tells what there is") from None


def _tell_nobody(_connection: sa.Connection, _alarms: Sequence[Alarm]) -> None:
    pass


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


def _certificate(settings: Settings, origin: Source) -> transport.Certificate | None:
    if settings.tls is None:
        return None
    try:
        return transport.Certificate(settings.tls.certificate, settings.tls.key)
    except OSError as error:
        raise UsageError(f"{origin.where('tls')}: cannot use the certificate: {error}") from None


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


def _prepare(settings: Settings, origin: Source) -> None:
    if settings.notify is not None:
        sender.prepare(settings.notify.targets, origin)
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
    sio: socketio.AsyncServer,
    handler: type[Any],
    pages: list[tornado.routing.Rule],
    settings: Settings,
    sockets: list[socket.socket],
    certificate: transport.Certificate | None,
) -> AsyncIterator[None]:
    application = tornado.web.Application([(r"/socket\.io/", handler), *pages], transforms=[Secured])
    door = transport.Door(application, "/socket.io/", handler, settings.trusted_proxies)
    http = door.server(
        max_body_size=max(transport.DRAINED, settings.max_payload) + SPARE_BODY,
        max_header_size=MAX_HEADER,
        ssl_options=certificate.context if certificate else None,
    )
    transport.end_stuck(sockets, settings.max_stuck)
    http.add_sockets(sockets)
    try:
        async with _task("certificate", certificate.follow(http)) if certificate else nullcontext():
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
