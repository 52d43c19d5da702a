"""Snapshots of the judge: the states of all sensors, and how far the readings had been judged."""

import asyncio
import logging
import time
import uuid
import zlib
from collections.abc import Sequence

import msgspec

from alarm_service.judge_store import JudgeStore
from alarm_service.judge_term import BATCH, JudgeTerm
from alarm_service.sensor_states import SensorStates
from ask.readings import Reading
from live.source import Position

log = logging.getLogger(__name__)

SNAPSHOT_S = 10.0
"""The least time between two snapshots."""
SNAPSHOT_SHARE = 20
"""A snapshot may take one part in so many of the time between two."""


class SnapshotHead(msgspec.Struct, frozen=True):
    """The facts of a snapshot besides the states."""

    parts: int
    position: Position
    cursor: int
    """The last transition of the journal that the states know of."""
    unknown: Sequence[Reading] = ()
    """The readings of sensors that were not known yet: they lie before the position, and in no state."""


async def save_snapshot(store: JudgeStore, judge_term: JudgeTerm) -> bool:
    """Write a snapshot; False if another process has the lease. Raises `Unavailable`."""
    start = time.monotonic()
    # A new key each time: after the lease was lost and acquired again, the last snapshot is of the same lease term.
    snapshot_key = uuid.uuid4().hex
    states = judge_term.states
    keys = states.keys()
    parts = [keys[first : first + BATCH] for first in range(0, len(keys), BATCH)]
    for number, part in enumerate(parts, 1):
        await store.add_snapshot_part(snapshot_key, number, states.encode(part))
    head = SnapshotHead(len(parts), judge_term.position, judge_term.cursor, states.unknown_readings)
    is_ours = await store.finish_snapshot(judge_term, snapshot_key, msgspec.json.encode(head))
    now = time.monotonic()
    judge_term.snapshot_due = now + max(SNAPSHOT_S, SNAPSHOT_SHARE * (now - start))
    return is_ours


async def load_snapshot(store: JudgeStore, snapshot_key: str, head: bytes, states: SensorStates) -> SnapshotHead | None:
    """Read a snapshot into `states`; raises `Unavailable`.

    None if it cannot be read, as after a change of its form; then `states` is not to be used any more.
    """
    try:
        decoded = msgspec.json.decode(head, type=SnapshotHead)
        for number in range(1, decoded.parts + 1):
            states.decode(await store.snapshot_part(snapshot_key, number))
            await asyncio.sleep(0)
    except (msgspec.DecodeError, zlib.error):
        log.warning("the judge's last snapshot cannot be read: starting from the open alarms")
        return None
    return decoded
