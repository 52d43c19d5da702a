"""Tests of test alarms and notifications with a running server. One of the tests kills the server.

The tests cover everything from the reading to the acknowledgement.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import record.sites
from alarms import __main__ as command
from alarms.commands import alarm_tests
from db import tables
from tests.support.clients import connected
from tests.support.serving import ROOT, Serve, StorewatchServer, clean_environment
from tests.support.serving_inside import until
from tests.support.sites import Site, site
from tests.support.webhook import PATIENCE, Webhook, webhook
from tests.test_settings import error_line_of


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        built.settings = where
        yield built


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


def settings(built: Site, url: str, **notify: Any) -> dict[str, Any]:
    tiers = [[{"name": "duty", "url": url}]]
    quick = {"tiers": tiers, "group_wait": "0.1s", "group_interval": "0.1s"}
    return {"database": built.settings, "poll_interval": 0.1, "notify": quick | notify}


def start_test_alarm(server: StorewatchServer, *arguments: str) -> "subprocess.Popen[str]":
    """Start `python -m alarms drill` with the server's settings."""
    line = [sys.executable, "-m", "alarms", "drill", "--config", str(server.config), *arguments]
    return subprocess.Popen(line, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)


async def result_of(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Wait for the process to end. Return the exit status and the printed lines, without the times in the lines."""
    output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    return process.returncode, [line[20:].strip() for line in output.splitlines()]


@pytest.mark.slow
async def test_a_test_alarm_is_raised_notified_acknowledged_and_recorded(
    built: Site, hook: Webhook, serve: Serve
) -> None:
    async with serve(settings(built, hook.url)) as server, connected("python", server.url) as client:
        await client.call("register", {"store_house_id": built.ids["north"]})
        running = start_test_alarm(server, "--store-house", "一号库", "--sensor", "Door")
        await until(lambda: hook.messages, PATIENCE)
        assert hook.titles[0].startswith("【测试报警 TEST ALARM】一号库：Door")
        # Wait, because otherwise the acknowledgement may come before the notice is recorded as sent.
        await until(lambda: sent_notices(built), PATIENCE)
        pushed = await client.next("alarms")
        [alarm] = pushed["alarms"]
        assert (alarm["drill"], alarm["kind"], alarm["sensor_name"]) == (True, "drill", "Door")
        answer = await client.call("ackAlarm", {"alarm_id": alarm["alarm_id"], "comment": "on my way", "by": "Li"})
        assert answer["ok"], answer
        status, lines = await result_of(running)
        assert (status, lines) == (
            0,
            [
                "drill 1: requested for sensor Door",
                f"alarm {alarm['alarm_id']} was raised",
                "duty notified: alarm raised",
                "Li acknowledged the alarm: on my way",
                "alarm cleared",
                "duty notified: alarm cleared",
            ],
        )
        assert await result_of(start_test_alarm(server, "--report")) == (0, lines)
        states = [each["transition"] for message in client.received("alarms") for each in message["alarms"]]
        assert states == ["raised", "acknowledged", "cleared"]


def sent_notices(built: Site) -> int:
    """Return the number of notices that are recorded as sent."""
    with built.database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count(tables.notice.c.sent))) or 0


@pytest.mark.slow
async def test_an_unacknowledged_test_alarm_is_cleared_after_its_time(built: Site, hook: Webhook, serve: Serve) -> None:
    async with serve(settings(built, hook.url)) as server:
        status, lines = await result_of(start_test_alarm(server, "--store-house", "South", "--for", "1s"))
        assert status == 1
        assert "alarm cleared; nobody acknowledged it" in lines
        assert "报警已解除：Far" in "".join(hook.texts)


@pytest.mark.slow
async def test_a_message_interrupted_by_a_kill_is_marked_as_resent(built: Site, hook: Webhook, serve: Serve) -> None:
    async with serve(settings(built, hook.url, language="en")) as server:
        hook.on_message = server.kill
        running = start_test_alarm(server, "--store-house", "South")
        await until(lambda: hook.messages, PATIENCE)
        await until(lambda: not server.started, PATIENCE)
        hook.on_message = lambda: None
        await asyncio.to_thread(server.start)
        await until(lambda: len(hook.messages) > 1, PATIENCE)
        assert not hook.titles[0].endswith("(resent)")
        assert hook.titles[1] == f"{hook.titles[0]} (resent)"
        running.terminate()
        await result_of(running)


@pytest.mark.slow
async def test_secrets_are_not_in_the_log(built: Site, hook: Webhook, serve: Serve) -> None:
    hook.fails = True
    url = hook.url.replace("//", "//user:secret@") + "secret?token=secret"
    async with serve(settings(built, url) | {"log_level": "DEBUG"}) as server:
        running = start_test_alarm(server, "--store-house", "South")
        await until(lambda: hook.attempts > 2, PATIENCE)
        running.terminate()
        await result_of(running)
        assert "a message to duty has not arrived" in server.log()
        assert "secret" not in server.log()


@pytest.mark.slow
def test_an_unsupported_apprise_url_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(
        "host: 127.0.0.1\nnotify:\n  tiers: [[{name: duty, url: 'dingdong://secret'}]]"
    )
    for how in ("0", "--check"):
        said = error_line_of(tmp_path, how, "--config", "settings.yaml")
        assert said.startswith("settings.yaml:3 notify.tiers: Apprise does not support the url of 'duty'")
        assert "secret" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "drill: give a storehouse with --store-house"),
        (["--store-house", "East"], "there is no storehouse East; the storehouses are: South, 一号库"),
        (["--store-house", "South", "--sensor", "Door"], "drill: South has no sensor Door; its sensors: Far"),
        (["--store-house", "South", "--for", "soon"], "drill: --for: 'soon' is not a valid duration"),
        (["--store-house", "South"], "drill: no server has raised the test alarm; check that a server is running"),
    ],
)
def test_an_impossible_test_alarm_reports_the_reason(
    arguments: list[str],
    message: str,
    built: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(alarm_tests, "JUDGED_WITHIN_S", 0)
    config = tmp_path / "settings.yaml"
    config.write_text(f"access: open\ndatabase: {{path: {built.settings['path']}}}")
    assert command.main(["drill", "--config", str(config), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"alarms: {message}")


@pytest.mark.slow
async def test_150_alarms_at_once_cause_one_message(built: Site, hook: Webhook, serve: Serve) -> None:
    with built.database.engine.begin() as connection:
        sensors = [
            record.sites.ensure_sensor(connection, built.ids["south"], f"S{number}", "temperature", interval_s=60)
            for number in range(150)
        ]
    rules = [{"scope": {"metric": "temperature"}, "high": 8}]
    slow = {"group_wait": "2s", "language": "en"}
    async with serve(settings(built, hook.url, **slow) | {"rules": rules}) as server:
        await until(lambda: "now evaluates the alarm rules" in server.log(), PATIENCE)
        built.add_all([(sensor_id, datetime.now(UTC), 9.5) for sensor_id in sensors])
        await until(lambda: hook.messages, PATIENCE)
        assert hook.titles == ["[Warning] South: 150 alarms"]
        built.add_all([(sensor_id, datetime.now(UTC), 5.0) for sensor_id in sensors])
        await until(lambda: len(hook.messages) > 1, PATIENCE)
        assert hook.titles[1:] == ["[Cleared] South: 150 alarms"]
