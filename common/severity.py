"""Severities of an alarm, and their order.

A site's own alarm system may use other words; each caller says how those rank. This module imports
nothing of ours, because `settings` uses it, too.
"""

from typing import Literal, get_args

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the mildest to the worst."""
_RANKS: dict[str, int] = {severity: rank for rank, severity in enumerate(SEVERITIES)}
WARNING_RANK = _RANKS["warning"]
WORST_RANK = len(SEVERITIES)
"""Above each of ours."""


def rank(severity: str, *, unknown: int | None = None) -> int:
    """Return the position in SEVERITIES; any other word ranks as `unknown`, or raises KeyError without it."""
    return _RANKS[severity] if unknown is None else _RANKS.get(severity, unknown)
