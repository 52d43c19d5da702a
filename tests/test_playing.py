"""Tests of the replay of recorded readings with `ingest csv --speed`.

The replay writes each row at the time at which the row is due.
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from ask.readings import Reading
from record import sites
from tests.support.clients import Client, connected
from tests.support.serving import ROOT, with_defaults
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import site

LINES = 50  # around the end of daylight saving time on 2021-11-07; the file has 01:00 to 01:45 twice
SENSORS = 10
TICK_S = 0.05
SPEED = 900 / (4 * TICK_S)  # one sample every four polls


def write_part(coldstore: Path, folder: Path) -> Path:
    """Write the cold store's readings around the repeated hour to a file. Return the path of the file."""
    header, *lines = (coldstore / "readings.csv").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("2021-11-06 22:00"))
    played = folder / "part.csv"
    played.write_text("\n".join([header, *lines[start : start + LINES]]) + "\n")
    assert played.read_text().count("2021-11-07 01:30") == 2
    return played


@pytest.mark.slow
async def test_each_replayed_sample_arrives_once_and_in_order(coldstore: Path, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built, built.database.engine.begin() as connection:
        org_id = sites.ensure_organisation(connection, "Coldstore")
        store_house_id = sites.ensure_storehouse(connection, org_id, "OCO", "America/Chicago")
    handed_out: list[Reading] = []

    async def keep(readings: Sequence[Reading]) -> None:
        handed_out.extend(readings)

    async with (
        serving_inside({"database": where, "poll_interval": TICK_S}) as inside,
        connected("node4", inside.url) as client,
    ):
        inside.server.poller.subscribe(keep)
        await client.call("register", {"store_house_id": store_house_id})
        config = tmp_path / "settings.yaml"
        config.write_text(yaml.safe_dump(with_defaults({"database": where})))
        arguments = ["--org", "Coldstore", "--store-house", "OCO", "--speed", str(SPEED)]
        command = [
            sys.executable,
            "-m",
            "ingest",
            "csv",
            write_part(coldstore, tmp_path),
            "--config",
            config,
            *arguments,
        ]
        replay = await asyncio.create_subprocess_exec(*map(str, command), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
        assert await replay.wait() == 0
        await until(lambda: len(handed_out) >= SENSORS * LINES)
        times = list(dict.fromkeys(reading.time for reading in handed_out))
        await until(lambda: pushed(client)[-1] == times[-1])
    assert [reading.time for reading in handed_out] == [time for time in times for _ in range(SENSORS)]
    assert len({(reading.sensor_id, reading.time) for reading in handed_out}) == len(handed_out)
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(times)} == {900}
    shown = pushed(client)  # two samples may arrive in one poll, and only the newer one is pushed
    assert shown == sorted(set(shown))


def pushed(client: Client) -> list[datetime]:
    """Return the time of each push with readings."""
    times = [{env["time"] for env in told["envs"]} for told in client.received("envs")]
    assert all(len(same) <= 1 for same in times)  # all values of a row are committed together
    return [datetime.fromisoformat(time) for same in times for time in same if time is not None]
