"""Adds a column to the tables of alarms and of maintenance: the ids, if they are too long for the key columns."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = ("episode", "maintenance")


def upgrade() -> None:
    """Add the column to each table that does not have it yet, because an earlier attempt may have been interrupted."""
    for table in TABLES:
        columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
        if "ids" not in columns:
            op.add_column(table, sa.Column("ids", sa.Text()))
