"""If the server is killed at random moments, no notice is lost.

A message that is sent again is marked as repeated.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import record.sites
from db import tables
from tests.support.fault_results import RecordResult
from tests.support.judged import outcome
from tests.support.kills import LONG_S, PACE_S, PERSON, Size, acknowledge, in_both_sizes, killing, recovered
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site, site
from tests.support.webhook import Webhook, webhook

RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 8, "no_data": "1d"}]
# Time between the starts of two alarms, and duration of each alarm, according to the times of the readings.
APART, FOR = timedelta(seconds=10), timedelta(seconds=5)
SEEN = 3  # every third alarm is acknowledged
AHEAD = 8  # number of alarms with unsent notices at the same time; all of them must fit into one message
MAY_HAVE_COME = "This message was sent before and may have reached you already."


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    undisturbed, disturbed = ({"path": str(tmp_path / f"{name}.db")} for name in ("undisturbed", "disturbed"))
    with site(undisturbed) as quiet_site, site(disturbed) as disturbed_site:
        quiet_site.settings, disturbed_site.settings = undisturbed, disturbed
        yield [quiet_site, disturbed_site]


@pytest.mark.slow
@in_both_sizes
async def test_random_kills_lose_no_notice_and_repeated_messages_are_marked(
    size: Size, sites: list[Site], serve: Serve, record_result: RecordResult
) -> None:
    names = [f"S{number}" for number in range(size.steps // 5)]
    began = datetime.now(UTC).replace(microsecond=0) - len(names) * APART
    undisturbed, disturbed = sites
    with webhook() as quiet, webhook() as hook:
        async with (
            serve(settings(undisturbed, quiet)) as first,
            serve(settings(disturbed, hook)) as server,
            killing(disturbed, server, size.kills) as killed,
        ):
            await asyncio.gather(play(names, began, undisturbed, first), play(names, began, disturbed, server))
            await killed
            await recovered(disturbed, undisturbed)
            await until(lambda: unsent(disturbed) == 0, LONG_S)
    arrived, expected = len(told(hook)), len(told(quiet))
    record_result("sender killed", kills=size.kills, notices=arrived, expected=expected, repeats=repeats(disturbed))
    assert outcome(disturbed) == outcome(undisturbed)
    assert sum(episode.acknowledged_by == PERSON for episode in outcome(disturbed)) == len(names[::SEEN])
    assert written(disturbed) == written(undisturbed)
    assert set(told(quiet).values()) == {1}
    assert repeats(undisturbed) == 0
    assert told(hook).keys() == told(quiet).keys()
    assert [line for line, count in told(hook, marked=False).items() if count > 1] == []
    # Only a kill causes a message to be sent again, and each kill affects at most one message.
    assert repeats(disturbed) <= size.kills


def settings(built: Site, hook: Webhook) -> dict[str, Any]:
    notify = {
        "language": "en",
        "repeat": "1d",
        "group_wait": "0.1s",
        "group_interval": "0.1s",
        "tiers": [[{"name": "duty", "url": hook.url}]],
    }
    return {"database": built.settings, "poll_interval": 0.1, "rules": RULES, "notify": notify}


async def play(names: list[str], began: datetime, built: Site, server: StorewatchServer) -> None:
    """Raise an alarm at one sensor after another. Acknowledge some of the alarms before they are cleared."""
    with built.database.engine.begin() as connection:
        for name in names:
            built.ids[name] = record.sites.ensure_sensor(
                connection, built.ids["south"], name, "temperature", interval_s=60
            )
    for index, name in enumerate(names):
        since = began + index * APART
        await asyncio.to_thread(built.add, name, 9.5, since)
        if index % SEEN == 0:
            await acknowledge(built, server, (name, "high", since))
        await asyncio.to_thread(built.add, name, 5.0, since + FOR)
        if index >= AHEAD:
            await until(lambda: is_told(built, names[index - AHEAD]), LONG_S)  # noqa: B023 - it is awaited within the iteration
        await asyncio.sleep(PACE_S)
    await until(lambda: all(is_told(built, name) for name in names[-AHEAD:]), LONG_S)


def notices(built: Site) -> list[sa.Row[Any]]:
    """Return all notices. Each row also contains the sensor and the start of the alarm."""
    notice, episode = tables.notice.c, tables.episode.c
    joined = tables.notice.join(tables.episode, notice.episode_id == episode.episode_id)
    wanted = sa.select(tables.notice, episode.sensor_name, episode.since.label("began")).select_from(joined)
    with built.database.engine.connect() as connection:
        return list(connection.execute(wanted))


def is_told(built: Site, name: str) -> bool:
    """Return whether the notice about the end of the sensor's alarm has been sent."""
    return any(row.sensor_name == name and row.what == "cleared" and row.sent for row in notices(built))


def unsent(built: Site) -> int:
    return sum(row.sent is None for row in notices(built))


def written(built: Site) -> set[tuple[Any, ...]]:
    """Return all notices, without the times at which they were written and sent."""
    rows = [
        (row.target, row.sensor_name, row.began, row.number, row.what, row.severity, row.limit)
        for row in notices(built)
    ]
    assert len(rows) == len(set(rows))
    return set(rows)


def repeats(built: Site) -> int:
    """Return the number of repeated attempts to send a message, summed over all messages."""
    return sum(tries - 1 for tries in {row.message_id: row.tries for row in notices(built) if row.message_id}.values())


def told(hook: Webhook, *, marked: bool = True) -> Counter[str]:
    """Return how often each line of text has arrived.

    If `marked` is false, do not count messages that are marked as repeated.
    """
    lines_told: Counter[str] = Counter()
    for message in list(hook.messages):
        _, *lines = str(message["message"]).splitlines()
        repeated = MAY_HAVE_COME in lines
        assert repeated == str(message["title"]).endswith("(resent)")
        if marked or not repeated:
            lines_told.update(line for line in lines if line != MAY_HAVE_COME)
    return lines_told
