"""The Prometheus metrics of this process. docs/operating.md explains each metric.

At each scrape (request from Prometheus), this module reads the counts that the parts of the server keep anyway. Only
durations and alarm transitions are recorded when they occur.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import transport
from alarm_service.judge_loop import JudgeLoop
from alarms import model
from ask.journal import Transition
from common.severity import SEVERITIES
from errors import StorewatchError, Unavailable
from live.overview_feed import OverviewFeed
from live.poller import Poller
from record import set_aside
from server import BrowserNamespace
from transport.fanout import Fanout, LibraryManager
from transport.outbox import STUCK, UNSENT
from web.health import Health

FLOOD = "flood"
"""Reason for closing a connection: the client kept sending too many events."""
ANSWERED, REFUSED, UNAVAILABLE, FAILED = "answered", "refused", "unavailable", "failed"
"""Outcomes of a database query. `refused` means that the data does not exist, or that there is too much of it."""
ACCESS_REFUSALS = ("connect_refused", "login_refused")
"""Actions in the audit trail that record a denied connection and a denied login."""
SITE = "site"
"""Value of the label `transition` for alarms that come from the site's own alarm system."""
TRANSITIONS = (
    model.PENDING,
    model.RAISED,
    model.WORSENED,
    model.ACKNOWLEDGED,
    model.CLEARED,
    model.REOPENED,
    model.CLOSED,
    model.DISMISSED,
    model.WITHDRAWN,
    SITE,
)
CODES = (StorewatchError.code, *(error.code for error in StorewatchError.__subclasses__()))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
"""Upper bounds of the histogram buckets, in seconds.

They range from the duration of a poll without new readings to the longest time limit of a query.
"""


class MetricSources(NamedTuple):
    """The objects from which each scrape by Prometheus reads the current values.

    `rejected_requests` has a count for each reason, `audit_counts` for each action in the audit trail, and `set_aside`
    for each kind of data. `judge_loop` is None if Storewatch evaluates no alarm rules.
    """

    clients: Sized
    namespace: BrowserNamespace
    rejected_requests: Mapping[str, int]
    audit_counts: Mapping[str, int]
    set_aside: Mapping[str, int]
    fanout: Fanout | LibraryManager
    poller: Poller
    overview: OverviewFeed
    judge_loop: JudgeLoop | None
    health: Health


class Metrics:
    """The Prometheus metrics of this process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.ticks = Histogram(
            "storewatch_tick_seconds",
            "Time to poll for new readings, process them and push them.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._queries = Histogram(
            "storewatch_query_seconds",
            "Time of database queries, including the wait for a connection.",
            ["question", "outcome"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._transitions = Counter(
            "storewatch_alarm_transitions",
            "Transitions of alarms in the journal, the same in every process.",
            ["transition"],
            registry=self._registry,
        )
        for name in TRANSITIONS:
            self._transitions.labels(name)

    @contextmanager
    def time_query(self, question: str) -> Iterator[None]:
        """Record the duration and outcome of the query that runs in this block."""
        started, outcome = time.perf_counter(), FAILED
        try:
            yield
            outcome = ANSWERED
        except Unavailable:
            outcome = UNAVAILABLE
            raise
        except StorewatchError:
            outcome = REFUSED
            raise
        finally:
            self._queries.labels(question, outcome).observe(time.perf_counter() - started)

    def count_transitions(self, transitions: Sequence[Transition]) -> None:
        """Count new transitions (changes of the state of an alarm) from the alarm journal."""
        for transition in transitions:
            name = transition.alarm.transition
            self._transitions.labels(name if name in TRANSITIONS else SITE).inc()

    def collect_from(self, sources: MetricSources) -> None:
        """Register the objects from which each scrape by Prometheus reads the current values."""
        self._registry.register(_SourcesCollector(sources))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that the Accept header asks for, and the media type of that format."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _SourcesCollector(Collector):
    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Yield the current values of all metrics that are read at each scrape."""
        yield from self._connections()
        yield from self._pushes()
        yield from self._data()
        yield from self._alarms()

    def _connections(self) -> Iterable[Metric]:
        browsers = self._sources.namespace
        yield _gauge("connections", "Connections now.", len(self._sources.clients))
        yield CounterMetricFamily("storewatch_connects", "Connections accepted.", browsers.connects)
        yield _counters("disconnects", "Connections that ended, by reason.", "reason", browsers.disconnects)
        refusals = _from_zero(CODES, browsers.refusals)
        yield _counters("refusals", "Requests of clients that were answered with an error.", "code", refusals)
        help_text = "HTTP requests and clients rejected before they were connected, by reason."
        rejected = _from_zero(transport.REASONS, self._sources.rejected_requests)
        yield _counters("rejected_requests", help_text, "reason", rejected)
        denied = {action: self._sources.audit_counts.get(action, 0) for action in ACCESS_REFUSALS}
        yield _counters("access_refusals", "Connections and logins denied, by action.", "action", denied)

    def _pushes(self) -> Iterable[Metric]:
        fanout = self._sources.fanout
        yield CounterMetricFamily("storewatch_pushes", "Messages pushed, once for each connection.", fanout.pushed)
        help_text = "Pushed messages not sent to slow clients because a newer message replaced them."
        yield CounterMetricFamily("storewatch_coalesced_messages", help_text, fanout.coalesced)
        closed = {UNSENT: 0.0, STUCK: 0.0, **fanout.closed_slow_clients, FLOOD: self._sources.namespace.floods}
        help_text = "Clients disconnected for flooding or for reading too slowly, by reason."
        yield _counters("closed_clients", help_text, "reason", closed)

    def _data(self) -> Iterable[Metric]:
        age_s = time.monotonic() - self._sources.poller.new_readings_at
        yield _gauge("data_age_seconds", "Time since the last reading of any sensor arrived.", age_s)
        age_s = self._sources.health.poller_age_s
        yield _gauge("poller_age_seconds", "Time since the database last answered the poller.", age_s)
        parts = self._sources.health.parts()
        yield _gauges("ready", "Whether each part works, 1 or 0.", "part", parts)

    def _alarms(self) -> Iterable[Metric]:
        severities = _from_zero(SEVERITIES, self._sources.overview.open_alarms)
        help_text = "Sensors and alarms whose data could not be evaluated or stored, by kind of data."
        counts = _from_zero(set_aside.KINDS, self._sources.set_aside)
        yield _counters("set_aside", help_text, "kind", counts)
        help_text = "Open alarms, the same in every process."
        yield _gauges("alarms_open", help_text, "severity", severities)
        judge_loop = self._sources.judge_loop
        if judge_loop is not None:
            yield _gauge("judging", "Whether this process evaluates the alarm rules, 1 or 0.", judge_loop.is_judging)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"storewatch_{name}", help_text, value)


def _gauges(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(GaugeMetricFamily(f"storewatch_{name}", help_text, labels=[label]), values)


def _counters(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(CounterMetricFamily(f"storewatch_{name}", help_text, labels=[label]), values)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def _from_zero(names: Iterable[str], values: Mapping[str, float]) -> Mapping[str, float]:
    """Return `values`, with 0 for each of the `names` that is missing.

    If a counter first appeared with the value 1, Prometheus would not see an increase.
    """
    return dict.fromkeys(names, 0.0) | dict(values)
