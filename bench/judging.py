"""The benchmark Judging measures the CPU time to evaluate alarm rules.

It evaluates a year of readings of a real cold store, and individual readings.
"""

import sys
import time
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from alarms import rules
from alarms.commands import readings_csv
from alarms.commands.arguments import read_rules
from alarms.judge import initial_state, judge
from alarms.model import Limit, Reading
from alarms.replay import replay
from alarms.rules import Rule, Scope, Terms
from ask.sensors import Sensor
from bench.child import ROOT
from bench.peers import Workspace
from bench.report import Report, number
from tests.support.coldstore import FOLDER, ZONE

TITLE = (
    "each time is CPU time of the judge on one core. "
    "The readings of a year are those of a real cold store with ten sensors, and are read from a file"
)
RULES = ROOT / "docs" / "examples" / "coldstore-rules.yaml"
OTHERS = ("freezer_1", "freezer_3", "freezer_4")
"""Sensors that have no rules in the rules file. The benchmark uses the rules of the sensor `freezer_2` for them."""
READINGS = 100_000
SENSOR = Sensor(1, 1, "", "temperature", "°C", 60.0, (1, None))
TERMS = Terms(high=(Limit(5.0, "warning", 300.0, hysteresis=0.5),), low=(Limit(0.0, "warning", 300.0),))


def run(workspace: Workspace, report: Report) -> None:
    """Measure a year of real readings. Then measure generated readings, both within limits and during an open alarm."""
    report.start("judging", TITLE)
    if FOLDER.is_dir():
        _year(report)
    else:
        print(f"  the year of a real cold store is skipped: set STOREWATCH_COLDSTORE, {FOLDER} does not exist")
    report.tell("judge a reading within limits", f"{number(_each(3.0 for _ in range(READINGS)))} us")
    report.tell("judge a reading during an open alarm", f"{number(_each(6.0 + n % 7 for n in range(READINGS)))} us")


def _year(report: Report) -> None:
    all_rules = read_rules(RULES)
    like = next(rule for rule in all_rules if rule.scope.sensor_name == "freezer_2")
    all_rules += [Rule(Scope(sensor_name=name), high=like.high, low=like.low, no_data=like.no_data) for name in OTHERS]
    start = time.process_time()
    table = readings_csv.readings(FOLDER / "readings.csv", ZoneInfo(ZONE), "temperature", _say)
    read = time.process_time()
    alarms = [replay(rules.terms(all_rules, sensor), sensor, readings) for sensor, readings in table.items()]
    end = time.process_time()
    report.tell("readings in the year", f"{sum(map(len, table.values())):,}")
    report.tell("alarms in the year", f"{sum(map(len, alarms)):,}")
    report.tell("read the file of the year", f"{number(read - start)} s")
    report.below("read the file and judge the year", end - start, 10, "s")


def _each(values: Iterable[float]) -> float:
    """Evaluate readings with these values, one minute apart. Return the CPU time per reading, in microseconds."""
    state = initial_state(SENSOR)
    events = [Reading(60.0 * minute, value) for minute, value in enumerate(values)]
    start = time.process_time()
    for event in events:
        state, _ = judge(TERMS, state, event)
    return (time.process_time() - start) / len(events) * 1e6


def _say(line: str) -> None:
    print(line, file=sys.stderr)
