"""What Prometheus is told of this process; docs/operating.md says what each figure means.

What a part keeps anyway is read from it when somebody asks. Only how long something took is noted when it happens.
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
from errors import StorewatchError, Unavailable
from live.overview_feed import Overview
from live.poller import Poller
from server import Browsers
from transport.fanout import Fanout, LibraryManager
from transport.outbox import STUCK, UNSENT
from web.health import Health

FLOOD = "flood"
"""Why a connection is closed that goes on asking too much."""
ANSWERED, REFUSED, UNAVAILABLE, FAILED = "answered", "refused", "unavailable", "failed"
"""How a question to the database ends; refused: what it asked for is not there, or too much."""
KEPT_OUT = ("connect_refused", "login_refused")
"""Actions of the audit trail: somebody was not let in."""
SITE = "site"
"""The transition of an alarm of the site's own system."""
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
"""Seconds: from a look that finds nothing to the longest that any question may take."""


class Parts(NamedTuple):
    """What is read when somebody asks; `door`: how many it refused; `judging` is None where nothing is judged.

    `audited`: how often it was, of what the audit trail only counts, by its word for it.
    """

    clients: Sized
    browsers: Browsers
    door: Mapping[str, int]
    audited: Mapping[str, int]
    fanout: Fanout | LibraryManager
    poller: Poller
    overview: Overview
    judge_loop: JudgeLoop | None
    health: Health


class Metrics:
    """The figures, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.ticks = Histogram(
            "storewatch_tick_seconds",
            "Time to look for new readings, hand them out and push them.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._queries = Histogram(
            "storewatch_query_seconds",
            "Time that questions to the database took, the wait for a connection included.",
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
    def query(self, question: str) -> Iterator[None]:
        """Note how long the question takes that is put in this block, and how it ends."""
        begun, outcome = time.perf_counter(), FAILED
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
            self._queries.labels(question, outcome).observe(time.perf_counter() - begun)

    def follow(self, transitions: Sequence[Transition]) -> None:
        """Take note of what is new in the journal."""
        for one in transitions:
            name = one.alarm.transition
            self._transitions.labels(name if name in TRANSITIONS else SITE).inc()

    def read(self, parts: Parts) -> None:
        """Read these from now on when somebody asks."""
        self._registry.register(_Read(parts))

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return all figures in the form that suits who accepts this, and the form's media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Read(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        """Return what the parts say now."""
        yield from self._connections()
        yield from self._pushes()
        yield from self._data()
        yield from self._alarms()

    def _connections(self) -> Iterable[Metric]:
        browsers = self._parts.browsers
        yield _gauge("connections", "Connections now.", len(self._parts.clients))
        yield CounterMetricFamily("storewatch_connects", "Connections let in.", browsers.connects)
        yield _counters("disconnects", "Connections that ended, by why.", "reason", browsers.disconnects)
        refusals = _from_zero(CODES, browsers.refusals)
        yield _counters("refusals", "Questions that were refused, by what was said.", "code", refusals)
        told = "Requests and clients refused or closed at the door, by why."
        yield _counters("door_refusals", told, "reason", _from_zero(transport.REASONS, self._parts.door))
        kept_out = {action: self._parts.audited.get(action, 0) for action in KEPT_OUT}
        yield _counters("access_refusals", "Connections and logins not let in, by which.", "action", kept_out)

    def _pushes(self) -> Iterable[Metric]:
        fanout = self._parts.fanout
        yield CounterMetricFamily("storewatch_pushes", "Messages pushed, once for each connection.", fanout.pushed)
        told = "Pushed messages not sent, because a newer one took their place."
        yield CounterMetricFamily("storewatch_conflations", told, fanout.conflated)
        closed = {UNSENT: 0.0, STUCK: 0.0, **fanout.closed, FLOOD: self._parts.browsers.floods}
        yield _counters("cutoffs", "Connections closed for how they behaved, by what they did.", "reason", closed)

    def _data(self) -> Iterable[Metric]:
        age_s = time.monotonic() - self._parts.poller.arrived
        yield _gauge("data_age_seconds", "Time since readings last arrived, whichever sensor's.", age_s)
        age_s = self._parts.health.poller_age_s
        yield _gauge("poller_age_seconds", "Time since the database last answered the poller.", age_s)
        parts = self._parts.health.parts()
        yield _gauges("ready", "Whether each part does what it should, 1 or 0.", "part", parts)

    def _alarms(self) -> Iterable[Metric]:
        severities = _from_zero(model.SEVERITIES, self._parts.overview.open_alarms)
        told = "Alarms that are open, the same in every process."
        yield _gauges("alarms_open", told, "severity", severities)
        judge_loop = self._parts.judge_loop
        if judge_loop is not None:
            yield _gauge("judging", "Whether this process is the one that judges, 1 or 0.", judge_loop.is_ours)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"storewatch_{name}", told, value)


def _gauges(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(GaugeMetricFamily(f"storewatch_{name}", told, labels=[label]), values)


def _counters(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(CounterMetricFamily(f"storewatch_{name}", told, labels=[label]), values)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def _from_zero(names: Iterable[str], values: Mapping[str, float]) -> Mapping[str, float]:
    """What has not happened is 0, not nothing: of a figure that begins at 1 no rate can be told."""
    return dict.fromkeys(names, 0.0) | dict(values)
