"""The Prometheus metrics count correctly, and match the documentation, the alert rules and the Grafana dashboard."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as families
from tornado.httpclient import AsyncHTTPClient

from live.storehouse_feed import room
from tests.support import credentials
from tests.support.clients import ConnectRefused, connected
from tests.support.serving import ROOT, Serve, StorewatchServer, served
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from transport.recipients import Recipients

HANG = 60.0  # seconds; only a hang takes this long
POLL_S = 0.05
NOBODY = 10**9  # an unused id
DEPLOY = ROOT / "deploy"
DOCUMENTATION = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| [^|]+ \|([^|]*)\| (.+) \|$", re.MULTILINE)

Figures = dict[str, float]
"""Values of metrics. The keys are names with labels, as Prometheus writes them."""


@pytest.fixture
def our_site(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        built.settings = {"database": where, "poll_interval": 0.05}
        yield built


async def page(url: str, accept: str = "text/plain") -> str:
    answer = await AsyncHTTPClient().fetch(f"{url}metrics", headers={"Accept": accept})
    return answer.body.decode()


def figures(text: str) -> Figures:
    return {
        _written(sample.name, sample.labels): sample.value for family in families(text) for sample in family.samples
    }


def _written(name: str, labels: dict[str, str]) -> str:
    label_text = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{label_text}}}" if label_text else name


async def become(url: str, condition: Callable[[Figures], bool]) -> Figures:
    """Wait until the metrics satisfy the condition. Return the metrics."""
    async with asyncio.timeout(HANG):
        while not condition(metrics := figures(await page(url))):  # noqa: ASYNC110 - the page can only be polled
            await asyncio.sleep(POLL_S)
    return metrics


@pytest.mark.slow
async def test_metrics_count_connections_queries_pushes_and_alarms(our_site: Site, serve: Serve) -> None:
    answered = 'storewatch_query_seconds_count{outcome="answered",question="organisations.organisations"}'
    refused = 'storewatch_query_seconds_count{outcome="refused",question="organisations.organisation"}'
    async with serve(our_site.settings) as server:
        before = figures(await page(server.url))
        assert before["storewatch_connections"] == before["storewatch_connects_total"] == 0
        assert before["storewatch_pushes_total"] == 0
        async with connected("python", server.url) as client:
            await client.call("orgs")
            await client.call("storehouses", NOBODY)
            await client.call("storehouses", None)
            await client.call("no such event")
            asked = figures(await page(server.url))
            assert asked["storewatch_connections"] == asked["storewatch_connects_total"] == 1
            assert asked[answered] == before[answered] + 1
            assert asked[refused] == 1
            for code in ("not_found", "bad_request", "unknown_event"):
                assert asked[f'storewatch_refusals_total{{code="{code}"}}'] == 1
            assert asked['storewatch_refusals_total{code="internal"}'] == 0

            await client.call("register", our_site.ids["north"])
            await client.call("register", {"store_house_id": our_site.ids["north"]})
            our_site.add("temperature", 5.5)
            pushed = await become(server.url, lambda now: now["storewatch_pushes_total"] >= 1)
            assert pushed["storewatch_tick_seconds_count"] > before["storewatch_tick_seconds_count"]
            assert pushed["storewatch_data_age_seconds"] < HANG

            our_site.raise_alarm("temperature", datetime.now(UTC))
            alarmed = await become(server.url, lambda now: now['storewatch_alarms_open{severity="warning"}'] == 1)
            assert alarmed['storewatch_alarm_transitions_total{transition="site"}'] == 1
            assert alarmed['storewatch_alarm_transitions_total{transition="raised"}'] == 0
        left = await become(server.url, lambda now: now["storewatch_connections"] == 0)
        assert sum(value for name, value in left.items() if name.startswith("storewatch_disconnects_total")) == 1
        assert left["storewatch_connects_total"] == 1


@pytest.mark.slow
async def test_storewatchs_own_alarms_are_counted_by_transition(our_site: Site, serve: Serve) -> None:
    rules = [{"scope": {"metric": "temperature"}, "high": {"limit": 8, "severity": "critical", "reopen": 0}}]
    async with serve(our_site.settings | {"rules": rules}) as server:
        await become(server.url, lambda now: now["storewatch_judging"] == 1)
        our_site.add("temperature", 9.0)
        values = await become(server.url, lambda now: now['storewatch_alarms_open{severity="critical"}'] == 1)
        assert values['storewatch_alarm_transitions_total{transition="raised"}'] == 1
        our_site.add("temperature", 4.0)
        values = await become(server.url, lambda now: now['storewatch_alarms_open{severity="critical"}'] == 0)
        assert values['storewatch_alarm_transitions_total{transition="cleared"}'] == 1
        assert values['storewatch_alarm_transitions_total{transition="site"}'] == 0


@pytest.mark.slow
async def test_coalesced_messages_and_closed_slow_clients_are_counted(our_site: Site) -> None:
    async with serving_inside(our_site.settings) as inside, connected("python", inside.url) as client:
        await until(lambda: inside.server.namespace.connects)
        manager = inside.server.sio.manager
        (sid,) = manager.rooms["/"][None]
        recipients = Recipients([room(sid)])
        # The client runs in the same event loop, and a push never waits. Therefore the client reads nothing here.
        for _ in range(200):
            await manager.push("picture", "x" * 100_000, recipients, "picture")
        assert manager.coalesced > 0
        await manager.push("picture", "x" * 1_000_000, recipients)
        assert manager.pushed == 201
        assert manager.closed_slow_clients == {"unsent": 1}
        await client.disconnected.wait()
        values = figures(await page(inside.url))
        assert values["storewatch_pushes_total"] == 201
        assert values["storewatch_coalesced_messages_total"] == manager.coalesced
        assert values['storewatch_closed_clients_total{reason="unsent"}'] == 1
        assert values['storewatch_closed_clients_total{reason="stuck"}'] == 0


@pytest.mark.slow
async def test_refused_logins_and_connections_are_counted(our_site: Site, serve: Serve) -> None:
    async with serve(our_site.settings | {"access": credentials.access(credentials.user())}) as server:
        for _ in range(2):
            await credentials.post(f"{server.url}login", "name=li&password=wrong")
        with pytest.raises(ConnectRefused):
            async with connected("python", server.url):
                pass
        shown = {"Authorization": f"Bearer {credentials.token()}"}
        values = figures((await credentials.fetch(f"{server.url}metrics", headers=shown)).body.decode())
    assert values['storewatch_access_refusals_total{action="login_refused"}'] == 2
    assert values['storewatch_access_refusals_total{action="connect_refused"}'] == 1


async def test_metrics_are_only_in_their_own_registry(our_site: Site) -> None:
    async with serving_inside(our_site.settings) as inside:
        assert "storewatch_connections" in await page(inside.url)
        assert b"storewatch" not in generate_latest(REGISTRY)
    async with serving_inside(our_site.settings) as another:
        assert figures(await page(another.url))["storewatch_tick_seconds_count"] < NOBODY


@pytest.mark.slow
async def test_input_from_outside_never_becomes_a_label(our_site: Site, serve: Serve) -> None:
    planted = 'planted"} 1\nplanted'
    async with serve(our_site.settings) as server:
        async with connected("python", server.url, query={"tab": planted}) as client:
            for event in (planted, "orgs", "register", "storehouses", "queryAlarms"):
                await client.call(event, planted)
                await client.call(event, {planted: planted, "store_house_id": planted, "org_id": planted})
        our_site.raise_alarm("temperature", datetime.now(UTC), severity="planted", kind="planted")
        await become(server.url, lambda now: now['storewatch_alarms_open{severity="warning"}'] == 1)
        assert "planted" not in await page(server.url)


@pytest.mark.slow
async def test_openmetrics_is_sent_on_request(our_site: Site, serve: Serve) -> None:
    async with serve(our_site.settings) as server:
        text = await page(server.url, "application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert "storewatch_connects" in {family.name for family in openmetrics(text)}  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Metric]:
    """Return all metrics of a server.

    Before that, a client connects and disconnects, because the metric of disconnects has no labels until this happens.
    """
    folder = tmp_path_factory.mktemp("everything")
    where = {"path": str(folder / "site.db")}
    with site(where), served(StorewatchServer(folder, {"database": where})) as server:
        text = asyncio.run(come_and_go(server.url))
    return [family for family in families(text) if not family.name.endswith("_created")]


async def come_and_go(url: str) -> str:
    async with connected("python", url):
        pass
    await become(url, lambda now: any(name.startswith("storewatch_disconnects_total") for name in now))
    return await page(url)


def name_of(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def labels_of(metric: Metric) -> dict[str, set[str]]:
    """Return the values of each label of a metric."""
    labels: dict[str, set[str]] = {}
    for sample in metric.samples:
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    labels.pop("le", None)  # a label that only the buckets of a histogram have
    return labels


@pytest.mark.slow
def test_the_documentation_lists_exactly_the_existing_metrics(everything: list[Metric]) -> None:
    documented = {
        (name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in ROW.findall(DOCUMENTATION)
    }
    assert documented == {(name_of(metric), metric.type, frozenset(labels_of(metric))) for metric in everything}


@pytest.mark.slow
def test_the_documentation_lists_each_label_value(everything: list[Metric]) -> None:
    documented = {name: set(re.findall(r"`([^`]+)`", meaning)) for name, _, _, meaning in ROW.findall(DOCUMENTATION)}
    for metric in everything:
        for label, values in labels_of(metric).items():
            if label != "question":
                assert values <= documented[name_of(metric)]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    assert group.keys() == {"name", "rules"}
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    board = json.loads((DEPLOY / "grafana" / "storewatch.json").read_text(encoding="utf-8"))
    return list(board["panels"])


def expressions() -> list[str]:
    """Return the expressions of the alert rules and the dashboard, with variables filled in as Grafana does."""
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    filled = [expr.replace("$__rate_interval", "1m").replace("$job", "storewatch") for expr in of_panels]
    return [alert["expr"] for alert in alerts()] + [expr.replace("$instance", ".*") for expr in filled]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return the metric selectors in a PromQL expression. Raise ValueError if the expression is invalid."""
    vector_selectors: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            vector_selectors.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            vector_selectors.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return vector_selectors


def grouped_by(expression: str) -> set[str]:
    return {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in re.findall(r"\w+", labels)}


def test_alerts_and_dashboard_use_existing_metrics_and_labels(everything: list[Metric]) -> None:
    labels: dict[str, set[str]] = {"up": {"job", "instance"}}
    for metric in everything:
        for sample in metric.samples:
            # Prometheus adds these two labels to every sample.
            labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    for expression in expressions():
        named = selectors(expression)
        assert named, expression
        for selector in named:
            assert selector.name in labels, expression
            assert {matcher.name for matcher in selector.matchers.matchers} <= labels[selector.name], expression
            assert grouped_by(expression) <= labels[selector.name], expression


def test_alerts_and_dashboard_use_documented_label_values(everything: list[Metric]) -> None:
    """The test uses the documented label values, because this server has no Redis and not every event has happened."""
    documented = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", DOCUMENTATION))
    for expression in expressions():
        for selector in selectors(expression):
            for matcher in selector.matchers.matchers:
                if matcher.name not in ("job", "instance"):
                    assert set(matcher.value.split("|")) <= documented, expression


def test_each_alert_is_complete_and_documented() -> None:
    assert len({alert["alert"] for alert in alerts()}) == len(alerts())
    for alert in alerts():
        assert alert.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[sm]", alert.get("for", "0s"))
        assert f"`{alert['alert']}`" in DOCUMENTATION
        # A sum over all processes has no instance label.
        kept = grouped_by(alert["expr"]) or {"instance"}
        assert set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"]))) <= kept


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for panel in panels():
        position = panel["gridPos"]
        columns, rows = (
            range(position["x"], position["x"] + position["w"]),
            range(position["y"], position["y"] + position["h"]),
        )
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken
        assert columns.stop <= 24
        taken |= cells
