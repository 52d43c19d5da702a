"""Queries of storehouses."""

from typing import Any

import sqlalchemy as sa

from ask.answers import Id, Storehouse
from ask.ids import identity
from ask.rows import fetch_at_most, text
from ask.subjects import Subjects
from common.time_zones import zone
from errors import NotFound

MOST = 10_000
"""Maximum number of storehouses in the answer to a question. Other queries of storehouses have no maximum."""


def storehouses(connection: sa.Connection, subjects: Subjects, org_id: Id) -> list[Storehouse]:
    """Return the storehouses of an organisation, ordered by id.

    If the organisation does not exist, return an empty list.
    """
    return _select(connection, subjects, subjects.storehouse.equals("org_id", org_id), MOST)


def storehouse(connection: sa.Connection, subjects: Subjects, store_house_id: Id) -> Storehouse:
    """Return the storehouse with this id. Raise `NotFound` if it does not exist."""
    rows = _select(connection, subjects, subjects.storehouse.equals("store_house_id", store_house_id), MOST)
    if not rows:
        raise no_storehouse(store_house_id)
    return rows[0]


def no_storehouse(store_house_id: Id) -> NotFound:
    """Return the error for a storehouse that does not exist or that the user may not see."""
    return NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id", reason="unknown_storehouse")


def owners(connection: sa.Connection, subjects: Subjects) -> dict[Id, Id]:
    """Return a dict from the id of each storehouse to the `org_id` of its organisation."""
    rows = connection.execute(subjects.storehouse.select("store_house_id", "org_id"))
    return {
        identity(store_house_id, "store_house_id"): identity(org_id)
        for store_house_id, org_id in rows
        if store_house_id is not None
    }


def all_storehouses(connection: sa.Connection, subjects: Subjects) -> list[Storehouse]:
    """Return the storehouses of all organisations, ordered by id."""
    return _select(connection, subjects, sa.true(), None)


def _select(
    connection: sa.Connection, subjects: Subjects, wanted: sa.ColumnElement[bool], most: int | None
) -> list[Storehouse]:
    storehouse = subjects.storehouse
    statement = storehouse.select("store_house_id", "store_house_name", "org_id", "time_zone")
    rows: Any = fetch_at_most(connection, statement.where(wanted).order_by(storehouse.column("store_house_id")), most)
    return [
        Storehouse(
            identity(store_house_id, "store_house_id"),
            text(name) or "",
            identity(org_id),
            _zone(time_zone, subjects),
        )
        for store_house_id, name, org_id, time_zone in rows
        if store_house_id is not None
    ]


def _zone(name: Any, subjects: Subjects) -> str:
    """Return `name` if it is a known time zone.

    Otherwise return the time zone of the readings' stored times, or UTC if the settings contain no such time zone.
    """
    try:
        return str(zone(name))
    except ValueError:
        return str(subjects.reading.tz or "UTC")
