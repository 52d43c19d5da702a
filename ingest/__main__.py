"""The command `python -m ingest`: imports readings."""

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
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from errors import UsageError
from ingest import load, table
from ingest.arguments import parse_arguments
from ingest.import_stats import ImportStats
from ingest.report import report
from ingest.series import moments
from ingest.site import Destination, Site, find_or_create_site
from ingest.table import Row, Table

RESUME_HINT = "The readings imported so far are kept; run the same command again to continue."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    The status is 0 if everything was imported, 1 if some rows or cells were skipped, 2 if the import failed, and 130 if
    it was interrupted.
    """
    try:
        return _import_csv(parse_arguments(argv))
    except UsageError as error:
        return _fail(str(error), 2)
    except sa.exc.DBAPIError as error:
        return _fail(f"database: {database.reason(error)}. {RESUME_HINT}", 2)
    except KeyboardInterrupt:
        return _fail(f"interrupted. {RESUME_HINT}", 130)


def _fail(message: str, status: int) -> int:
    print(f"ingest: {message}", file=sys.stderr)
    return status


def _import_csv(arguments: argparse.Namespace) -> int:
    db_settings = _database(arguments.config)
    destination = Destination(
        arguments.org, arguments.store_house, arguments.time_zone, arguments.metric, arguments.unit
    )
    with table.open_table(arguments.file) as (csv_table, raw):
        if arguments.speed and csv_table.step and csv_table.step < timedelta(0):
            raise UsageError("--speed: the newest rows come first in this file; sort the file by time")
        migrate(db_settings)
        db = database.Database(db_settings, BATCH_LIMITS, 1, writes=True)
        try:
            with db.engine.begin() as connection:
                interval_s = abs(csv_table.step).total_seconds() if csv_table.step else None
                site = find_or_create_site(connection, destination, csv_table.sensor_names, interval_s)
            stats = _import(db.engine, site, csv_table, raw, arguments.speed)
        finally:
            db.close()
    print(f"{arguments.file} into {destination.store_house_name} of {destination.org_name}, {db_settings!r}:")
    print("\n".join(report(stats, zone_was_named=arguments.time_zone is not None)))
    return 0 if stats.is_complete else 1


def _database(config: str | None) -> settings.Database:
    loaded, _ = settings.load(config)
    db_settings = loaded.database or settings.Database()
    if db_settings.map is not None:
        raise UsageError(
            "database.map: Storewatch never writes to the site's tables; name a database without database.map"
        )
    return db_settings


def _import(
    engine: sa.Engine, site: Site, csv_table: Table, raw: io.BufferedReader, speed: float | None
) -> ImportStats:
    with _progress_bar(os.fstat(raw.fileno()).st_size) as bar:
        stats = ImportStats(site.time_zone, csv_table.step, report=_print_beside(bar))
        pending = moments(_with_progress(csv_table, raw, bar), site.time_zone, csv_table.step, stats)
        if speed:
            load.replay(engine, site, pending, stats, load.ReplaySpeed(speed))
        else:
            load.load_all(engine, site, pending, stats)
    return stats


def _progress_bar(size: int) -> "tqdm[NoReturn]":
    # A short import shows no progress bar. In a log, every update adds a line, so the bar is updated only every 10 s.
    delay, interval = (0.5, 0.1) if sys.stderr.isatty() else (10, 10)
    # Without an explicit size, the bar is hidden on terminals that report no size.
    ncols, nrows = shutil.get_terminal_size()
    return tqdm(total=size, unit="B", unit_scale=True, delay=delay, mininterval=interval, ncols=ncols, nrows=nrows)


def _print_beside(bar: "tqdm[NoReturn]") -> Callable[[str], None]:
    # The bar's own method `write` would draw the bar even if the bar is disabled.
    def print_line(line: str) -> None:
        if sys.stderr.isatty():
            bar.clear()
        print(line, file=sys.stderr)

    return print_line


def _with_progress(csv_table: Table, raw: io.BufferedReader, bar: "tqdm[NoReturn]") -> Iterator[Row]:
    for row in csv_table:
        bar.update(raw.tell() - bar.n)
        yield row


if __name__ == "__main__":
    sys.exit(main())
