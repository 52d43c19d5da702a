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

import access.policy
import alarms.rules
import dashboard.pages
import demo.history
import demo.live
import demo.rules
import globals
import logger
import settings as settings_module
import transport
import web.login
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.caller import Caller
from access.policy_reload import PolicyReload
from access.revalidation import Revalidation
from alarm_service.actions import AlarmActions
from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_loop import JudgeLoop
from alarm_service.preview_pool import Previews
from alarm_service.site_alarms import LEASE, SiteAlarms
from alarm_service.test_alarms import AlarmTestRunner
from alarms.rules import Rule
from app import check, gc_tuning
from ask import Ask
from ask.answers import Alarm
from ask.journal import Transition
from ask.subjects import Subjects, subjects
from common import clock
from db import database
from errors import Unavailable, UsageError
from live.directory import Directory
from live.heartbeat import Heartbeat
from live.newest import Newest
from live.overview_feed import Overview
from live.owner_checked_source import OwnerCheckedSource
from live.poller import Poller
from live.rollups import PATIENT, Rollups
from live.source import source
from live.storehouse_feed import StorehouseFeed
from notify import sender
from notify.notifier import Notifier
from record.audit import Entry
from server import Browsers, socket_server
from settings import Settings, Source
from transport import fanout, redis_manager
from web import endpoints
from web.health import Health
from web.prometheus import Metrics, Parts
from web.security_headers import Secured

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


class RunningServer(NamedTuple):
    """What tells how a running server is doing."""

    url: str
    sio: socketio.AsyncServer
    browsers: Browsers
    poller: Poller
    directory: Directory
    overview: Overview


@asynccontextmanager
async def serving(settings: Settings, origin: Source, port: int) -> AsyncIterator[RunningServer]:
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

        authenticator = Authenticator(access.policy.policy(settings.restricted, origin), clock.now)
        running.callback(authenticator.stop)
        metrics = Metrics()
        ask = Ask(asking, patient, found, clock.now, reading_state, metrics.query)
        manager = _manager(settings)
        sio = socket_server(settings, manager)
        newest = Newest()
        callers: dict[str, Caller] = {}
        storehouse_feed = StorehouseFeed(
            newest, manager.push, globals.clients, clock.now, lambda sid: callers[sid].user.visibility
        )
        directory = Directory(ask, newest, clock.now, storehouse_feed.change, lambda: authenticator.restricted)
        readings = OwnerCheckedSource(source(ask, clock.now), directory.own)
        overview = Overview(
            ask, reading_state, newest, manager.push, clock.now, lambda: storehouse_feed.stale, directory.own
        )

        async def ticked(answered: bool) -> None:
            judge_loop.ticked(answered)
            await storehouse_feed.ticked(answered)
            await overview.push()

        async def lost() -> None:
            await storehouse_feed.lost()
            await overview.push()

        poller = Poller(readings, settings.poll_interval, ticked, lost, metrics.ticks.time)
        poller.subscribe(storehouse_feed.take)
        poller.subscribe(directory.take)

        async def beat(answering: bool) -> None:
            if not answering:
                judge_loop.ticked(False)
                await lost()
            # After a loss too: a tick that was answered just before it must not have the last word.
            poller.wake()

        async def tell(transitions: Sequence[Transition]) -> None:
            metrics.follow(transitions)
            await storehouse_feed.tell(transitions)
            await overview.follow(transitions)

        holder = uuid.uuid4().hex
        journal = JournalFollower(reading_state, settings.poll_interval, tell, directory.own)
        site_alarms = SiteAlarms(ask, keeping_state, journal, holder, settings.poll_interval)
        notifier = _notifier(settings, keeping_state, newest, holder)
        follow = notifier.follow if notifier else _tell_nobody
        defaults = settings.own_alarms.default_rules
        judge_loop = JudgeLoop(
            ask,
            newest,
            readings,
            lambda: source(ask, clock.now),
            keeping_state,
            journal,
            holder,
            clock.now,
            rules,
            defaults=defaults,
            tell=follow,
        )
        alarm_actions = AlarmActions(
            ask,
            newest,
            directory.own,
            keeping_state,
            journal,
            clock.now,
            rules,
            defaults=defaults,
            tell=follow,
        )
        previews = Previews(ask, alarm_actions, where, clock.now, defaults=defaults)
        running.callback(previews.stop)
        drills = AlarmTestRunner(keeping_state, follow, clock.now, LEASE, holder)
        audit = AuditWriter(keeping_state, clock.now)
        audit.note_news(Entry("access_changed", "", "", after=authenticator.policy.described()))
        heartbeat = Heartbeat(pulse, [asking, patient], beat)
        browsers = Browsers(
            settings,
            ask,
            newest,
            storehouse_feed,
            directory,
            journal,
            alarm_actions,
            previews,
            overview,
            globals.clients,
            authenticator,
            callers,
            audit,
        )
        revalidate = Revalidation(authenticator, callers, browsers.review, browsers.end)
        sio.register_namespace(browsers)
        judge = judge_loop if settings.own_alarms.judge else None
        redis = manager if isinstance(manager, redis_manager.RedisManager | redis_manager.LibraryRedisManager) else None
        health = Health(asking, poller, redis, judge)
        parts = Parts(globals.clients, browsers, sio.refusals, audit.counts, manager, poller, overview, judge, health)
        metrics.read(parts)

        await readings.begin()
        await directory.refresh()
        await journal.begin()
        storehouse_feed.cursor = journal.cursor
        await overview.begin()
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "audit": audit.run,  # ends after whatever it is told of
            "heartbeat": heartbeat.run,
            "poller": poller.run,
            "directory": directory.run,
            "journal": journal.run,
            "alarm watch": site_alarms.run,
            **({"judge": judge.run} if judge else {}),  # ends before the lease is let go
            "drills": drills.run,
            "overview": overview.run,
            "sweep": manager.sweep,
            "standing": revalidate.run,
        }
        poller.subscribe(judge_loop.take)
        if ask.subjects.ours:
            rollups = Rollups(running.enter_context(_open(where, PATIENT, 1, writes=True)), holder)
            poller.subscribe(rollups.take)
            works["rollups"] = rollups.run
        works |= {"notifier": notifier.run} if notifier else {}
        works |= {"cluster": redis.listen} if redis else {}
        works |= {"access": PolicyReload(authenticator, origin.path, audit.note_news).run} if origin.path else {}
        for name, work in works.items():
            await running.enter_async_context(_task(name, work()))
        if settings.is_demo:
            await running.enter_async_context(_task("demo", demo.live.run(where)))
        handler = transport.get_tornado_handler(sio, per_address=settings.max_per_address)
        pages = [
            *endpoints.routes(health, metrics, authenticator),
            *web.login.routes(authenticator, audit),
            *dashboard.pages.routes(partial(web.login.elsewhere, authenticator)),
        ]
        await running.enter_async_context(_http(sio, manager.handler(handler), pages, settings, sockets, certificate))
        gc_tuning.tame()
        url = f"http{'s' * bool(certificate)}://{_address(settings.host)}:{sockets[0].getsockname()[1]}/"
        yield RunningServer(url, sio, browsers, poller, directory, overview)


def _notifier(settings: Settings, state: database.Database, newest: Newest, holder: str) -> Notifier | None:
    """Return what tells people of alarms, if anybody is to be told."""
    if settings.notify is None:
        return None
    return Notifier(settings.notify, state, newest, sender.Sender(), clock.now, LEASE, holder)


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


def _manager(settings: Settings) -> fanout.Fanout | fanout.LibraryManager:
    bounds = settings.max_unsent, settings.max_stuck
    return fanout.manager(*bounds) if settings.redis is None else redis_manager.manager(settings.redis, *bounds)


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
        demo.history.prepare(settings.sensor_database, clock.now())


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
    door = transport.ConnectionDelegate(application, "/socket.io/", handler, settings.trusted_proxies)
    http = door.server(
        max_body_size=max(transport.MAX_DRAINED_BYTES, settings.max_payload) + SPARE_BODY,
        max_header_size=MAX_HEADER,
        ssl_options=certificate.context if certificate else None,
    )
    transport.set_send_timeout(sockets, settings.max_stuck)
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
