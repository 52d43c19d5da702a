"""The storehouses of an organisation."""

from typing import Any

import sqlalchemy as sa

from ask.answers import Id, Storehouse
from ask.organisations import organisation_exists
from ask.rows import bounded, text
from ask.subjects import Subjects, identity
from errors import NotFound
from instants import zone

MOST = 10_000


def storehouses(connection: sa.Connection, subjects: Subjects, org_id: Id) -> list[Storehouse]:
    """Return the organisation's storehouses, by id; raises `NotFound` where there is no such organisation."""
    found = _select(connection, subjects, subjects.storehouse.equals("org_id", org_id))
    if not found and not organisation_exists(connection, subjects, org_id):
        raise NotFound(f"there is no organisation {org_id!r}", "org_id")
    return found


def storehouse(connection: sa.Connection, subjects: Subjects, store_house_id: Id) -> Storehouse:
    """Return this storehouse; raises `NotFound`."""
    found = _select(connection, subjects, subjects.storehouse.equals("store_house_id", store_house_id))
    if not found:
        raise NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id")
    return found[0]


def all_storehouses(connection: sa.Connection, subjects: Subjects) -> list[Storehouse]:
    """Return the storehouses of all organisations, by id."""
    return _select(connection, subjects, sa.true())


def _select(connection: sa.Connection, subjects: Subjects, wanted: sa.ColumnElement[bool]) -> list[Storehouse]:
    storehouse = subjects.storehouse
    statement = storehouse.select("store_house_id", "store_house_name", "org_id", "time_zone")
    rows: Any = bounded(connection, statement.where(wanted).order_by(storehouse.column("store_house_id")), MOST)
    return [
        Storehouse(identity(store_house_id), text(name) or "", identity(org_id), _zone(time_zone, subjects))
        for store_house_id, name, org_id, time_zone in rows
        if store_house_id is not None
    ]


def _zone(name: Any, subjects: Subjects) -> str:
    """A site that names no zone for a storehouse, or none there is, lives in the one its readings are written in."""
    try:
        return str(zone(name))
    except ValueError:
        return str(subjects.reading.tz or "UTC")
