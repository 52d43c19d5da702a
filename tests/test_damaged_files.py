"""A damaged database file or a full disk ends the start with one line that names the file."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from demo import history, past_readings
from demo.site import ORGANISATIONS
from tests.support import preforked
from tests.support.command import check, run
from tests.support.migrations import execute
from tests.support.serving import clean_environment, with_defaults
from tests.support.sites import site

PAGE = 4096  # bytes; SQLite's default

RESTORE = "; restore the file from a copy, see docs/operating.md"
MALFORMED = "database disk image is malformed" + RESTORE


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        pages = path.stat().st_size // PAGE
        file.seek(pages // 2 * PAGE)
        file.write(os.urandom(pages // 4 * PAGE))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace_by_text(path: Path) -> None:
    path.write_text("This is no database.\n" * 100)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file without a write-ahead log."""
    path = tmp_path_factory.mktemp("intact") / "storewatch.db"
    with site({"path": str(path)}):
        pass
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (overwrite, MALFORMED),
        (truncate, MALFORMED),
        (replace_by_text, "file is not a database" + RESTORE),
        (replace_by_folder, "; it is a folder: name a file in database.path"),
    ],
)
@pytest.mark.parametrize("role", ["demo", "own tables", "site's tables", "state"])
def test_a_damaged_file_ends_the_start_with_one_line(
    role: str, damage: Callable[[Path], None], message: str, intact: Path, tmp_path: Path
) -> None:
    path = tmp_path / "var" / "storewatch.db"
    path.parent.mkdir()
    shutil.copy(intact, path)
    damage(path)
    database = {"path": "var/storewatch.db"}
    roles: dict[str, dict[str, Any]] = {
        "demo": {},  # the default path
        "own tables": {"database": database},
        "site's tables": {"database": database | {"map": {}}},
        "state": {"database": {"path": str(intact), "map": {}}, "state": database},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(with_defaults(roles[role])))
    arguments = ["0", "--config", "settings.yaml"]
    status, out, err = preforked.run(arguments, tmp_path, clean_environment(), timeout_s=60)
    assert (status, out) == (2, "")
    assert err.startswith("storewatch: database: cannot ")
    assert "sqlite var/storewatch.db: " in err
    assert err.endswith(f"{message}\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "statements",
    [
        [
            "CREATE TABLE theirs (value TEXT COLLATE theirs PRIMARY KEY) WITHOUT ROWID",
            "INSERT INTO theirs VALUES ('a')",
        ],
        [
            "CREATE TABLE theirs (value INTEGER)",
            "INSERT INTO theirs VALUES (NULL)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = 'CREATE TABLE theirs (value INTEGER NOT NULL)' WHERE name = 'theirs'",
        ],
    ],
    ids=["unknown collation", "violated constraint"],
)
def test_peculiarities_of_a_sites_file_are_no_damage(statements: list[str], intact: Path, tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    shutil.copy(intact, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("theirs", lambda first, second: (first > second) - (first < second))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    status, output = check(tmp_path, {"database": {"path": str(path), "map": {}}})
    assert (status, output.splitlines()[-1]) == (0, "no errors")


@pytest.mark.slow
def test_a_full_disk_ends_the_first_start_of_the_demo_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"STOREWATCH_HOST": "127.0.0.1", "STOREWATCH_LOG_LEVEL": "WARNING"}
    done = run(tmp_path, "0", env=environment, file_limit=4_000_000)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: database: cannot write the demo to sqlite var/storewatch.db: ")
    assert done.stderr.endswith("; check the disk, and make room on it\n")
    assert done.stderr.count("\n") == 1
    database: dict[str, Any] = {"path": str(tmp_path / "var" / "storewatch.db")}
    assert execute(database, "SELECT count(*) FROM organisation") == [(0,)]
    monkeypatch.setattr(past_readings, "MONTH_S", 5 * 86_400)
    history.prepare(settings.Database(**database), datetime.now(UTC))
    assert execute(database, "SELECT count(*) FROM organisation") == [(len(ORGANISATIONS),)]
