"""Migrations: bring the tables that are ours up to this version's."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from db.database import Database, reach, reason
from db.dialects import dialect_for
from db.limits import BATCH_LIMITS
from errors import UsageError
from settings import Database as DatabaseSettings

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(settings: DatabaseSettings) -> None:
    """Create or upgrade the tables that are ours; raises `UsageError`."""
    dialect = dialect_for(settings)
    dialect.prepare_storage(settings)
    if dialect.is_remote:
        reach(settings)  # one that hangs would be waited for as long as a migration may take
    database = Database(settings, BATCH_LIMITS, 1, writes=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            dialect.lock_migrations(connection)
            command.upgrade(config, "head")
    except CommandError as error:
        raise UsageError(f"database: {settings!r} was made by a newer Storewatch ({error}); update this one") from None
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: cannot make our tables in {settings!r}: {reason(error)}") from None
    finally:
        database.close()
