"""The storehouse that an argument names."""

import sqlalchemy as sa

from ask import storehouses
from ask.answers import Storehouse
from ask.subjects import Subjects
from errors import UsageError


def place(connection: sa.Connection, subjects: Subjects, name: str) -> Storehouse:
    """Return the storehouse of this name or id; raises `UsageError`."""
    found = storehouses.all_storehouses(connection, subjects)
    for one in found:
        if name in (one.store_house_name, str(one.store_house_id)):
            return one
    known = ", ".join(sorted(one.store_house_name for one in found)) or "none"
    raise UsageError(f"there is no storehouse {name}; there are: {known}")
