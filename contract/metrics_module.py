"""Generates dashboard/data/metrics.js: the registry of metrics, for the browser."""

import json
from pathlib import Path
from typing import Any

from common.metric_registry import METRICS, Metric, Term

PATH = Path(__file__).parent.parent / "dashboard" / "data" / "metrics.js"

HEADER = """\
// The metrics that Storewatch knows. Generated from common/metric_registry.py by `python -m contract`: do not edit.

/** @typedef {{en: string, zh: string}} Term */

/**
 * @typedef {object} Metric
 * @property {"measurement" | "switch"} kind a switch is 0 or 1; with a unit, it is a measurement all the same
 * @property {Term} name
 * @property {string} unit used where a sensor names none
 * @property {number} [decimals] shown; without: as many as needed, at most three
 * @property {number} [trendStep] the change within 15 minutes from which on a value rises or falls
 * @property {[Term, Term]} [switchWords] for 0 and for 1
 */

/** @type {ReadonlyMap<string, Metric>} */
"""


def text() -> str:
    """Return the module."""
    entries = "".join(_entry(name, metric) for name, metric in METRICS.items())
    return f"{HEADER}export const METRICS = new Map(\n  /** @type {{[string, Metric][]}} */ ([\n{entries}  ]),\n);\n"


def _entry(name: str, metric: Metric) -> str:
    lines = "".join(f"        {key}: {_literal(value)},\n" for key, value in _properties(metric).items())
    return f"    [\n      {_literal(name)},\n      {{\n{lines}      }},\n    ],\n"


def _properties(metric: Metric) -> dict[str, Any]:
    """Return what the browser needs of a metric; what is not set is left out."""
    properties = {
        "kind": metric.kind,
        "name": metric.name,
        "unit": metric.unit,
        "decimals": metric.decimals,
        "trendStep": metric.trend_step,
        "switchWords": metric.switch_words,
    }
    return {name: value for name, value in properties.items() if value is not None}


def _literal(value: Any) -> str:
    """Return a value as JavaScript."""
    if isinstance(value, Term):
        return _literal(value._asdict())
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name}: {_literal(each)}' for name, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
