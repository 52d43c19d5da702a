"""Opens the databases from which a command reads alarms and past readings."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from ask.site_mapping import subjects_of
from ask.subjects import Subjects
from cli import open_for_reading
from settings import Settings, Source


class Databases(NamedTuple):
    """Connections to Storewatch's own tables (`state`) and to the sensor database (`readings`).

    `subjects` describes where the sensor database holds organisations, storehouses, sensors, readings and alarms.
    """

    state: sa.Connection
    readings: sa.Connection
    subjects: Subjects


@contextmanager
def open_databases(settings: Settings, origin: Source) -> Iterator[Databases]:
    """Connect to Storewatch's own tables and to the sensor database. Raise `UsageError` if a connection fails."""
    with (
        closing(open_for_reading(settings.state_database)) as state_database,
        closing(open_for_reading(settings.sensor_database)) as sensor_database,
        state_database.engine.connect() as state,
        sensor_database.engine.connect() as readings,
    ):
        yield Databases(state, readings, subjects_of(settings.sensor_database, origin, readings))
