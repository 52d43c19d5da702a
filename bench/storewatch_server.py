"""Runs the complete Storewatch server (see `app.serve`) with a small SQLite database, so that it can be measured.

To start it: `python -m bench.storewatch_server PING_S FOLDER [library] [patient]`. The arguments are:

- PING_S: the ping interval in seconds. 0 means Storewatch's default.
- FOLDER: the folder for the database.
- library: send messages with python-socketio's own code. Storewatch normally does so only if it does not support the
  installed library versions.
- patient: never close a client that stops reading.

The poll interval is so long that the server does not poll during a measurement. Like the other measured servers, this
server answers `orgs` with a constant. `bench.scaling` measures `orgs` with its database query.
"""

import asyncio
import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

import logger
import server
from access.connection import Request
from app.serve import serving
from ask.answers import Organisation
from bench import control, message
from db.database import Database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from settings import Alarms, Settings, Source
from settings import Database as DatabaseSettings
from transport import fanout

FOREVER_S = 1e6
SETTINGS = Settings(
    host="127.0.0.1",
    access="open",
    alarms=Alarms(judge=False),
    poll_interval=FOREVER_S,
    max_per_address=10**6,
    rate_limit=1e9,
    rate_burst=10**9,
)


async def serve(ping_s: int, folder: Path, library: bool, patient: bool) -> None:
    """Serve until stdin ends."""
    logger.configure(SETTINGS.log_level)
    server.PING_INTERVAL_S = ping_s or server.PING_INTERVAL_S
    server.EVENTS["orgs"] = replace(server.EVENTS["orgs"], handler=_organisations)
    if library:
        fanout.can_write_directly = lambda: False
    settings = msgspec.structs.replace(
        SETTINGS, database=_filled(folder), max_stuck=FOREVER_S if patient else SETTINGS.max_stuck
    )
    async with serving(settings, Source(None), 0) as running:
        services = running.services

        async def push() -> None:
            await services.storehouse_feed.push(services.clients.watched())

        control.say(port=urlsplit(running.url).port)
        await control.obey(control.pushing(push))


async def _organisations(_services: server.Services, _request: Request) -> list[Organisation]:
    return message.ORGANISATIONS


def _filled(folder: Path) -> DatabaseSettings:
    """Create a database with the storehouses of the benchmark. Return the `database` settings for this database."""
    settings = DatabaseSettings(path=str(folder / f"storewatch-{os.getpid()}.db"))
    migrate(settings)
    with closing(Database(settings, BATCH_LIMITS, 1, writes=True)) as database, database.engine.begin() as connection:
        message.fill(connection)
    return settings


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), "library" in sys.argv, "patient" in sys.argv))
