"""Who comes and goes leaves nothing behind. `make soak` has it go on for long, and looks at the memory too."""

from pathlib import Path

from tests.soak import POOLED, Life, alone, living, surroundings, warmed_up
from tests.support.serving_inside import until
from tests.support.serving_watched import serving_watched

CAME = 150


async def test_tasks_and_files_are_as_many_as_before_when_browsers_have_come_and_gone(tmp_path: Path) -> None:
    with surroundings() as (built, settings):
        async with serving_watched(tmp_path / "server", settings) as server:
            before = await warmed_up(server, built)
            # A browser that polls and is cut off is noticed by the pings it misses, which takes 15 s.
            life = Life(built, server.url, (0.0, 0.3), ["websocket", "upgrade"])
            async with living(life, 16):
                await until(lambda: life.came >= CAME)
            left = await alone(server)
    assert life.cut
    assert life.alarms
    assert left.tasks == before.tasks
    assert left.fds <= before.fds + POOLED
