"""What is pushed and what is answered: the same bytes by every server of the bench."""

from datetime import timedelta

import msgspec

from ask.answers import Envs, Organisation, Storehouse
from ask.readings import Reading
from ask.sensors import Sensor
from bench import control
from live.newest import Newest

SENSORS = 13
"""In a storehouse; its `envs` is about 2 kB."""
STOREHOUSES = [Storehouse(number, f"Storehouse {number}", 1, "UTC") for number in range(1, 51)]
ORGANISATIONS = [Organisation(1, "North Cold Chain"), Organisation(2, "Harbour"), Organisation(3, "Mill Lane")]
"""The constant answer to `orgs`."""


def newest() -> Newest:
    """Return the storehouses, with a reading of each sensor."""
    found = Newest()
    sensors = [_sensor(one.store_house_id, number) for one in STOREHOUSES for number in range(1, SENSORS + 1)]
    found.learn(STOREHOUSES, sensors, control.clock())
    measured = control.BEGINNING + timedelta(microseconds=123_456)
    found.take([Reading(*sensor.key, measured, 21.5) for sensor in sensors], control.clock())
    return found


def _sensor(store_house_id: int | str, number: int) -> Sensor:
    sensor_id = f"{store_house_id}/{number}"
    return Sensor(sensor_id, store_house_id, f"Rack {number} front", "temperature", "C", None, (sensor_id, None))


def text() -> bytes:
    """Return the `envs` of the first storehouse."""
    now = control.clock()
    return msgspec.json.encode(Envs(1, 0, now, False, newest().envs(1, now)))


def organisations() -> bytes:
    """Return the answer to `orgs`."""
    return msgspec.json.encode(ORGANISATIONS)
