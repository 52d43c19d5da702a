"""The severities of alarms and their order.

A site's own alarm system may use other words. Each caller decides which ranks those words have. This module imports no
other module of Storewatch, because `settings` imports it.
"""

from typing import Literal, get_args

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""All severities of Storewatch, in ascending order."""
_RANKS: dict[str, int] = {severity: rank for rank, severity in enumerate(SEVERITIES)}
WARNING_RANK = _RANKS["warning"]
WORST_RANK = len(SEVERITIES)
"""A rank above the ranks of all Storewatch severities. The rank of a severity is its index in `SEVERITIES`."""


def rank(severity: str, *, unknown: int | None = None) -> int:
    """Return the index of a severity in SEVERITIES.

    If the word is not one of Storewatch's severities, return `unknown`, or raise KeyError if `unknown` is None.
    """
    return _RANKS[severity] if unknown is None else _RANKS.get(severity, unknown)
