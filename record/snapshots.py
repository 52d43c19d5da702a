"""What the judge knows, written down from time to time, in parts.

A snapshot counts once its part 0 stands there, which is written last, and then it is the only one.
"""

import sqlalchemy as sa

from db import tables

HEAD = 0


def add(connection: sa.Connection, snapshot_key: str, part: int, content: bytes) -> None:
    """Write a part down, from 1 on."""
    connection.execute(sa.insert(tables.judge_snapshot).values(snapshot_key=snapshot_key, part=part, content=content))


def finish(connection: sa.Connection, snapshot_key: str, head: bytes) -> None:
    """Let this snapshot count instead of every other."""
    connection.execute(sa.delete(tables.judge_snapshot).where(tables.judge_snapshot.c.snapshot_key != snapshot_key))
    add(connection, snapshot_key, HEAD, head)


def last(connection: sa.Connection) -> tuple[str, bytes] | None:
    """Return the key and the head of the one that counts, None where there is none."""
    snapshot = tables.judge_snapshot.c
    row = connection.execute(sa.select(snapshot.snapshot_key, snapshot.content).where(snapshot.part == HEAD)).first()
    return None if row is None else (row.snapshot_key, row.content)


def part(connection: sa.Connection, snapshot_key: str, number: int) -> bytes | None:
    """Return a part, None where there is none of this number."""
    snapshot = tables.judge_snapshot.c
    wanted = sa.select(snapshot.content).where(snapshot.snapshot_key == snapshot_key, snapshot.part == number)
    found: bytes | None = connection.scalar(wanted)
    return found
