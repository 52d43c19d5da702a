"""The command `python -m ingest`: it composes what an import needs."""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import NoReturn

import sqlalchemy as sa
from tqdm import tqdm

import settings
from db import database
from errors import UsageError
from ingest import load, table
from ingest.arguments import parse
from ingest.import_stats import Tally
from ingest.report import report
from ingest.series import moments
from ingest.site import Destination, Site, settle
from ingest.table import Row, Table

AGAIN = "What was committed stays; the same command again goes on from there."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 all went in, 1 some was left out, 2 it could not be done."""
    try:
        return _csv(parse(argv))
    except UsageError as error:
        return _fail(str(error), 2)
    except sa.exc.DBAPIError as error:
        return _fail(f"database: {database.reason(error)}. {AGAIN}", 2)
    except KeyboardInterrupt:
        return _fail(f"interrupted. {AGAIN}", 130)


def _fail(message: str, status: int) -> int:
    print(f"ingest: {message}", file=sys.stderr)
    return status


def _csv(arguments: argparse.Namespace) -> int:
    db_settings = _database(arguments.config)
    wanted = Destination(arguments.org, arguments.store_house, arguments.time_zone, arguments.metric, arguments.unit)
    with table.opened(arguments.file) as (sheet, raw):
        if arguments.speed and sheet.step and sheet.step < timedelta(0):
            raise UsageError("--speed: the newest rows come first in this file; sort it by time")
        database.migrate(db_settings)
        db = database.Database(db_settings, database.WORKING, 1, writes=True)
        try:
            with db.engine.begin() as connection:
                interval_s = abs(sheet.step).total_seconds() if sheet.step else None
                site = settle(connection, wanted, sheet.sensor_names, interval_s)
            tally = _import(db.engine, site, sheet, raw, arguments.speed)
        finally:
            db.close()
    print(f"{arguments.file} into {wanted.store_house_name} of {wanted.org_name}, {db_settings!r}:")
    print("\n".join(report(tally, zone_was_named=arguments.time_zone is not None)))
    return 0 if tally.is_complete else 1


def _database(config: str | None) -> settings.Database:
    loaded, _ = settings.load(config)
    db_settings = loaded.database or settings.Database()
    if db_settings.map is not None:
        raise UsageError(
            "database.map: these tables are the site's own, which are never written to; name another database"
        )
    return db_settings


def _import(engine: sa.Engine, site: Site, sheet: Table, raw: io.BufferedReader, speed: float | None) -> Tally:
    with _progress(os.fstat(raw.fileno()).st_size) as bar:
        tally = Tally(site.time_zone, sheet.step, say=_beside(bar))
        coming = moments(_watched(sheet, raw, bar), site.time_zone, sheet.step, tally)
        if speed:
            load.paced(engine, site, coming, tally, load.RateLimit(speed))
        else:
            load.at_once(engine, site, coming, tally)
    return tally


def _progress(size: int) -> "tqdm[NoReturn]":
    # A short import needs none. In a log, where each state takes room, a long one shows it now and then.
    delay, interval = (0.5, 0.1) if sys.stderr.isatty() else (10, 10)
    # On a terminal that does not tell its size the bar would hide itself.
    ncols, nrows = shutil.get_terminal_size()
    return tqdm(total=size, unit="B", unit_scale=True, delay=delay, mininterval=interval, ncols=ncols, nrows=nrows)


def _beside(bar: "tqdm[NoReturn]") -> Callable[[str], None]:
    # The bar's own `write` would draw it where it is not wanted.
    def say(line: str) -> None:
        if sys.stderr.isatty():
            bar.clear()
        print(line, file=sys.stderr)

    return say


def _watched(sheet: Table, raw: io.BufferedReader, bar: "tqdm[NoReturn]") -> Iterator[Row]:
    for row in sheet:
        bar.update(raw.tell() - bar.n)
        yield row


if __name__ == "__main__":
    sys.exit(main())
