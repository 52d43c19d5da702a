"""Converts the ids in database columns to the ids in answers, and back."""

import re
from decimal import Decimal
from typing import Any

from ask.answers import Id
from common.texts import plain, shortened

LONGEST_ID = 1_000
"""Maximum number of characters of an id. A longer id is shortened (see `common.texts.shortened`). Storewatch then shows
the readings and alarms of the object, but a question that names the object finds nothing."""
BIGINT = range(-(2**63), 2**63)
INTEGER_DIGITS = re.compile(r"-?[0-9]{1,19}")
RESERVED = {
    "store_house_id": re.compile(r"\\*\*"),
    "alarm_id": re.compile(r"\\*sw-[0-9]+"),
}
"""For each id column, the ids that have a meaning of their own in Storewatch, after any number of backslashes.

`*` is the storehouse id of an alarm about all storehouses (`EVERYWHERE`), and Storewatch's own alarms have ids such as
`sw-5`. If a site uses such an id, Storewatch adds a backslash to the id.
"""


def identity(value: Any, column: str = "") -> Id:
    """Convert an id from the database to an integer or a string, which are the types of ids in answers.

    `column` is the name of the id column, such as `store_house_id`.
    """
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, int) and value in BIGINT:
        return value
    text = shortened(plain(value), LONGEST_ID)
    return f"\\{text}" if _is_reserved(text, column) else text


def metric_key(value: Any) -> str | None:
    """Convert the metric of a reading or sensor to the metric in a sensor's key, or return None for null."""
    return None if value is None else shortened(plain(value), LONGEST_ID)


def stored_id(wanted: Id, column: str, *, is_text: bool) -> Id | None:
    """Convert an id from a question to the type of the id column. `is_text` is true if the column contains strings.

    Return None if the column cannot contain the id.
    """
    if is_text:
        text = str(wanted)
        return text[1:] if text.startswith("\\") and _is_reserved(text, column) else text
    if isinstance(wanted, str):
        if not INTEGER_DIGITS.fullmatch(wanted):
            return None
        wanted = int(wanted)
    return wanted if wanted in BIGINT else None


def _is_reserved(text: str, column: str) -> bool:
    return column in RESERVED and RESERVED[column].fullmatch(text) is not None
