"""Everything that depends on the kind of database: an interface, and one module for each kind.

To add a kind of database, write a module with a subclass of `Dialect`, list the subclass in `DIALECTS`, and add its
name to `settings.Database.kind`.
"""

import sqlalchemy as sa

from db.dialects.interface import Changes, Columns, Dialect, Execute, Pick
from db.dialects.mysql import MySql
from db.dialects.sqlite import Sqlite
from settings import Database as DatabaseSettings

__all__ = ["DIALECTS", "Changes", "Columns", "Dialect", "Execute", "Pick", "dialect_for", "dialect_of"]

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Sqlite(), MySql())}
"""All dialects. The keys of the dict are the names of the kinds of databases."""


def dialect_for(settings: DatabaseSettings) -> Dialect:
    """Return the dialect for the kind of database in the settings."""
    return DIALECTS[settings.kind]


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect of a connection."""
    return DIALECTS[connection.dialect.name]
