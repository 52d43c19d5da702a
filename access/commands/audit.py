"""`python -m access audit`: whether the audit trail is what was written, and what stands in it."""

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
from cli import add_config, readable
from db import database
from errors import UsageError

PAGE = 1_000
"""Entries in one question."""
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a spreadsheet takes for the beginning of a formula; some take wide characters too."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="who did what, and whether that is all",
        description="Check that no entry of the audit trail has been changed, taken out or put in since it was "
        "written, or write the trail to stdout. The exit status is 1 where it is not what was written.",
    )
    add_config(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--verify", action="store_true", help="check every entry, and name the first that is wrong")
    what.add_argument("--export", choices=sorted(EXPORTS), help="write all entries to stdout")
    parser.add_argument("--head", metavar="HASH", help="with --verify: a hash that it printed before, kept elsewhere")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify or export; raises `UsageError`."""
    if options.head and not options.verify:
        raise UsageError("audit: --head is something to --verify")
    settings, _ = settings_module.load(options.config)
    try:
        with closing(readable(settings.state_database)) as state, state.engine.connect() as connection:
            if options.verify:
                return _verify(connection, options.head)
            # Elsewhere than here a spreadsheet or a program reads it, whatever the language of this terminal.
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
            EXPORTS[options.export](_entries(connection, None))
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: {database.reason(error)}") from None
    return 0


def _verify(connection: sa.Connection, known: str | None) -> int:
    try:
        last = verify(connection, known)
    except Tampered as error:
        print(f"NOT what was written: {error}")
        return 1
    print(f"OK: {last.entry_id} entries, the last hash is {last.hash}")
    return 0


def verify(connection: sa.Connection, known: str | None = None) -> ChainHead:
    """Return the last entry's id and hash; raises `Tampered`. `known` is the hash of one that was there before."""
    last, start = BEGINNING, None
    seen = known in (None, BEGINNING.hash)
    while True:
        for entry in _entries(connection, start):
            last = audit_chain.follow(last, entry)
            seen = seen or last.hash == known
        # An entry is committed together with the head, which is read after the entries: it is never behind them, and
        # where it is ahead, what was written meanwhile is there to be read.
        head = ask.audit.head(connection)
        if head is None or head.entry_id <= last.entry_id or start == last.entry_id:
            break
        start = last.entry_id
    audit_chain.end(last, head)
    if not seen:
        raise Tampered(f"no entry has the hash {known}: what came up to it was cut off, or written anew")
    return last


def _entries(connection: sa.Connection, entry_id: int | None) -> Iterator[Sealed]:
    """Give all entries after this one."""
    while page := ask.audit.after(connection, entry_id, PAGE):
        yield from page
        entry_id = page[-1].entry_id


def _csv(entries: Iterable[Sealed]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(Sealed._fields)
    for entry in entries:
        writer.writerow(_harmless(value) for value in entry)


def _harmless(value: object) -> object:
    """Return what a spreadsheet shows and does not run: anybody may try to sign in as `=HYPERLINK(...)`."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _json(entries: Iterable[Sealed]) -> None:
    mark = "["
    for entry in entries:
        print(mark, json.dumps(entry._asdict(), ensure_ascii=False), sep="\n", end="")
        mark = ","
    print("[]" if mark == "[" else "\n]")


EXPORTS = {"csv": _csv, "json": _json}
