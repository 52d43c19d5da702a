"""Adds a column to the tables of alarms and of maintenance: the ids, if they are too long for the key columns."""

import sqlalchemy as sa

from db.migration_steps import add_column

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    add_column("episode", sa.Column("ids", sa.Text))
    add_column("maintenance", sa.Column("ids", sa.Text))
