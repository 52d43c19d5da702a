"""The audit trail is a hash chain. Verification detects every change of the chain."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

import ask.audit
import settings
from access import __main__ as command
from access.audit_chain import Tampered
from access.commands.audit import verify
from ask.audit import Sealed
from db import tables
from db.database import Database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from record import audit
from record.audit import Entry
from tests.support.audited import ENTRIES, NOW, entries, many_at_once, write
from tests.support.services.mariadb import MariaDB
from tests.support.serving import ROOT

KINDS = ("sqlite", "mariadb")
LAST = len(ENTRIES)


@pytest.fixture(scope="module", params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"path": str(tmp_path_factory.mktemp("audit") / "state.db")}
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    name = f"audit_{time.monotonic_ns()}"
    mariadb.create_database(name)
    return mariadb.settings(name)


@pytest.fixture(scope="module")
def state(where: dict[str, Any]) -> Iterator[Database]:
    """A database with the audit entries `ENTRIES`. Each test undoes the changes that it makes."""
    database_settings = settings.Database(**where)
    migrate(database_settings)
    database = Database(database_settings, BATCH_LIMITS, 2, writes=True)
    write(database.engine)
    yield database
    database.close()


@pytest.fixture
def connection(state: Database) -> Iterator[sa.Connection]:
    with state.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def tampering(connection: sa.Connection, expected: str | None = None) -> str:
    """Return the text with which `verify` reports tampering."""
    with pytest.raises(Tampered) as caught:
        verify(connection, expected)
    return str(caught.value)


def change(connection: sa.Connection, which: int, **values: Any) -> None:
    connection.execute(sa.update(tables.audit).where(tables.audit.c.entry_id == which).values(values))


def test_entries_record_user_action_time_address_and_change(connection: sa.Connection) -> None:
    stored = entries(connection)
    assert [(entry.entry_id, entry.action, entry.who, entry.address, entry.subject) for entry in stored] == [
        (number, entry.action, entry.who, entry.address, entry.subject) for number, entry in enumerate(ENTRIES, 1)
    ]
    assert {entry.time for entry in stored} == {"2026-11-22T12:00:00.123Z"}
    pairs = [tuple(None if content is None else json.loads(content) for content in entry[6:8]) for entry in stored]
    assert pairs == [(entry.before, entry.after) for entry in ENTRIES]


def test_an_empty_trail_passes_verification(tmp_path: Path) -> None:
    where = settings.Database(path=str(tmp_path / "state.db"))
    migrate(where)
    database = Database(where, BATCH_LIMITS, 1, writes=True)
    with database.engine.connect() as connection:
        assert verify(connection).entry_id == 0
    database.close()


def test_a_rolled_back_entry_leaves_no_gap(state: Database, connection: sa.Connection) -> None:
    with connection.begin_nested() as nested:
        audit.append(connection, Entry("acknowledged", "Li", ""), NOW)
        nested.rollback()
    assert audit.append(connection, Entry("acknowledged", "Wu", ""), NOW).entry_id == LAST + 1
    assert verify(connection).entry_id == LAST + 1


def test_long_fields_are_cut_and_surrogates_are_replaced(connection: sa.Connection) -> None:
    sealed = audit.append(connection, Entry("login_refused" * 9, "名" * 999, "1" * 999, "s" * 999), NOW)
    assert [len(column) for column in sealed[2:6]] == [32, 255, 64, 255]
    assert audit.append(connection, Entry("login_refused", "\ud800", ""), NOW).who == "?"
    assert verify(connection).entry_id == LAST + 2


@given(
    entry_id=st.integers(1, LAST),
    column=st.sampled_from(Sealed._fields[1:]),
    how=st.sampled_from(["changed", "added", "removed"]),
    position=st.integers(0, 10_000),
    bits=st.integers(1, 255),
)
def test_a_changed_byte_in_any_column_is_detected(
    state: Database, entry_id: int, column: str, how: str, position: int, bits: int
) -> None:
    with state.engine.connect() as connection, connection.begin() as transaction:
        (entry,) = (stored for stored in entries(connection) if stored.entry_id == entry_id)
        was = (getattr(entry, column) or "").encode()
        position %= len(was) + 1
        byte = was[position : position + 1]
        assume(byte or how == "added")
        put = {"changed": bytes(each ^ bits for each in byte), "added": bytes([bits]) + byte, "removed": b""}[how]
        write_bytes(connection, entry_id, column, was[:position] + put + was[position + 1 :])
        assert tampering(connection).startswith(f"entry {entry_id} has been changed")
        transaction.rollback()


def write_bytes(connection: sa.Connection, entry_id: int, column: str, content: bytes) -> None:
    """Write these bytes into a text column."""
    if connection.dialect.name == "mysql":
        try:
            change(connection, entry_id, **{column: content.decode()})
        except (UnicodeDecodeError, sa.exc.DataError):
            assume(False)  # MariaDB accepts neither invalid UTF-8 nor a text that is too long
    else:
        quoted: sa.ColumnElement[str] = sa.literal_column(f"CAST(x'{content.hex()}' AS TEXT)")
        change(connection, entry_id, **{column: quoted})


@given(st.integers(1, LAST), st.sampled_from(["before", "after"]), st.booleans())
def test_a_change_between_null_and_text_is_detected(state: Database, entry_id: int, column: str, empty: bool) -> None:
    with state.engine.connect() as connection, connection.begin() as transaction:
        (entry,) = (stored for stored in entries(connection) if stored.entry_id == entry_id)
        was = getattr(entry, column)
        change(connection, entry_id, **{column: None if was is not None else "" if empty else "null"})
        assert tampering(connection).startswith(f"entry {entry_id} has been changed")
        transaction.rollback()


@pytest.mark.parametrize("entry_id", range(1, LAST + 1))
def test_a_deleted_entry_is_detected(connection: sa.Connection, entry_id: int) -> None:
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id == entry_id))
    assert tampering(connection).startswith(f"entry {entry_id} is missing")


@pytest.mark.parametrize(("entry_id", "number", "named"), [(2, 9, "entry 2 is missing"), (1, 0, "entry 0 has been ad")])
def test_a_renumbered_entry_is_detected(connection: sa.Connection, entry_id: int, number: int, named: str) -> None:
    change(connection, entry_id, entry_id=number)
    assert tampering(connection).startswith(named)


def test_text_moved_to_the_next_column_is_detected(connection: sa.Connection) -> None:
    change(connection, 1, who="李 ", address="Li192.0.2.7")
    assert tampering(connection).startswith("entry 1 has been changed")


def test_two_swapped_entries_are_detected(connection: sa.Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        change(connection, old, entry_id=new)
    assert tampering(connection).startswith("entry 2 has been changed")


def reseal(entry: Sealed) -> Sealed:
    return entry._replace(hash=entry.digest())


@pytest.mark.parametrize("entry_id", range(1, LAST + 1))
def test_an_entry_changed_with_its_hash_is_detected(connection: sa.Connection, entry_id: int) -> None:
    entry = entries(connection)[entry_id - 1]
    changed = reseal(entry._replace(who="somebody else"))
    change(connection, entry_id, who=changed.who, hash=changed.hash)
    assert tampering(connection).startswith(f"entry {entry_id} has been changed, and its hash too")


def test_an_entry_inserted_at_the_end_is_detected(connection: sa.Connection) -> None:
    last = entries(connection)[-1]
    added = reseal(last._replace(entry_id=LAST + 1, previous=last.hash))
    connection.execute(sa.insert(tables.audit).values(added._asdict()))
    assert tampering(connection).startswith(f"entry {LAST + 1} has been added")


def test_deleted_last_entries_are_detected(connection: sa.Connection) -> None:
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id >= 3))
    assert tampering(connection).startswith("entry 3 is missing")
    connection.execute(sa.delete(tables.audit))
    assert tampering(connection).startswith("entry 1 is missing")


@pytest.mark.parametrize("values", [{"entry_id": 2}, {"entry_id": 9}, {"hash": "0" * 63 + "1"}])
def test_a_changed_or_missing_head_is_detected(connection: sa.Connection, values: dict[str, Any]) -> None:
    connection.execute(sa.update(tables.audit_head).values(values))
    assert "head" in tampering(connection)
    connection.execute(sa.delete(tables.audit_head))
    assert tampering(connection).startswith("the head is missing")


def test_a_saved_hash_detects_a_rewritten_trail(connection: sa.Connection) -> None:
    last = verify(connection)
    connection.execute(sa.delete(tables.audit))
    connection.execute(sa.update(tables.audit_head).values(entry_id=0, hash="0" * 64))
    for entry in (Entry("login", "Wu", ""), *ENTRIES[1:]):
        audit.append(connection, entry, NOW)
    assert verify(connection).entry_id == last.entry_id
    assert last.hash in tampering(connection, last.hash)


def test_a_saved_hash_is_found_in_a_longer_trail(connection: sa.Connection) -> None:
    last = verify(connection)
    for entry in ENTRIES:
        audit.append(connection, entry, NOW)
    assert verify(connection, last.hash).entry_id == 2 * LAST


def test_a_trail_that_grows_during_verification_passes(state: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[int] = []
    read = ask.audit.after

    def grow(*arguments: Any) -> list[Sealed]:
        page = read(*arguments)
        if not page and len(grown) < 3:
            grown.append(1)
            write(state.engine, ENTRIES[:1])
        return page

    monkeypatch.setattr(ask.audit, "after", grow)
    before = len(entries_of(state))
    reader = Database(state.settings, BATCH_LIMITS, 1)
    with reader.engine.connect() as connection:
        assert verify(connection).entry_id == before + 3
    reader.close()
    delete_entries_after(state, before)


def entries_of(state: Database) -> list[Sealed]:
    with state.engine.connect() as connection:
        return entries(connection)


def delete_entries_after(state: Database, after: int) -> None:
    """Delete the entries with higher ids than `after`. Set the head of the hash chain to the last remaining entry."""
    with state.engine.begin() as connection:
        connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id > after))
        connection.execute(sa.update(tables.audit_head).values(entries(connection)[-1].head._asdict()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "snapshots"), [("sqlite", False), ("mariadb", False), ("mariadb", True)], indirect=["where"]
)
def test_concurrent_processes_keep_one_chain(state: Database, where: dict[str, Any], snapshots: bool) -> None:
    before = len(entries_of(state))
    written = many_at_once(where, snapshots=snapshots)
    with state.engine.connect() as connection:
        assert verify(connection).entry_id == before + written
        numbers: dict[str, list[int]] = {}
        for entry in entries(connection)[before:]:
            numbers.setdefault(entry.who, []).append(int(entry.subject))
    assert all(of_writer == sorted(of_writer) for of_writer in numbers.values())
    delete_entries_after(state, before)


@pytest.mark.parametrize("where", ["mariadb"], indirect=True)
def test_an_insert_only_account_can_append_but_not_change(state: Database, mariadb: MariaDB) -> None:
    name, user = state.settings.name, f"adder{time.monotonic_ns()}"
    mariadb.execute(f"CREATE USER {user}@'127.0.0.1'")
    for rights, table in (("SELECT, INSERT", "audit"), ("SELECT, UPDATE", "audit_head")):
        mariadb.execute(f"GRANT {rights} ON `{name}`.{table} TO {user}@'127.0.0.1'")
    limited = Database(msgspec.structs.replace(state.settings, user=user, password=""), BATCH_LIMITS, 1, writes=True)
    before = len(entries_of(state))
    write(limited.engine)
    with limited.engine.connect() as connection:
        assert verify(connection).entry_id == before + LAST
        for forbidden in ("UPDATE audit SET who = 'Wu'", "DELETE FROM audit", "DELETE FROM audit_head"):
            with pytest.raises(sa.exc.OperationalError, match="denied"):
                connection.execute(sa.text(forbidden))
    limited.close()
    delete_entries_after(state, before)


@pytest.fixture
def config(where: dict[str, Any], state: Database, tmp_path: Path) -> str:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"access": "open", "database": where}))
    return str(path)


def test_the_command_confirms_an_unchanged_trail(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "--verify", "--config", config]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"OK: {LAST} entries, the last hash is ")
    last_hash = output.split()[-1]
    assert command.main(["audit", "--verify", "--config", config, "--head", last_hash]) == 0
    assert command.main(["audit", "--verify", "--config", config, "--head", "f" * 64]) == 1
    assert "FAILED: no entry has the hash ffff" in capsys.readouterr().out


def test_the_command_names_the_changed_entry(config: str, state: Database, capsys: pytest.CaptureFixture[str]) -> None:
    for who, status in (("Li", 1), (ENTRIES[1].who, 0)):
        with state.engine.begin() as connection:
            change(connection, 2, who=who)
        assert command.main(["audit", "--verify", "--config", config]) == status
    assert capsys.readouterr().out.splitlines()[0].startswith("FAILED: entry 2 has been changed")


def test_the_json_export_has_every_column_unchanged(
    config: str, state: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["audit", "--export", "json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == [entry._asdict() for entry in entries_of(state)]


def test_the_documented_code_verifies_an_export(
    config: str,
    state: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["audit", "--export", "json", "--config", config]) == 0
    (tmp_path / "audit.json").write_text(capsys.readouterr().out)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "audit.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - the code comes from the project's own documentation
    assert capsys.readouterr().out.strip() == entries_of(state)[-1].hash


def test_the_csv_export_escapes_spreadsheet_formulas(
    config: str, state: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = "\uff1dHYPERLINK(1)"
    before = len(entries_of(state))
    write(state.engine, [Entry("login_refused", wide, "")])
    assert command.main(["audit", "--export", "csv", "--config", config]) == 0
    delete_entries_after(state, before)
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert tuple(head) == Sealed._fields
    assert [row[3] for row in rows] == ["李 Li", "李 Li", "'=HYPERLINK(1)", "Wu 😀", f"'{wide}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "one of the arguments"), (["--export", "json", "--head", "f"], "--head can only be used with --verify")],
)
def test_wrong_usage_prints_a_message(
    arguments: list[str], message: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["audit", "--config", config, *arguments]) == 2
    assert message in capsys.readouterr().err
