"""Odd rows in a site's tables do not stop the alarms of the other sensors."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Client, connected
from tests.support.credentials import fetch
from tests.support.odd_rows import (
    MariaDBSite,
    OddRows,
    OddSite,
    SqliteSite,
    good_alarm,
    good_reading,
    good_rows,
    unique_name,
)
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer

ERROR = re.compile(r"^\S+ \S+ (?:ERROR|WARNING) (.*)$", re.MULTILINE)
SITES = ["sqlite", "utf8mb4", "utf8mb3", "latin1"]
SENSORS = ["first", "second", "third", "site"]
ASKED = 10
"""Number of storehouses about which questions are asked."""
ROWS = 520
"""Number of odd rows in each database. The run has more than 2,000."""


def site_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> tuple[OddSite, dict[str, Any]]:
    """Return a site with tables of this kind, and the `state` settings."""
    if kind == "sqlite":
        return SqliteSite(folder), {"path": str(folder / "state.db")}
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    name = unique_name()
    mariadb.create_database(name)
    return MariaDBSite(mariadb, kind), mariadb.settings(name)


async def raised(client: Client, sensor_id: str) -> dict[str, Any]:
    """Wait for the alarm of a sensor. Return the alarm as it was pushed."""
    while True:
        for alarm in (await client.next("alarms"))["alarms"]:
            if alarm["sensor_id"] == sensor_id:
                return dict(alarm)


async def watch(client: Client) -> None:
    answer = await client.call("register", {"store_house_id": "good"})
    assert answer["ok"], answer


async def breach(site: OddSite, client: Client, sensor: str) -> None:
    """Commit a reading that violates a limit. Check that the sensor's alarm is raised at the time of the reading."""
    rows = good_reading(sensor, 30)
    site.insert(rows)
    alarm = await raised(client, sensor)
    time = rows["reading"][0][1]
    assert (alarm["kind"], alarm["transition"], alarm["late"]) == ("high", "raised", False)
    assert alarm["raised"].removesuffix("Z")[:23] == time.isoformat(timespec="milliseconds").removesuffix(".000")


def errors_of(server: StorewatchServer) -> Counter[str]:
    """Return how often the server has logged each error and each warning."""
    return Counter(ERROR.findall(server.log()))


@pytest.mark.parametrize("kind", SITES)
async def test_odd_rows_do_not_delay_other_alarms(
    kind: str, tmp_path: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
    await check_odd_rows(kind, ROWS, 1, tmp_path, serve, request)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10, 20))
@pytest.mark.parametrize("kind", SITES)
async def test_thousands_of_odd_rows_do_not_delay_other_alarms(
    kind: str, seed: int, tmp_path: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
    await check_odd_rows(kind, 5_000, seed, tmp_path, serve, request)


async def check_odd_rows(
    kind: str, count: int, seed: int, tmp_path: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
    """Insert odd rows while the server runs and before it restarts. Each time, check the alarms of the good sensors."""
    site, state = site_of(kind, tmp_path, request)
    site.insert(good_rows(SENSORS))
    rules = [{"scope": {}, "high": 8, "rate": {"limit": 1e9, "within": "1m"}, "no_data": "10m"}]
    settings = {
        "database": site.settings(),
        "state": state,
        "poll_interval": 0.05,
        "rate_burst": 100_000,
        "rules": rules,
    }
    async with serve(settings, traceback_allowed=True) as server:
        async with connected("python", server.url) as client:
            await watch(client)
            site.insert(OddRows(seed).rows(count))
            await breach(site, client, "first")
            site.insert(good_alarm("theirs"))
            assert (await raised(client, "site"))["alarm_id"] == "theirs"
            await check_answers(client)
        await server.terminate()
        server.start()
        async with connected("python", server.url) as client:
            await watch(client)
            await breach(site, client, "second")
            site.insert(OddRows(seed + 1).rows(count // 10))
            await breach(site, client, "third")
        assert (await fetch(f"{server.url}readyz")).code == 200
    assert {message: times for message, times in errors_of(server).items() if times > 1} == {}


async def check_answers(client: Client) -> None:
    """Check that the good storehouse has all answers, and that no other storehouse causes an internal error."""
    assert (await client.call("overview"))["ok"]
    organisations = (await client.call("orgs"))["data"]
    storehouses = [
        storehouse["store_house_id"]
        for organisation in organisations
        for storehouse in (await client.call("storehouses", organisation["org_id"])).get("data", ())
    ]
    assert "good" in storehouses
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-12-31T00:00:00Z"}
    for store_house_id in ["good", *storehouses[:ASKED]]:
        here = {"store_house_id": store_house_id}
        for event, question in {"querySensors": here, "queryEnvs": here | span}.items():
            answer = await client.call(event, question)
            assert answer["ok"] or answer["error"]["code"] == "not_found", (event, here, answer)
