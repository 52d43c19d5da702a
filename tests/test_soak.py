"""Browsers that connect and disconnect leave no tasks and no open files in the server.

`make soak` runs the same test for a longer time and also checks the memory.
"""

from pathlib import Path

import pytest

from tests.soak import POOLED, Life, living, settled, surroundings, warmed_up
from tests.support.serving_inside import until
from tests.support.serving_watched import serving_watched

CONNECTIONS = 150


@pytest.mark.services
async def test_disconnected_browsers_leave_no_tasks_or_files(tmp_path: Path) -> None:
    with surroundings() as (built, settings):
        async with serving_watched(tmp_path / "server", settings) as server:
            before = await warmed_up(server, built)
            # No browser polls, because the server needs 15 s to notice that a polling browser is gone.
            life = Life(built, server.url, (0.0, 0.3), ["websocket", "upgrade"])
            async with living(life, 16):
                await until(lambda: life.came >= CONNECTIONS)
            left = await settled(server, before)
    assert life.cut
    assert life.alarms
    assert left.tasks <= before.tasks
    assert left.fds <= before.fds + POOLED
