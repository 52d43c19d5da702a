"""Creates two tables: the rollups (aggregated readings), and the id of the last reading in the rollups."""

from typing import Any

import sqlalchemy as sa

from db.migration_steps import create_table

revision = "0005"
down_revision = "0004"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the tables."""
    create_table(
        "rollup",
        sa.Column("bucket_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sensor_id", ID, primary_key=True, autoincrement=False),
        sa.Column("start", ID, primary_key=True, autoincrement=False),
        sa.Column("min", sa.Double, nullable=False),
        sa.Column("max", sa.Double, nullable=False),
        sa.Column("sum", sa.Double, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    create_table(
        "rollup_position",
        sa.Column("position_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("reading_id", ID, nullable=False),
        **OPTIONS,
    )
