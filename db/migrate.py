"""Upgrades Storewatch's own tables to the version that this installation needs."""

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
    """Create or upgrade Storewatch's own tables. Raise `UsageError` if this fails."""
    dialect = dialect_for(settings)
    dialect.prepare_storage(settings)
    if dialect.is_remote:
        reach(settings)  # fails within seconds; the migration itself would wait 10 minutes for a hanging database
    database = Database(settings, BATCH_LIMITS, 1, writes=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            dialect.lock_migrations(connection)
            command.upgrade(config, "head")
    except CommandError as error:
        raise UsageError(
            f"database: {settings!r} was created by a newer version of Storewatch ({error}); update this installation"
        ) from None
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: cannot create Storewatch's own tables in {settings!r}: {reason(error)}") from None
    finally:
        database.close()
