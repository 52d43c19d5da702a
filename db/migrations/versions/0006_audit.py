"""Creates two tables: the entries of the audit trail, and the id and hash of the last entry."""

from typing import Any

import sqlalchemy as sa

from db.migration_steps import create_index, create_table, insert_row

revision = "0006"
down_revision = "0005"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the tables. In the second table, insert the id and the hash of an empty audit trail."""
    create_table(
        "audit",
        sa.Column("entry_id", ID, primary_key=True, autoincrement=False),
        sa.Column("time", sa.String(32), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("before", sa.Text(16_777_215)),
        sa.Column("after", sa.Text(16_777_215)),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        **OPTIONS,
    )
    create_index("ix_audit_action_entry_id", "audit", ["action", "entry_id"])
    create_table(
        "audit_head",
        sa.Column("head_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        **OPTIONS,
    )
    insert_row("audit_head", {"head_id": 1, "entry_id": 0, "hash": "0" * 64}, key="head_id")
