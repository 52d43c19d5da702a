"""The storehouses of an organisation."""

from typing import Any

import sqlalchemy as sa

from ask.answers import Id, Storehouse
from ask.organisations import known_id
from ask.rows import bounded, text
from ask.subjects import Subjects, identity
from ask.visibility import Visibility
from common.time_zones import zone
from errors import NotFound

MOST = 10_000


def storehouses(connection: sa.Connection, subjects: Subjects, org_id: Id, visibility: Visibility) -> list[Storehouse]:
    """Return the organisation's storehouses that `sight` has, by id; raises `NotFound` where it has nothing of it."""
    here = _select(connection, subjects, subjects.storehouse.equals("org_id", org_id))
    found = [one for one in here if visibility.storehouse(one)]
    if not found:
        known = known_id(connection, subjects, org_id)
        if known is None or not visibility.organisation(known):
            raise NotFound(f"there is no organisation {org_id!r}", "org_id")
    return found


def storehouse(connection: sa.Connection, subjects: Subjects, store_house_id: Id, visibility: Visibility) -> Storehouse:
    """Return this storehouse; raises `NotFound`, also where `sight` has it not."""
    found = _select(connection, subjects, subjects.storehouse.equals("store_house_id", store_house_id))
    if not found or not visibility.storehouse(found[0]):
        raise NotFound(f"there is no storehouse {store_house_id!r}", "store_house_id")
    return found[0]


def owners(connection: sa.Connection, subjects: Subjects) -> dict[Id, Id]:
    """Return the organisation of each storehouse, both by their ids."""
    rows = bounded(connection, subjects.storehouse.select("store_house_id", "org_id"), MOST)
    return {identity(store_house_id): identity(org_id) for store_house_id, org_id in rows if store_house_id is not None}


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
