"""The steps of migrations. The files in `db/migrations/versions/` consist of these steps.

MySQL commits at each statement that changes the schema. If a process is killed during a migration, the database
therefore contains some of the migration's changes, and still the number of the earlier version. The next start runs the
migration again from its beginning, so each step skips what has already been done.

Steps that write rows must be the last steps of a migration. MySQL then commits the rows together with the number of the
new version.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op


class NotOurTable(Exception):
    """The database contains a table with the name of one of Storewatch's own tables, but Storewatch did not create it.

    The exception's only argument is the name of the table.
    """


def create_table(name: str, *columns: sa.Column[Any], **options: Any) -> None:
    """Create the table, unless an interrupted migration has already created it.

    Raise `NotOurTable` if a table of this name has other columns, or contains rows.
    """
    _run_once(
        lambda inspector: inspector.has_table(name) and _is_ours(inspector, name, columns),
        lambda: op.create_table(name, *columns, **options),
    )


def create_index(name: str, table: str, columns: Sequence[str], *, unique: bool = False) -> None:
    """Create the index, unless an interrupted migration has already created it."""
    _run_once(
        lambda inspector: name in {index["name"] for index in inspector.get_indexes(table)},
        lambda: op.create_index(name, table, columns, unique=unique),
    )


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add the column to the table, unless an interrupted migration has already added it."""
    _run_once(
        lambda inspector: column.name in _column_names(inspector, table),
        lambda: op.add_column(table, column),
    )


def insert_row(table: str, row: Mapping[str, Any], key: str) -> None:
    """Insert the row, unless the table already contains a row with the same value in the column `key`."""
    connection = op.get_bind()
    target = sa.table(table, *(sa.column(name) for name in row))
    same_key = sa.select(sa.literal(1)).select_from(target).where(target.c[key] == row[key])
    if connection.scalar(same_key) is None:
        connection.execute(target.insert().values(row))


def _run_once(is_done: Callable[[sa.Inspector], bool], change: Callable[[], object]) -> None:
    """Change the schema, unless the change is done already.

    Also accept that another process makes the same change at this moment. The migration lock prevents this, except in
    clusters whose servers do not share their locks.
    """
    connection = op.get_bind()
    if is_done(sa.inspect(connection)):
        return
    try:
        change()
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated or not is_done(sa.inspect(connection)):
            raise


def _is_ours(inspector: sa.Inspector, name: str, columns: Sequence[sa.Column[Any]]) -> bool:
    """Return True, or raise `NotOurTable`.

    A table of an unfinished migration is empty. A table with the same columns and with rows belongs to somebody else.
    """
    table = sa.table(name)
    has_rows = op.get_bind().scalar(sa.select(sa.literal(1)).select_from(table).limit(1)) is not None
    if has_rows or _column_names(inspector, name) != {column.name for column in columns}:
        raise NotOurTable(name)
    return True


def _column_names(inspector: sa.Inspector, table: str) -> set[str]:
    return {column["name"] for column in inspector.get_columns(table)}
