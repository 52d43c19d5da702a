"""The databases that a command looks back in."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import sqlalchemy as sa

from ask.subjects import Subjects, subjects
from cli import readable
from settings import Settings, Source


@contextmanager
def reading(settings: Settings, origin: Source) -> Iterator[tuple[sa.Connection, sa.Connection, Subjects]]:
    """Connect to our own tables and to the readings, and find what there is to read; raises `UsageError`."""
    with (
        closing(readable(settings.state_database)) as state,
        closing(readable(settings.sensor_database)) as asked,
        state.engine.connect() as kept,
        asked.engine.connect() as connection,
    ):
        yield kept, connection, subjects(settings.sensor_database, origin, connection)
