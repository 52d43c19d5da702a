"""The storehouses: of one organisation, or of all."""

from typing import Any

import sqlalchemy as sa

from ask.answers import Id, Storehouse
from ask.rows import fetch_at_most, text
from ask.subjects import Subjects, identity
from common.time_zones import zone
from errors import NotFound

MOST = 10_000


def storehouses(connection: sa.Connection, subjects: Subjects, org_id: Id) -> list[Storehouse]:
    """Return the storehouses of an organisation, by id; none where there is no such organisation."""
    return _select(connection, subjects, subjects.storehouse.equals("org_id", org_id))


def storehouse(connection: sa.Connection, subjects: Subjects, store_house_id: Id) -> Storehouse:
    """Return the storehouse of this id; raises `NotFound`."""
    rows = _select(connection, subjects, subjects.storehouse.equals("store_house_id", store_house_id))
    if not rows:
        raise no_storehouse(store_house_id)
    return rows[0]


def no_storehouse(store_house_id: Id) -> NotFound:
    """Return the refusal for a storehouse that does not exist, or that the caller may not see."""
    return NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id")


def owners(connection: sa.Connection, subjects: Subjects) -> dict[Id, Id]:
    """Return the organisation of each storehouse, both by their ids."""
    rows = fetch_at_most(connection, subjects.storehouse.select("store_house_id", "org_id"), MOST)
    return {identity(store_house_id): identity(org_id) for store_house_id, org_id in rows if store_house_id is not None}


def all_storehouses(connection: sa.Connection, subjects: Subjects) -> list[Storehouse]:
    """Return the storehouses of all organisations, by id."""
    return _select(connection, subjects, sa.true())


def _select(connection: sa.Connection, subjects: Subjects, wanted: sa.ColumnElement[bool]) -> list[Storehouse]:
    storehouse = subjects.storehouse
    statement = storehouse.select("store_house_id", "store_house_name", "org_id", "time_zone")
    rows: Any = fetch_at_most(connection, statement.where(wanted).order_by(storehouse.column("store_house_id")), MOST)
    return [
        Storehouse(identity(store_house_id), text(name) or "", identity(org_id), _zone(time_zone, subjects))
        for store_house_id, name, org_id, time_zone in rows
        if store_house_id is not None
    ]


def _zone(name: Any, subjects: Subjects) -> str:
    """Return the storehouse's time zone; where the site gives none that exists, the zone of its readings."""
    try:
        return str(zone(name))
    except ValueError:
        return str(subjects.reading.tz or "UTC")
