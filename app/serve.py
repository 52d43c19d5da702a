"""Builds all parts of the server, starts them, and stops them in reverse order.

Only this module depends on all parts. Tests and benchmarks also start the server with `serving`.
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import socketio
import sqlalchemy as sa
import tornado.routing

import alarms.rules
import dashboard.pages
import demo.live
import demo.site
import globals
import web.endpoints
import web.login
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.connection import Connections
from access.guard import AnswerGuard, PushGuard
from access.policy import build_policy
from access.policy_reload import PolicyReload
from access.revalidation import Revalidation
from alarm_service.actions import AlarmActions
from alarm_service.alarm_tests import AlarmTestRunner
from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_input import JudgeInput
from alarm_service.judge_loop import JudgeLoop
from alarm_service.judge_store import JudgeStore
from alarm_service.preview_pool import PreviewPool
from alarm_service.recording import Recording
from alarm_service.rule_actions import RuleActions
from alarm_service.rules_in_force import RulesInForce
from alarm_service.site_alarms import LEASE, SiteAlarms
from alarms.rules import Rule
from app import gc_tuning
from app.background import background_task
from app.databases import Databases, open_pulse
from app.http import Listener, create_manager, serve_http
from app.preparation import Preparation
from app.start import Start
from ask import Ask
from ask.answers import Alarm
from ask.journal import Transition
from common import clock
from db.database import Database
from errors import UsageError
from live.database_clock import DatabaseClock
from live.directory import Directory
from live.heartbeat import Heartbeat
from live.newest import Newest
from live.overview_feed import OverviewFeed
from live.owner_checked_source import OwnerCheckedSource
from live.pending_source import PendingSource
from live.poller import Poller
from live.rollups import Rollups
from live.site_snapshot import SiteSnapshot
from live.source import create_source
from live.storehouse_feed import StorehouseFeed
from notify.notifier import Notifier
from notify.sender import Sender
from record.audit import Entry
from record.set_aside import SetAside
from server import BrowserNamespace, Services, socket_server
from settings import Settings, Source
from transport.redis_manager import LibraryRedisManager, RedisManager
from web.health import Health
from web.prometheus import Metrics, MetricSources

log = logging.getLogger(__name__)


class RunningServer(NamedTuple):
    """A running server, with the parts that tests and benchmarks inspect."""

    url: str
    sio: socketio.AsyncServer
    services: Services
    namespace: BrowserNamespace
    poller: Poller
    pages: Sequence[tornado.routing.Rule]


async def serve(settings: Settings, origin: Source, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raise `UsageError` if the server cannot start."""
    stop = asyncio.Event()
    this_task = asyncio.current_task()
    assert this_task is not None  # noqa: S101 - this is a coroutine
    _on_signals(this_task.cancel)
    async with serving(settings, origin, port) as running:
        _on_signals(stop.set)
        print(f"Storewatch: {running.url}", flush=True)
        await stop.wait()
        log.info("stopping")


def _on_signals(callback: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, callback)


@asynccontextmanager
async def serving(settings: Settings, origin: Source, port: int) -> AsyncIterator[RunningServer]:
    """Build all parts of the server, run them while the `async with` block runs, and stop them in reverse order.

    Before the block, prepare the databases. If one cannot be reached, continue its preparation during the block. Raise
    `UsageError` if a setting is wrong.
    """
    async with AsyncExitStack() as stack:
        # Sockets and databases
        listener = Listener.open(settings, origin, port)
        stack.callback(listener.close)
        databases = Databases.open(settings, stack)
        records, actions = databases.records, databases.actions
        in_force = RulesInForce(configured_rules(settings, origin), settings.own_alarms.default_rules)
        process_id = uuid.uuid4().hex

        # Access and connections
        metrics = Metrics()
        clients = globals.clients
        authenticator = Authenticator(build_policy(settings.restricted, origin), clock.now)
        stack.callback(authenticator.stop)
        audit = AuditWriter(records, clock.now)
        audit.enqueue_if_changed(Entry("access_changed", "", "", after=authenticator.policy.audit_summary()))
        manager = create_manager(settings)
        sio = socket_server(settings, manager)
        connections = Connections(sio, clients)

        # Readings and pushes
        live_ask = Ask(databases.live, databases.slow, None, clock.now, databases.journal, metrics.time_query)
        ask = Ask(databases.questions, databases.charts, None, clock.now, databases.state_questions, metrics.time_query)
        newest = Newest()
        push_guard = PushGuard(newest)
        storehouse_feed = StorehouseFeed(newest, manager.push, clients, clock.now, push_guard, connections.caller)
        directory = Directory(
            live_ask, newest, clock.now, storehouse_feed.storehouses_changed, lambda: authenticator.restricted
        )
        guard = AnswerGuard(ask, push_guard, newest, directory.refresh_owners)
        overview_feed = OverviewFeed(
            live_ask,
            newest,
            manager.push,
            clock.now,
            lambda: storehouse_feed.outages,
            directory.refresh_owners,
            push_guard,
        )
        source = PendingSource(lambda: create_source(live_ask, clock.now))
        readings = OwnerCheckedSource(source, directory.refresh_owners)

        # Alarms
        database_clock = DatabaseClock()

        async def push_transitions(transitions: Sequence[Transition]) -> None:
            metrics.count_transitions(transitions)
            await storehouse_feed.push_alarms(transitions)
            await overview_feed.add_transitions(transitions)

        async def recording_changed(is_recording: bool) -> None:
            await storehouse_feed.recording_changed(is_recording)
            await overview_feed.push()

        recording = Recording(records, LEASE, process_id, recording_changed)
        journal = JournalFollower(
            databases.journal,
            databases.state_questions,
            settings.poll_interval,
            push_transitions,
            directory.refresh_owners,
        )
        notifier = _notifier(settings, records, newest, process_id, recording)
        set_aside = SetAside()
        on_alarms = notifier.write_notices if notifier else _notify_nobody
        judge_loop = JudgeLoop(
            JudgeInput(live_ask, newest, readings, lambda: create_source(live_ask, clock.now)),
            JudgeStore(records, process_id, clock.now, in_force, on_alarms, set_aside),
            journal,
            in_force,
            clock.now,
            database_clock.lead_s,
            recording,
            notifier,
        )
        rollups = Rollups(databases.rollups, process_id) if databases.rollups else None
        site_alarms = SiteAlarms(live_ask, records, journal, process_id, settings.poll_interval, set_aside, recording)
        test_alarms = AlarmTestRunner(records, on_alarms, clock.now, LEASE, process_id)
        previews = PreviewPool(ask, actions, settings.sensor_database, clock.now, in_force)
        stack.push_async_callback(previews.close)

        # The poller and the actions after each tick
        async def ticked(answered: bool) -> None:
            # A poll may begin before an outage and end after it. The heartbeat decides when the outage ends, because
            # until then the server refuses clients' questions.
            answered = answered and not judge_loop.is_database_lost
            judge_loop.ticked(answered)
            await storehouse_feed.ticked(answered)
            await overview_feed.push()

        async def database_lost() -> None:
            await storehouse_feed.database_lost()
            await overview_feed.push()

        poller = Poller(readings, settings.poll_interval, ticked, database_lost, metrics.ticks.time)
        poller.subscribe(storehouse_feed.add_readings)
        poller.subscribe(directory.check_sensors)
        poller.subscribe(judge_loop.enqueue)
        if rollups is not None:
            poller.subscribe(rollups.consume)  # only new readings: the rollups read earlier ones from the database

        async def heartbeat_changed(answering: bool) -> None:
            judge_loop.is_database_lost = not answering
            if answering:
                poller.wake()
            else:
                judge_loop.ticked(False)
                await database_lost()

        heartbeat = Heartbeat(databases.heartbeat, databases.watched, heartbeat_changed, database_clock)

        # Events and pages
        services = Services(
            settings=settings,
            authenticator=authenticator,
            connections=connections,
            guard=guard,
            audit=audit,
            clients=clients,
            ask=ask,
            newest=newest,
            directory=directory,
            storehouse_feed=storehouse_feed,
            overview_feed=overview_feed,
            journal=journal,
            alarm_actions=AlarmActions(ask, guard, actions, journal, on_alarms),
            rule_actions=RuleActions(ask, actions, guard, clock.now, in_force),
            previews=previews,
        )
        namespace = BrowserNamespace(services)
        sio.register_namespace(namespace)
        revalidation = Revalidation(authenticator, connections, namespace.caller_changed, namespace.end)
        judge = judge_loop if settings.own_alarms.judge else None
        redis = manager if isinstance(manager, RedisManager | LibraryRedisManager) else None
        site_snapshot = (
            None
            if settings.state_database is settings.sensor_database
            else SiteSnapshot(
                records, newest, overview_feed, directory, clock.now, lambda: storehouse_feed.stale, process_id
            )
        )
        start = Start(
            settings,
            origin,
            databases,
            [live_ask, ask],
            in_force,
            source,
            directory,
            poller,
            judge_loop,
            journal,
            storehouse_feed,
            overview_feed,
            site_snapshot,
            lambda which: open_pulse(which, stack),
        )
        health = Health(databases.live, poller, redis, judge, site_alarms, recording, lambda: start.problems)
        metrics.collect_from(
            MetricSources(
                clients,
                namespace,
                sio.rejections,
                audit.counts,
                set_aside.counts,
                manager,
                poller,
                overview_feed,
                judge,
                health,
            )
        )

        # Start
        policy_reload = PolicyReload(authenticator, origin.path, audit.enqueue_if_changed) if origin.path else None
        await start.attempt()
        jobs: dict[str, Callable[[], Coroutine[Any, Any, None]] | None] = {
            "audit writer": audit.run,  # stops last: every other part may still write an entry
            "start": start.run,
            "heartbeat": heartbeat.run,
            "poller": poller.run,
            "directory": directory.run,
            "journal follower": journal.run,
            "site alarms": site_alarms.run,
            "recording": recording.run,
            "judge": judge.run if judge else None,  # stops before the site alarms, which release their common lease
            "test alarms": test_alarms.run,
            "overview feed": overview_feed.run,
            "slow clients": manager.close_stuck_clients,
            "revalidation": revalidation.run,
            "rollups": rollups.run if rollups else None,
            "site snapshot": site_snapshot.run if site_snapshot else None,
            "notifier": notifier.run if notifier else None,
            "redis": redis.listen if redis else None,
            "policy reload": policy_reload.run if policy_reload else None,
            "demo": partial(_run_demo, settings, start.sensors) if settings.is_demo else None,
        }
        for name, job in jobs.items():
            if job is not None:
                await stack.enter_async_context(background_task(name, job()))
        pages = [
            *web.endpoints.routes(health, metrics, authenticator),
            *web.login.routes(authenticator, audit),
            *dashboard.pages.routes(
                partial(web.login.redirect_to_login, authenticator),
                demo.site.CHINESE_NAMES if settings.is_demo else {},
            ),
        ]
        await stack.enter_async_context(serve_http(listener, sio, manager, pages, settings))
        gc_tuning.tune()
        yield RunningServer(listener.url, sio, services, namespace, poller, pages)


def configured_rules(settings: Settings, origin: Source) -> list[Rule]:
    """Return the alarm rules in the settings. Raise `UsageError` if a rule is invalid."""
    try:
        return alarms.rules.parse(settings.rules)
    except ValueError as error:
        raise UsageError(f"{origin.where('rules')}: {error}; see docs/settings.md") from None


async def _run_demo(settings: Settings, prepared: Preparation) -> None:
    await prepared.done.wait()
    await demo.live.run(settings.sensor_database)


def _notifier(
    settings: Settings, state: Database, newest: Newest, process_id: str, recording: Recording
) -> Notifier | None:
    """Return the notifier, or None if the settings have no `notify` section."""
    if settings.notify is None:
        return None
    return Notifier(
        settings.notify, state, newest, Sender(), clock.now, LEASE, process_id, lambda: recording.is_working
    )


def _notify_nobody(_connection: sa.Connection, _alarms: Sequence[Alarm]) -> None:
    pass
