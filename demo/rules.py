"""The alarm rules of the demo, which contain the limits of every storehouse."""

import msgspec
import sqlalchemy as sa

import settings
from alarms.rules import Bound, Rule, Scope
from db.database import Database, database_error
from db.limits import BATCH_LIMITS
from demo.history import Installed, install
from demo.rooms import Limit

TERMS = {"delay": "5m", "hysteresis": 0.3}
"""Delay and hysteresis of each numeric limit in the demo's rules. The delay is longer than a door is usually open."""
DOOR_DELAY = "10m"


def rules(database_settings: settings.Database) -> list[Rule]:
    """Return the alarm rules of the demo. Call `history.prepare` for this database first.

    Raise `UsageError` if the database cannot be read or written.
    """
    database = Database(database_settings, BATCH_LIMITS, 1, writes=True)
    try:
        with database.engine.begin() as connection:
            installed = install(connection)
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot write the demo to {database_settings!r}", database_settings, error) from None
    finally:
        database.close()
    return [Rule(Scope(metric="door"), switch=Bound(1.0, "warning", delay=DOOR_DELAY))] + [
        rule for each in installed for rule in _rules(each)
    ]


def _rules(installed: Installed) -> list[Rule]:
    # Cold rooms are humid on purpose, so the default humidity limit does not apply.
    of_metric: dict[str, dict[str, Bound | None]] = {"humidity": {"high": None}}
    for limit in installed.storehouse.room.limits:
        of_metric.setdefault(limit.metric, {})[limit.kind] = _bound(limit)  # ambient halls have a humidity limit
    return [
        msgspec.structs.replace(Rule(Scope(installed.store_house_id, metric=metric)), **bounds)
        for metric, bounds in of_metric.items()
    ]


def _bound(limit: Limit) -> Bound:
    bound = {"limit": 1.0} if limit.kind == "switch" else {"limit": limit.limit, **TERMS}
    return msgspec.convert(bound | {"severity": limit.severity}, Bound)
