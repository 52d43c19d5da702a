"""The whole way from a reading to a person and back, through a running server: test alarms, and kills on the way."""

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


def requested(server: StorewatchServer, *arguments: str) -> "subprocess.Popen[str]":
    """`python -m alarms drill` with the server's settings."""
    line = [sys.executable, "-m", "alarms", "drill", "--config", str(server.config), *arguments]
    return subprocess.Popen(line, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)


async def ended(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Its exit status, and what it printed without the times."""
    output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    return process.returncode, [line[20:].strip() for line in output.splitlines()]


async def test_a_test_alarm_goes_the_whole_way_and_is_recorded(built: Site, hook: Webhook, serve: Serve) -> None:
    async with serve(settings(built, hook.url)) as server, connected("python", server.url) as client:
        await client.call("register", {"store_house_id": built.ids["north"]})
        running = requested(server, "--store-house", "一号库", "--sensor", "Door")
        await until(lambda: hook.messages, PATIENCE)
        assert hook.titles[0].startswith("【演练 DRILL】一号库：Door")
        await until(lambda: sent(built), PATIENCE)  # an answer might else come before it is written down
        pushed = await client.next("alarms")
        [alarm] = pushed["alarms"]
        assert (alarm["drill"], alarm["kind"], alarm["sensor_name"]) == (True, "drill", "Door")
        answer = await client.call("ackAlarm", {"alarm_id": alarm["alarm_id"], "comment": "on my way", "by": "Li"})
        assert answer["ok"], answer
        status, lines = await ended(running)
        assert (status, lines) == (
            0,
            [
                "drill 1: asked for at Door",
                f"alarm {alarm['alarm_id']} was raised",
                "duty was told that it was raised",
                "Li acknowledged it: on my way",
                "it is over",
                "duty was told that it is over",
            ],
        )
        assert await ended(requested(server, "--report")) == (0, lines)
        states = [each["transition"] for message in client.received("alarms") for each in message["alarms"]]
        assert states == ["raised", "acknowledged", "cleared"]


def sent(built: Site) -> int:
    """How many notices have arrived, as far as is written down."""
    with built.database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count(tables.notice.c.sent))) or 0


async def test_a_test_alarm_that_nobody_acknowledges_ends_by_itself(built: Site, hook: Webhook, serve: Serve) -> None:
    async with serve(settings(built, hook.url)) as server:
        status, lines = await ended(requested(server, "--store-house", "South", "--for", "1s"))
        assert status == 1
        assert "it is over, and nobody has acknowledged it" in lines
        assert "已恢复：Far" in "".join(hook.texts)


async def test_what_was_sent_when_we_were_killed_is_sent_again_and_says_so(
    built: Site, hook: Webhook, serve: Serve
) -> None:
    async with serve(settings(built, hook.url, language="en")) as server:
        hook.on_message = server.kill
        running = requested(server, "--store-house", "South")
        await until(lambda: hook.messages, PATIENCE)
        await until(lambda: not server.started, PATIENCE)
        hook.on_message = lambda: None
        await asyncio.to_thread(server.start)
        await until(lambda: len(hook.messages) > 1, PATIENCE)
        assert not hook.titles[0].endswith("(repeat)")
        assert hook.titles[1] == f"{hook.titles[0]} (repeat)"
        running.terminate()
        await ended(running)


async def test_secrets_are_not_in_the_log(built: Site, hook: Webhook, serve: Serve) -> None:
    hook.fails = True
    url = hook.url.replace("//", "//user:secret@") + "secret?token=secret"
    async with serve(settings(built, url) | {"log_level": "DEBUG"}) as server:
        running = requested(server, "--store-house", "South")
        await until(lambda: hook.attempts > 2, PATIENCE)
        running.terminate()
        await ended(running)
        assert "a message to duty has not arrived" in server.log()
        assert "secret" not in server.log()


def test_a_url_that_apprise_does_not_know_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(
        "host: 127.0.0.1\nnotify:\n  tiers: [[{name: duty, url: 'dingdong://secret'}]]"
    )
    for how in ("0", "--check"):
        said = error_line_of(tmp_path, how, "--config", "settings.yaml")
        assert said.startswith("settings.yaml:3 notify.tiers: Apprise does not know the url of 'duty'")
        assert "secret" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "drill: name a storehouse with --store-house"),
        (["--store-house", "East"], "there is no storehouse East; there are: South, 一号库"),
        (["--store-house", "South", "--sensor", "Door"], "drill: South has no sensor Door; its sensors: Far"),
        (["--store-house", "South", "--for", "soon"], "drill: --for: 'soon' is no duration"),
        (["--store-house", "South"], "drill: no server has taken it up; is one running with these settings?"),
    ],
)
def test_a_test_alarm_that_cannot_be_says_why(
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


async def test_readings_out_of_limits_reach_a_person_and_one_message_tells_of_a_storm(
    built: Site, hook: Webhook, serve: Serve
) -> None:
    with built.database.engine.begin() as connection:
        sensors = [
            record.sites.ensure_sensor(connection, built.ids["south"], f"S{number}", "temperature", interval_s=60)
            for number in range(150)
        ]
    rules = [{"scope": {"metric": "temperature"}, "high": 8}]
    slow = {"group_wait": "2s", "language": "en"}
    async with serve(settings(built, hook.url, **slow) | {"rules": rules}) as server:
        await until(lambda: "judging" in server.log(), PATIENCE)
        built.add_all([(sensor_id, datetime.now(UTC), 9.5) for sensor_id in sensors])
        await until(lambda: hook.messages, PATIENCE)
        assert hook.titles == ["[Warning] South: 150 alarms"]
        built.add_all([(sensor_id, datetime.now(UTC), 5.0) for sensor_id in sensors])
        await until(lambda: len(hook.messages) > 1, PATIENCE)
        assert hook.titles[1:] == ["[cleared] South: 150 alarms"]
