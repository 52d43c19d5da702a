"""Tests of the replay of recorded readings with `ingest csv --speed`.

The replay writes each row at the time at which the row is due.
"""

import asyncio
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from record import sites
from tests.support.clients import connected
from tests.support.serving import ROOT, Serve
from tests.support.sites import site

LINES = 50  # around the end of daylight saving time on 2021-11-07; the file has 01:00 to 01:45 twice
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
async def test_each_replayed_sample_arrives_once_and_in_order(coldstore: Path, serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built, built.database.engine.begin() as connection:
        org_id = sites.ensure_organisation(connection, "Coldstore")
        store_house_id = sites.ensure_storehouse(connection, org_id, "OCO", "America/Chicago")
    async with (
        serve({"database": where, "poll_interval": TICK_S}) as server,
        connected("node4", server.url) as client,
    ):
        await client.call("register", {"store_house_id": store_house_id})
        arguments = ["--org", "Coldstore", "--store-house", "OCO", "--speed", str(SPEED)]
        command = [
            sys.executable,
            "-m",
            "ingest",
            "csv",
            write_part(coldstore, tmp_path),
            "--config",
            server.config,
            *arguments,
        ]
        replay = await asyncio.create_subprocess_exec(*map(str, command), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
        assert await replay.wait() == 0
        times: list[str] = []
        while len(times) < LINES:
            envs = (await client.next("envs"))["envs"]
            if envs and {env["time"] for env in envs} != {None}:
                (time,) = {env["time"] for env in envs}  # all values of a row are committed together
                assert len(envs) == 10
                times.append(time)
    assert times == sorted(set(times))
    instants = [datetime.fromisoformat(time).astimezone(UTC) for time in times]
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(instants)} == {900}
