"""While storehouses move between two organisations, no client receives data that its user may not see."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import TRANSPORTS
from tests.support.credentials import access, token
from tests.support.fault_results import RecordResult
from tests.support.moving import RULES, Resident, Town
from tests.support.serving import Serve
from tests.support.sites import Site, site

PAUSE_S = 0.02


@pytest.mark.slow
async def test_moving_storehouses_leak_nothing_to_other_organisations(
    serve: Serve, tmp_path: Path, record_result: RecordResult
) -> None:
    with site({"path": str(tmp_path / "site.db")}) as built:
        await moving(built, serve, record_result, {"path": built.database.settings.path}, clients=12, moves=60)


@pytest.mark.parametrize("moves", [30, pytest.param(400, marks=pytest.mark.faults)])
async def test_moving_storehouses_leak_nothing_to_200_clients(
    moves: int, serve: Serve, mariadb_database: dict[str, Any], record_result: RecordResult
) -> None:
    with site(mariadb_database) as built:
        await moving(built, serve, record_result, mariadb_database, clients=200, moves=moves)


async def moving(
    built: Site, serve: Serve, record_result: RecordResult, database: dict[str, Any], *, clients: int, moves: int
) -> None:
    town = Town(built, 8)
    settings = {
        "database": database,
        "poll_interval": 0.05,
        "rules": RULES,
        "access": access(),
        "rate_limit": 1000,
        "rate_burst": 10_000,
    }
    async with serve(settings) as server, AsyncExitStack() as running:
        residents = [await connect_resident(running, server.url, town, number) for number in range(clients)]
        ended = asyncio.Event()
        lives = [asyncio.create_task(resident.live(number, ended)) for number, resident in enumerate(residents)]
        for _ in range(moves):
            for what in (town.read, town.move, town.read):
                await asyncio.to_thread(what)
                await asyncio.sleep(PAUSE_S)
        ended.set()
        await asyncio.gather(*lives)
    looked: Counter[str] = sum((resident.looked for resident in residents), Counter())
    refused: Counter[str] = sum((resident.refused for resident in residents), Counter())
    record_result("storehouses move", clients=clients, moves=moves, checked=looked.total())
    assert [leak for resident in residents for leak in resident.leaks] == []
    # If the clients had not received these messages, the check for leaks would prove nothing.
    assert {"envs", "alarms", "overview", "queryEnvs", "queryAlarms", "storehouses"} <= set(looked)
    assert refused["not_found"] > 0
    assert set(refused) <= {"not_found", "unavailable"}


async def connect_resident(running: AsyncExitStack, url: str, town: Town, number: int) -> Resident:
    """Connect a client. One client in eight may see one storehouse. Each of the others may see one organisation."""
    home = list(town.stays)[number // 8 % len(town.stays)] if number % 8 == 7 else None
    org = None if home is not None else number % 2
    visibility: dict[str, Any] = {"organisations": [town.orgs[org]]} if org is not None else {"storehouses": [home]}
    resident = Resident(town, org, home)
    running.push_async_callback(resident.close)
    await resident.connect(url, TRANSPORTS["websocket"], {"token": token(f"resident {number}", **visibility)})
    return resident
