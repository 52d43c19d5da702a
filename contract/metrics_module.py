"""Generates dashboard/data/metrics.js, which contains the registry of metrics for the browser."""

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
 * @property {Term} name
 * @property {string} [unit] the unit of sensors that have no unit of their own
 * @property {number} [decimals] number of decimals to show; by default as many as needed, at most three
 * @property {number} [trendStep] minimum change within 15 minutes that counts as rising or falling
 * @property {[Term, Term]} [switchWords] the words for 0 and 1; only switches have them
 */

/** @type {ReadonlyMap<string, Metric>} */
export const METRICS = new Map(
  Object.entries(
    /** @type {Record<string, Metric>} */ ({
"""
FOOTER = """\
    }),
  ),
);
"""


def text() -> str:
    """Return the text of dashboard/data/metrics.js."""
    entries = "".join(f"      {_literal(name)}: {_literal(_properties(metric))},\n" for name, metric in METRICS.items())
    return f"{HEADER}{entries}{FOOTER}"


def _properties(metric: Metric) -> dict[str, Any]:
    """Return the properties of a metric that the browser needs. Leave out properties that are not set."""
    properties = {
        "name": metric.name,
        "unit": metric.unit or None,
        "decimals": metric.decimals,
        "trendStep": metric.trend_step,
        "switchWords": metric.switch_words,
    }
    return {name: value for name, value in properties.items() if value is not None}


def _literal(value: Any) -> str:
    """Return a value as a JavaScript literal."""
    if isinstance(value, Term):
        return _literal(value._asdict())
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name}: {_literal(each)}' for name, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
