"""Upgrades Storewatch's own tables to the version that this installation needs."""

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from db import tables
from db.database import Database, database_error, reach
from db.dialects import dialect_for
from db.limits import BATCH_LIMITS
from db.migration_steps import NotOurTable
from errors import UsageError
from settings import Database as DatabaseSettings

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "storewatch_version"
"""Name of the table with the version of Storewatch's own tables.

The database may also contain other programs' tables with their own `alembic_version`.
"""

_one_at_a_time = threading.Lock()
"""Alembic keeps the running migration in global variables, so only one thread of a process may migrate at a time."""


def migrate(settings: DatabaseSettings, target: str | None = None) -> None:
    """Create Storewatch's own tables, or upgrade them to the version `target`. The default is the newest version.

    If the process ends during the migration, the next call continues. If several processes call this function at the
    same time, one of them migrates and the others wait. Raise `UsageError` if the migration fails.
    """
    dialect_for(settings).prepare_storage(settings)
    reach(settings)  # fails within seconds; the migration itself would wait 10 minutes for a hanging database
    database = Database(settings, BATCH_LIMITS, 1, writes=True)
    try:
        _migrate(database.engine, settings, target)
    except NotOurTable as error:
        raise UsageError(
            f"database: {settings!r} contains a table {error} that Storewatch did not create; use another database "
            "for Storewatch's own tables, or map the site's tables in database.map"
        ) from None
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot create Storewatch's own tables in {settings!r}", settings, error) from None
    except CommandError as error:
        raise UsageError(f"database: cannot create Storewatch's own tables in {settings!r}: {error}") from None
    finally:
        database.close()


def _migrate(engine: sa.Engine, settings: DatabaseSettings, target: str | None) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    versions = ScriptDirectory.from_config(config)
    target = target or versions.get_current_head()
    assert target is not None  # noqa: S101 - there are versions
    with engine.begin() as connection:
        if _version(connection, settings, versions) == target:
            return
    # In the transaction above, MySQL would not show what another process has committed during the wait for the lock.
    with engine.begin() as connection:
        dialect = dialect_for(settings)
        dialect.lock_migrations(connection, settings)
        version = _version(connection, settings, versions)
        if version == target:
            return
        if version is None:
            _check_names(connection)
        else:
            dialect.copy_storage(settings, version)
        config.attributes["connection"] = connection
        with _one_at_a_time:
            command.upgrade(config, target)


def _version(connection: sa.Connection, settings: DatabaseSettings, versions: ScriptDirectory) -> str | None:
    """Return the version of Storewatch's own tables, or None before the first migration is complete.

    Raise `UsageError` if the version is unknown.
    """
    version = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    try:
        if version is not None:
            versions.get_revision(version)
    except CommandError as error:
        raise UsageError(
            f"database: {settings!r} was created by a newer version of Storewatch ({error}); update this installation"
        ) from None
    return version


def _check_names(connection: sa.Connection) -> None:
    """Raise `NotOurTable` if the database contains a table with the name of one of Storewatch's own tables.

    A migration first creates the table of the version. If this table exists, the other tables may be those of an
    interrupted migration, and the migration's steps check them. Call this function only while holding the lock.
    """
    inspector = sa.inspect(connection)
    names = {*inspector.get_table_names(), *inspector.get_view_names()}
    if VERSION_TABLE not in names:
        for name in sorted(names & {*tables.metadata.tables}):
            raise NotOurTable(name)
