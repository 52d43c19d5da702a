"""The message that all measured servers push, and the answer that they give to `orgs`.

Every server sends the same bytes.
"""

from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

import record.readings
import record.sites
from ask.answers import Envs, Organisation, Storehouse
from ask.readings import Reading
from ask.sensors import Sensor
from bench import control
from live.newest import Newest

SENSORS = 13
"""Number of sensors in a storehouse. With this number, the size of an `envs` is about 2 kB."""
STOREHOUSES = [Storehouse(number, f"Storehouse {number}", 1, "UTC") for number in range(1, 51)]
ORGANISATIONS = [Organisation(1, "North Cold Chain"), Organisation(2, "Harbour"), Organisation(3, "Mill Lane")]
"""Organisations in the constant answer to `orgs`."""
MEASURED = datetime(2026, 1, 1, microsecond=123_000, tzinfo=UTC)
METRIC, UNIT, VALUE = "temperature", "C", 21.5


def fill(connection: sa.Connection) -> None:
    """Write storehouses, sensors and one reading of each sensor to Storewatch's own tables, which must be empty."""
    for organisation in ORGANISATIONS:
        record.sites.ensure_organisation(connection, organisation.org_name)
    for storehouse in STOREHOUSES:
        record.sites.ensure_storehouse(connection, 1, storehouse.store_house_name, storehouse.time_zone)
        for number in range(1, SENSORS + 1):
            sensor_id = record.sites.ensure_sensor(
                connection, int(storehouse.store_house_id), _sensor_name(number), METRIC, unit=UNIT
            )
            record.readings.add(connection, [(sensor_id, MEASURED, VALUE)])


def text() -> bytes:
    """Return the `envs` of the first storehouse. Storewatch's own code builds it from the data that `fill` writes."""
    newest = Newest()
    sensors = [
        Sensor(number, 1, _sensor_name(number), METRIC, UNIT, None, (number, None)) for number in range(1, SENSORS + 1)
    ]
    now = control.clock()
    newest.set_directory(STOREHOUSES, sensors, now)
    newest.add_readings([Reading(*sensor.key, MEASURED, VALUE) for sensor in sensors], datetime.now(UTC))
    return msgspec.json.encode(Envs(1, 0, now, False, False, newest.envs(1, now)))


def organisations() -> bytes:
    """Return the answer to `orgs` as JSON."""
    return msgspec.json.encode(ORGANISATIONS)


def _sensor_name(number: int) -> str:
    return f"Rack {number} front"
