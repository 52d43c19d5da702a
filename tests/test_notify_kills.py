"""Killed at random moments while alarms are told: every notice arrives, and what comes twice says so."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import record.sites
import tables
from tests.serving import Serve
from tests.serving_inside import until
from tests.sites import Site, site
from tests.test_kills import FULL, LONG_S, PACE_S, SHORT, Size, killing
from tests.webhook import Webhook, webhook

RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 8, "no_data": "1h"}]
AHEAD = 4  # alarms that may be on their way at once: all that one message tells of must find room in it
LINE = re.compile(r"^(Alarm|Back to normal): (S\d+) ", re.MULTILINE)


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as found:
        found.settings = where
        yield found


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_a_server_killed_at_random_moments_tells_everything_and_marks_what_it_tells_twice(
    size: Size, built: Site, serve: Serve
) -> None:
    names = [f"S{number}" for number in range(size.steps // 5)]
    with built.database.engine.begin() as connection:
        for name in names:
            built.ids[name] = record.sites.sensor(connection, built.ids["south"], name, "temperature", interval_s=60)
    with webhook() as hook:
        notify = {
            "language": "en",
            "repeat": "1d",
            "group_wait": "0.1s",
            "group_interval": "0.1s",
            "tiers": [[{"name": "duty", "url": hook.url}]],
        }
        settings = {"database": built.settings, "poll_interval": 0.1, "rules": RULES, "notify": notify}
        async with serve(settings) as server, killing(built, server, size.kills) as killed:
            await until(lambda: "judging" in server.log(), LONG_S)
            for place, name in enumerate(names):
                built.add(name, 9.5)
                if place >= AHEAD:
                    built.add(names[place - AHEAD], 5.0)
                    await until(lambda: notices(built)[names[place - AHEAD]] == ["raised", "cleared"], LONG_S)  # noqa: B023
                await asyncio.sleep(PACE_S)
            for name in names[-AHEAD:]:
                built.add(name, 5.0)
            await killed
            await until(lambda: unsent(built) == 0 and len(told(hook)) == 2 * len(names), LONG_S)
        assert {name: whats for name, whats in notices(built).items() if whats != ["raised", "cleared"]} == {}
        assert set(told(hook)) == {(what, name) for what in ("Alarm", "Back to normal") for name in names}
        twice = {line for line, count in told(hook, marked=False).items() if count > 1}
        assert twice == set()


def notices(built: Site) -> dict[str, list[str]]:
    """What is written down to be told of each sensor."""
    notice, episode = tables.notice.c, tables.episode.c
    both = tables.notice.join(tables.episode, notice.episode_id == episode.episode_id)
    wanted = sa.select(episode.sensor_name, notice.what).select_from(both).order_by(notice.notice_id)
    found: dict[str, list[str]] = {name: [] for name in built.ids}
    with built.database.engine.connect() as connection:
        for name, what in connection.execute(wanted):
            found[name].append(what)
    return {name: whats for name, whats in found.items() if name.startswith("S")}


def unsent(built: Site) -> int:
    notice = tables.notice.c
    with built.database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).where(notice.sent.is_(None))) or 0


def told(hook: Webhook, *, marked: bool = True) -> Counter[tuple[str, str]]:
    """How often each line came; without `marked`, only in messages that do not say that they may have come before."""
    messages = [one for one in list(hook.messages) if marked or not str(one["title"]).endswith("(repeat)")]
    lines = [(found[1], found[2]) for one in messages for found in LINE.finditer(str(one["message"]))]
    return Counter(lines)
