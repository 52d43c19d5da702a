"""Writes and reads snapshots of the judge's states. A snapshot is stored in several parts.

Part 0 is the head of a snapshot. It is written last and makes the snapshot valid. All other snapshots are then deleted.
"""

import sqlalchemy as sa

from db import tables

HEAD_PART = 0


def add(connection: sa.Connection, snapshot_key: str, part: int, content: bytes) -> None:
    """Write a part of a snapshot. The first part after the head has the number 1."""
    connection.execute(sa.insert(tables.judge_snapshot).values(snapshot_key=snapshot_key, part=part, content=content))


def finish(connection: sa.Connection, snapshot_key: str, head: bytes) -> None:
    """Write the head of a snapshot, which makes this snapshot valid. Delete all other snapshots."""
    connection.execute(sa.delete(tables.judge_snapshot).where(tables.judge_snapshot.c.snapshot_key != snapshot_key))
    add(connection, snapshot_key, HEAD_PART, head)


def last(connection: sa.Connection) -> tuple[str, bytes] | None:
    """Return the key and the head of the valid snapshot, or None if there is no valid snapshot."""
    snapshot = tables.judge_snapshot.c
    row = connection.execute(
        sa.select(snapshot.snapshot_key, snapshot.content).where(snapshot.part == HEAD_PART)
    ).first()
    return None if row is None else (row.snapshot_key, row.content)


def part(connection: sa.Connection, snapshot_key: str, number: int) -> bytes | None:
    """Return the part `number` of a snapshot, or None if this part does not exist."""
    snapshot = tables.judge_snapshot.c
    wanted = sa.select(snapshot.content).where(snapshot.snapshot_key == snapshot_key, snapshot.part == number)
    content: bytes | None = connection.scalar(wanted)
    return content
