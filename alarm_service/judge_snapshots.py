"""Saves and loads snapshots of the judge, the component that evaluates alarm rules.

A snapshot contains the states of all sensors, and the position in the table of readings up to which the readings have
been evaluated.
"""

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
"""Minimum time between two snapshots, in seconds."""
SNAPSHOT_SHARE = 20
"""Minimum time between two snapshots, as a multiple of the time that it takes to write a snapshot."""


class SnapshotHead(msgspec.Struct, frozen=True):
    """The head of a snapshot: everything in the snapshot except the states of the sensors."""

    parts: int
    position: Position
    cursor: int
    """Id of the last transition in the alarm journal that the saved states include."""
    unknown: Sequence[Reading] = ()
    """Readings that no saved state includes, because the sensors of these readings were unknown.

    They are before `position`, so they are not read from the database again.
    """


async def save_snapshot(store: JudgeStore, judge_term: JudgeTerm) -> bool:
    """Write a snapshot of `judge_term` to the database. Return False if another process has the judge's lease.

    Raise `Unavailable` if the database does not answer.
    """
    start = time.monotonic()
    # Each snapshot needs a new key. The lease's term would not do, because one term can write several snapshots.
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
    """Read a snapshot from the database: add the sensor states to `states` and return the head.

    Return None if the snapshot cannot be decoded, for example because its format has changed. In that case `states` is
    incomplete and must not be used. Raise `Unavailable` if the database does not answer.
    """
    try:
        decoded = msgspec.json.decode(head, type=SnapshotHead)
        for number in range(1, decoded.parts + 1):
            states.decode(await store.snapshot_part(snapshot_key, number))
            await asyncio.sleep(0)
    except (msgspec.DecodeError, zlib.error):
        log.warning("cannot read the last snapshot of the alarm states; starting from the open alarms instead")
        return None
    return decoded
