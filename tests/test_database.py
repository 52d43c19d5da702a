"""Database queries that the event loop sends to worker threads."""

import asyncio
import threading
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import sqlalchemy as sa

import settings
from db.database import Database
from db.dialects import DIALECTS, dialect_for


@pytest.mark.parametrize("turns", range(5))
async def test_a_task_cancelled_while_its_answer_arrives_stays_cancelled(turns: int, tmp_path: Path) -> None:
    # The server could not stop if a cancelled task, for example that of the poller, continued.
    database = Database(settings.Database(path=str(tmp_path / "own.db")), workers=1)
    answered = threading.Event()

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.select(1))
        answered.set()

    task = asyncio.create_task(database.run(work))
    await asyncio.sleep(0)
    answered.wait()
    database.close()
    for thread in threading.enumerate():
        if thread.name.startswith("database"):
            thread.join()  # now the answer is queued in the event loop
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task


def test_every_kind_of_database_has_a_dialect() -> None:
    kinds = get_args(get_type_hints(settings.Database)["kind"])
    names = {kind: dialect_for(settings.Database(kind=kind)).name for kind in kinds}
    assert names == {name: name for name in DIALECTS}
