"""Writes and reads snapshots of the judge's states, and of the last known state of the site.

A snapshot is stored in several parts. Part 0 is the head of a snapshot of the judge. It is written last and makes the
snapshot valid. All other snapshots of the judge are then deleted. The state of the site has the key `SITE_KEY` and no
head: each of its parts, from 1 on, is replaced separately.
"""

import sqlalchemy as sa

from db import tables

HEAD_PART = 0
SITE_KEY = "site"


def add(connection: sa.Connection, snapshot_key: str, part: int, content: bytes) -> None:
    """Write a part of a snapshot. The first part after the head has the number 1."""
    connection.execute(sa.insert(tables.judge_snapshot).values(snapshot_key=snapshot_key, part=part, content=content))


def finish(connection: sa.Connection, snapshot_key: str, head: bytes) -> None:
    """Write the head of a snapshot, which makes this snapshot valid. Delete all other snapshots of the judge."""
    others = tables.judge_snapshot.c.snapshot_key.not_in([snapshot_key, SITE_KEY])
    connection.execute(sa.delete(tables.judge_snapshot).where(others))
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


def replace_site_part(connection: sa.Connection, number: int, content: bytes) -> None:
    """Write a part of the last known state of the site. The first part has the number 1."""
    snapshot = tables.judge_snapshot
    connection.execute(sa.delete(snapshot).where(snapshot.c.snapshot_key == SITE_KEY, snapshot.c.part == number))
    add(connection, SITE_KEY, number, content)


def delete_site_parts_after(connection: sa.Connection, number: int) -> None:
    """Delete the parts of the last known state of the site with higher numbers."""
    snapshot = tables.judge_snapshot
    connection.execute(sa.delete(snapshot).where(snapshot.c.snapshot_key == SITE_KEY, snapshot.c.part > number))


def site_parts(connection: sa.Connection) -> list[bytes]:
    """Return all parts of the last known state of the site."""
    snapshot = tables.judge_snapshot.c
    statement = sa.select(snapshot.content).where(snapshot.snapshot_key == SITE_KEY).order_by(snapshot.part)
    return list(connection.scalars(statement))
