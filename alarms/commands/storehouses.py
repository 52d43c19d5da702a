"""Finds the storehouse that a command-line argument names."""

import sqlalchemy as sa

from ask import storehouses
from ask.answers import Storehouse
from ask.subjects import Subjects
from errors import UsageError


def storehouse_named(connection: sa.Connection, subjects: Subjects, name: str) -> Storehouse:
    """Return the storehouse with this name or id. Raise `UsageError` if there is no such storehouse."""
    all_storehouses = storehouses.all_storehouses(connection, subjects)
    for storehouse in all_storehouses:
        if name in (storehouse.store_house_name, str(storehouse.store_house_id)):
            return storehouse
    names = ", ".join(sorted(storehouse.store_house_name for storehouse in all_storehouses)) or "none"
    raise UsageError(f"there is no storehouse {name}; the storehouses are: {names}")
