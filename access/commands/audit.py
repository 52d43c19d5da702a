"""`python -m access audit`: verifies or exports the audit trail."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import sqlalchemy as sa

import ask.audit
import settings as settings_module
from access import audit_chain
from access.audit_chain import Tampered
from ask.audit import BEGINNING, ChainHead, Sealed
from cli import add_config, open_for_reading
from db import database
from errors import UsageError

PAGE_SIZE = 1_000
"""Number of audit entries that one query reads."""
FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""Characters that start a formula in a spreadsheet. The full-width characters start a formula only in some programs."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="verify or export the audit trail",
        description="Verify that no entry of the audit trail has been changed, removed or inserted since it was "
        "written, or write all entries to stdout. The exit status is 1 if the verification fails.",
    )
    add_config(parser)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--verify", action="store_true", help="check every entry and name the first wrong one")
    action.add_argument("--export", choices=sorted(EXPORTS), help="write all entries to stdout in this format")
    parser.add_argument("--head", metavar="HASH", help="with --verify: check that one entry has this hash")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify or export the audit trail. Raise `UsageError` if an option is wrong or the database fails."""
    if options.head and not options.verify:
        raise UsageError("audit: --head can only be used with --verify")
    settings, _ = settings_module.load(options.config)
    try:
        with closing(open_for_reading(settings.state_database)) as state, state.engine.connect() as connection:
            if options.verify:
                return _verify(connection, options.head)
            # UTF-8 regardless of the terminal's locale: spreadsheets and programs read the export.
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
            EXPORTS[options.export](_entries(connection, None))
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: {database.reason(error)}") from None
    return 0


def _verify(connection: sa.Connection, expected: str | None) -> int:
    try:
        last = verify(connection, expected)
    except Tampered as error:
        print(f"FAILED: {error}")
        return 1
    print(f"OK: {last.entry_id} entries, the last hash is {last.hash}")
    return 0


def verify(connection: sa.Connection, expected: str | None = None) -> ChainHead:
    """Verify all audit entries, and return the id and hash of the newest one. Raise `Tampered` if an entry is wrong.

    If `expected` is given, also raise `Tampered` if no entry has this hash.
    """
    last, start = BEGINNING, None
    is_met = expected in (None, BEGINNING.hash)
    while True:
        for entry in _entries(connection, start):
            last = audit_chain.verify_entry(last, entry)
            is_met = is_met or last.hash == expected
        # The head is committed together with an entry, and is read here after the entries, so it is never behind them.
        # If the head is ahead, entries were written meanwhile and can be read now.
        head = ask.audit.head(connection)
        if head is None or head.entry_id <= last.entry_id or start == last.entry_id:
            break
        start = last.entry_id
    audit_chain.verify_head(last, head)
    if not is_met:
        raise Tampered(f"no entry has the hash {expected}: the entries up to it were removed or rewritten")
    return last


def _entries(connection: sa.Connection, entry_id: int | None) -> Iterator[Sealed]:
    """Yield the audit entries after the entry with the id `entry_id`. If the id is None, yield all audit entries."""
    while page := ask.audit.after(connection, entry_id, PAGE_SIZE):
        yield from page
        entry_id = page[-1].entry_id


def _csv(entries: Iterable[Sealed]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(Sealed._fields)
    for entry in entries:
        writer.writerow(_without_formula(value) for value in entry)


def _without_formula(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run as a formula. Return any other value unchanged.

    Such a text can come from outside, for example as a user name.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _json(entries: Iterable[Sealed]) -> None:
    separator = "["
    for entry in entries:
        print(separator, json.dumps(entry._asdict(), ensure_ascii=False), sep="\n", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


EXPORTS = {"csv": _csv, "json": _json}
