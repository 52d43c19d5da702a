"""The audit trail: a hash chain in which every change is detected."""

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
from hypothesis import settings as examples
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
    """A database with the audit entries `ENTRIES`; what a test does to it is undone."""
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


def problem(connection: sa.Connection, expected: str | None = None) -> str:
    """What `verify` reports as tampered."""
    with pytest.raises(Tampered) as caught:
        verify(connection, expected)
    return str(caught.value)


def change(connection: sa.Connection, which: int, **values: Any) -> None:
    connection.execute(sa.update(tables.audit).where(tables.audit.c.entry_id == which).values(values))


def test_entries_say_who_did_what_when_from_where_and_what_was_before_and_after(connection: sa.Connection) -> None:
    stored = entries(connection)
    assert [(entry.entry_id, entry.action, entry.who, entry.address, entry.subject) for entry in stored] == [
        (number, entry.action, entry.who, entry.address, entry.subject) for number, entry in enumerate(ENTRIES, 1)
    ]
    assert {entry.time for entry in stored} == {"2026-11-22T12:00:00.123Z"}
    pairs = [tuple(None if content is None else json.loads(content) for content in entry[6:8]) for entry in stored]
    assert pairs == [(entry.before, entry.after) for entry in ENTRIES]


def test_a_trail_without_entries_is_whole(tmp_path: Path) -> None:
    where = settings.Database(path=str(tmp_path / "state.db"))
    migrate(where)
    database = Database(where, BATCH_LIMITS, 1, writes=True)
    with database.engine.connect() as connection:
        assert verify(connection).entry_id == 0
    database.close()


def test_what_is_not_committed_leaves_no_hole(state: Database, connection: sa.Connection) -> None:
    with connection.begin_nested() as nested:
        audit.append(connection, Entry("acknowledged", "Li", ""), NOW)
        nested.rollback()
    assert audit.append(connection, Entry("acknowledged", "Wu", ""), NOW).entry_id == LAST + 1
    assert verify(connection).entry_id == LAST + 1


def test_what_is_too_long_or_no_text_is_written_as_far_as_it_goes(connection: sa.Connection) -> None:
    sealed = audit.append(connection, Entry("login_refused" * 9, "名" * 999, "1" * 999, "s" * 999), NOW)
    assert [len(column) for column in sealed[2:6]] == [32, 255, 64, 255]
    assert audit.append(connection, Entry("login_refused", "\ud800", ""), NOW).who == "?"
    assert verify(connection).entry_id == LAST + 2


@examples(deadline=None)
@given(
    entry_id=st.integers(1, LAST),
    column=st.sampled_from(Sealed._fields[1:]),
    how=st.sampled_from(["changed", "added", "taken out"]),
    position=st.integers(0, 10_000),
    bits=st.integers(1, 255),
)
def test_a_byte_changed_in_any_column_of_any_entry_is_found_and_named(
    state: Database, entry_id: int, column: str, how: str, position: int, bits: int
) -> None:
    with state.engine.connect() as connection, connection.begin() as transaction:
        (entry,) = (stored for stored in entries(connection) if stored.entry_id == entry_id)
        was = (getattr(entry, column) or "").encode()
        position %= len(was) + 1
        byte = was[position : position + 1]
        assume(byte or how == "added")
        put = {"changed": bytes(each ^ bits for each in byte), "added": bytes([bits]) + byte, "taken out": b""}[how]
        let_stand(connection, entry_id, column, was[:position] + put + was[position + 1 :])
        assert problem(connection).startswith(f"entry {entry_id} has been changed")
        transaction.rollback()


def let_stand(connection: sa.Connection, entry_id: int, column: str, content: bytes) -> None:
    """Let these bytes stand in a column of text."""
    if connection.dialect.name == "mysql":
        try:
            change(connection, entry_id, **{column: content.decode()})
        except (UnicodeDecodeError, sa.exc.DataError):
            assume(False)  # no text, or too long: MariaDB lets no such thing in
    else:
        quoted: sa.ColumnElement[str] = sa.literal_column(f"CAST(x'{content.hex()}' AS TEXT)")
        change(connection, entry_id, **{column: quoted})


@examples(deadline=None)
@given(st.integers(1, LAST), st.sampled_from(["before", "after"]), st.booleans())
def test_nothing_that_becomes_something_is_found_and_named(
    state: Database, entry_id: int, column: str, empty: bool
) -> None:
    with state.engine.connect() as connection, connection.begin() as transaction:
        (entry,) = (stored for stored in entries(connection) if stored.entry_id == entry_id)
        was = getattr(entry, column)
        change(connection, entry_id, **{column: None if was is not None else "" if empty else "null"})
        assert problem(connection).startswith(f"entry {entry_id} has been changed")
        transaction.rollback()


@pytest.mark.parametrize("entry_id", range(1, LAST + 1))
def test_an_entry_that_was_taken_out_is_missed(connection: sa.Connection, entry_id: int) -> None:
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id == entry_id))
    assert problem(connection).startswith(f"entry {entry_id} is missing")


@pytest.mark.parametrize(("entry_id", "number", "named"), [(2, 9, "entry 2 is missing"), (1, 0, "entry 0 has been ad")])
def test_an_entry_with_another_number_is_found(
    connection: sa.Connection, entry_id: int, number: int, named: str
) -> None:
    change(connection, entry_id, entry_id=number)
    assert problem(connection).startswith(named)


def test_what_moves_from_one_column_to_the_next_is_found(connection: sa.Connection) -> None:
    change(connection, 1, who="李 ", address="Li192.0.2.7")
    assert problem(connection).startswith("entry 1 has been changed")


def test_two_entries_that_were_exchanged_are_found(connection: sa.Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        change(connection, old, entry_id=new)
    assert problem(connection).startswith("entry 2 has been changed")


def reseal(entry: Sealed) -> Sealed:
    return entry._replace(hash=entry.digest())


@pytest.mark.parametrize("entry_id", range(1, LAST + 1))
def test_an_entry_that_was_changed_together_with_its_hash_is_found(connection: sa.Connection, entry_id: int) -> None:
    entry = entries(connection)[entry_id - 1]
    changed = reseal(entry._replace(who="somebody else"))
    change(connection, entry_id, who=changed.who, hash=changed.hash)
    assert problem(connection).startswith(f"entry {entry_id} has been changed, with its hash")


def test_an_entry_that_was_put_in_at_the_end_is_found(connection: sa.Connection) -> None:
    last = entries(connection)[-1]
    added = reseal(last._replace(entry_id=LAST + 1, previous=last.hash))
    connection.execute(sa.insert(tables.audit).values(added._asdict()))
    assert problem(connection).startswith(f"entry {LAST + 1} has been added")


def test_an_end_that_was_cut_off_is_missed(connection: sa.Connection) -> None:
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id >= 3))
    assert problem(connection).startswith("entry 3 is missing")
    connection.execute(sa.delete(tables.audit))
    assert problem(connection).startswith("entry 1 is missing")


@pytest.mark.parametrize("values", [{"entry_id": 2}, {"entry_id": 9}, {"hash": "0" * 63 + "1"}])
def test_a_head_that_was_changed_is_found(connection: sa.Connection, values: dict[str, Any]) -> None:
    connection.execute(sa.update(tables.audit_head).values(values))
    assert "head" in problem(connection)
    connection.execute(sa.delete(tables.audit_head))
    assert problem(connection).startswith("the head is missing")


def test_a_trail_that_was_written_anew_is_found_by_a_hash_kept_elsewhere(connection: sa.Connection) -> None:
    last = verify(connection)
    connection.execute(sa.delete(tables.audit))
    connection.execute(sa.update(tables.audit_head).values(entry_id=0, hash="0" * 64))
    for entry in (Entry("login", "Wu", ""), *ENTRIES[1:]):
        audit.append(connection, entry, NOW)
    assert verify(connection).entry_id == last.entry_id
    assert last.hash in problem(connection, last.hash)


def test_a_hash_kept_elsewhere_is_found_again_however_long_the_trail_has_become(connection: sa.Connection) -> None:
    last = verify(connection)
    for entry in ENTRIES:
        audit.append(connection, entry, NOW)
    assert verify(connection, last.hash).entry_id == 2 * LAST


def test_a_trail_that_grows_while_it_is_read_is_whole(state: Database, monkeypatch: pytest.MonkeyPatch) -> None:
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
    forget(state, before)


def entries_of(state: Database) -> list[Sealed]:
    with state.engine.connect() as connection:
        return entries(connection)


def forget(state: Database, after: int) -> None:
    """Delete the entries after this one, and set the head back."""
    with state.engine.begin() as connection:
        connection.execute(sa.delete(tables.audit).where(tables.audit.c.entry_id > after))
        connection.execute(sa.update(tables.audit_head).values(entries(connection)[-1].head._asdict()))


@pytest.mark.parametrize(
    ("where", "snapshots"), [("sqlite", False), ("mariadb", False), ("mariadb", True)], indirect=["where"]
)
def test_processes_that_write_at_once_keep_one_chain(state: Database, where: dict[str, Any], snapshots: bool) -> None:
    before = len(entries_of(state))
    written = many_at_once(where, snapshots=snapshots)
    with state.engine.connect() as connection:
        assert verify(connection).entry_id == before + written
        numbers: dict[str, list[int]] = {}
        for entry in entries(connection)[before:]:
            numbers.setdefault(entry.who, []).append(int(entry.subject))
    assert all(of_writer == sorted(of_writer) for of_writer in numbers.values())
    forget(state, before)


@pytest.mark.parametrize("where", ["mariadb"], indirect=True)
def test_an_account_that_may_only_add_writes_entries_and_can_change_none(state: Database, mariadb: MariaDB) -> None:
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
    forget(state, before)


@pytest.fixture
def config(where: dict[str, Any], state: Database, tmp_path: Path) -> str:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"access": "open", "database": where}))
    return str(path)


def test_the_command_says_that_all_is_as_it_was_written(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "--verify", "--config", config]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"OK: {LAST} entries, the last hash is ")
    last_hash = output.split()[-1]
    assert command.main(["audit", "--verify", "--config", config, "--head", last_hash]) == 0
    assert command.main(["audit", "--verify", "--config", config, "--head", "f" * 64]) == 1
    assert "NOT what was written: no entry has the hash ffff" in capsys.readouterr().out


def test_the_command_names_the_entry_that_was_changed(
    config: str, state: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    for who, status in (("Li", 1), (ENTRIES[1].who, 0)):
        with state.engine.begin() as connection:
            change(connection, 2, who=who)
        assert command.main(["audit", "--verify", "--config", config]) == status
    assert capsys.readouterr().out.splitlines()[0].startswith("NOT what was written: entry 2 has been changed")


def test_the_export_as_json_holds_every_column_as_it_stands(
    config: str, state: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["audit", "--export", "json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == [entry._asdict() for entry in entries_of(state)]


def test_an_export_can_be_checked_as_the_documentation_says(
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
    exec(code, {})  # noqa: S102 - it is our own documentation
    assert capsys.readouterr().out.strip() == entries_of(state)[-1].hash


def test_the_export_as_csv_holds_nothing_that_a_spreadsheet_would_run(
    config: str, state: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = "\uff1dHYPERLINK(1)"
    before = len(entries_of(state))
    write(state.engine, [Entry("login_refused", wide, "")])
    assert command.main(["audit", "--export", "csv", "--config", config]) == 0
    forget(state, before)
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert tuple(head) == Sealed._fields
    assert [row[3] for row in rows] == ["李 Li", "李 Li", "'=HYPERLINK(1)", "Wu 😀", f"'{wide}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "one of the arguments"), (["--export", "json", "--head", "f"], "--head is something to --verify")],
)
def test_wrong_usage_is_told_in_a_line(
    arguments: list[str], message: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["audit", "--config", config, *arguments]) == 2
    assert message in capsys.readouterr().err
