"""What a browser may ask: the payload of each event, with its limits.

Keys that are not known are ignored.
"""

from typing import Annotated

import msgspec

from ask.answers import Id

MINUTES = 527_040
"""The most minutes back from now: 366 days."""


class Nothing(msgspec.Struct, frozen=True):
    """No payload; whatever comes is ignored."""


class Storehouses(msgspec.Struct, frozen=True):
    """The storehouses of an organisation."""

    org_id: Id


class Register(msgspec.Struct, frozen=True):
    """Watch a storehouse, instead of the one watched before.

    `cursor` is the last one seen, for a browser that comes back after a lost connection.
    """

    store_house_id: Id
    cursor: int | None = None


class QueryAlarms(msgspec.Struct, frozen=True):
    """The alarms of a storehouse that were open, or raised, since `data_minute`.

    Minutes back from now, or "YYYY-MM-DD HH:MM" in the storehouse's zone.
    """

    store_house_id: Id
    data_minute: Annotated[int, msgspec.Meta(ge=1, le=MINUTES)] | Annotated[str, msgspec.Meta(max_length=16)]
