"""What the commands look at: the databases of the settings."""

import database
from settings import Database


def readable(where: Database) -> database.Database:
    """Return a database to read from, our tables in it as they are today; raises `UsageError`."""
    if where.map is None:
        database.migrate(where)
    return database.Database(where, database.WORKING, 1)
