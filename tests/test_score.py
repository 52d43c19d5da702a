"""The command `python -m alarms score` compares alarm rules with the alarm log of another system."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from alarms.__main__ import main
from alarms.agreement import AlarmSpan, Days, match, score
from alarms.commands import event_log
from tests.support.serving import ROOT

RULES = """
rules:
  - scope: {sensor_name: a}
    high: {limit: 5, delay: 30m, reopen: 0}
    low: {limit: 0, delay: 30m, reopen: 0}
    no_data: null
"""
HEAD = "time,sensor,event,value,limit"
CHICAGO = ZoneInfo("America/Chicago")
HOUR = 3600.0


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, *arguments: str) -> Done:
    """Run `python -m alarms score ARGUMENTS` with this working folder.

    The command runs in this process, because a new process takes a second to start.
    """
    with chdir(folder), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(["score", *arguments])
    return Done(status, out.getvalue(), err.getvalue())


def write(folder: Path, readings: Sequence[str], log: Sequence[str], rules: str = RULES) -> None:
    (folder / "readings.csv").write_text("\n".join(readings) + "\n", encoding="utf-8")
    (folder / "log.csv").write_text("\n".join([HEAD, *log]) + "\n", encoding="utf-8")
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")


def arguments(first: str = "2021-09-06", last: str = "2021-09-06", zone: str = "America/Chicago") -> list[str]:
    return ["readings.csv", "log.csv", "--rules", "rules.yaml", "--time-zone", zone, "--from", first, "--to", last]


def scored(folder: Path, *more: str) -> Any:
    done = run(folder, *(more or arguments()))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def column(values: Sequence[float | str], day: str = "2021-09-06", name: str = "a") -> list[str]:
    """Return the lines of a file with readings of one sensor, every 15 minutes from midnight on."""
    return [f"time,{name}", *(f"{day} {n // 4:02}:{n % 4 * 15:02},{value}" for n, value in enumerate(values))]


BREACH = [4, 6, 6, 6, 6, 5]
"""Values of one sensor, 15 minutes apart. They raise an alarm at 00:45, after a delay of 30 minutes.

The alarm is cleared at 01:15.
"""


def test_matching_alarms_score_one(tmp_path: Path) -> None:
    write(tmp_path, column(BREACH), ["2021-09-06 00:50,a,exceed,6,5.0", "2021-09-06 01:16,a,recovery,5,5.0"])
    agreement = {"f1": 1.0, "theirs": 1, "ours": 1, "matched": 1}
    assert scored(tmp_path) == {"f1": 1.0, "ends_within_15_min": 1.0, "sensors": {"a": agreement}}


def test_an_unmatched_alarm_lowers_the_score(tmp_path: Path) -> None:
    write(tmp_path, column(BREACH), ["2021-09-06 00:45,a,exceed,6,5.0", "2021-09-06 09:00,a,exceed,6,5.0"])
    assert scored(tmp_path)["sensors"]["a"] == {"f1": 2 / 3, "theirs": 2, "ours": 1, "matched": 1}


@pytest.mark.parametrize("line", ["2021-09-06 01:01,a,exceed,6,5.0", "2021-09-06 00:45,a,deficit,6,5.0"])
def test_alarms_of_other_time_or_kind_do_not_match(tmp_path: Path, line: str) -> None:
    write(tmp_path, column(BREACH), [line])
    assert scored(tmp_path)["sensors"]["a"] == {"f1": 0.0, "theirs": 1, "ours": 1, "matched": 0}


def test_ends_more_than_15_minutes_apart_do_not_match(tmp_path: Path) -> None:
    write(tmp_path, column(BREACH), ["2021-09-06 00:45,a,exceed,6,5.0", "2021-09-06 01:31,a,recovery,5,5.0"])
    assert scored(tmp_path)["ends_within_15_min"] == 0.0


def test_only_sensors_named_in_rules_are_scored(tmp_path: Path) -> None:
    readings = [f"{line},{'b' if n == 0 else 9}" for n, line in enumerate(column(BREACH))]
    write(tmp_path, readings, ["2021-09-06 00:45,b,exceed,6,5.0"])
    assert list(scored(tmp_path)["sensors"]) == ["a"]


def test_a_sensor_without_a_column_is_skipped_and_reported(tmp_path: Path) -> None:
    rules = RULES + "  - scope: {sensor_name: gone}\n    high: 5\n"
    write(tmp_path, column(BREACH), [], rules)
    done = run(tmp_path, *arguments())
    assert list(json.loads(done.stdout)["sensors"]) == ["a"]
    assert done.stderr == "readings.csv has no column gone; this sensor is not scored\n"


def test_empty_cells_are_gaps(tmp_path: Path) -> None:
    write(tmp_path, column([4, 6, "", 6, 6, 5]), ["2021-09-06 00:45,a,exceed,6,5.0"])
    assert scored(tmp_path)["f1"] == 1.0


def test_a_log_needs_no_limits_and_values(tmp_path: Path) -> None:
    write(tmp_path, column(BREACH), [])
    (tmp_path / "log.csv").write_text(
        "time,sensor,event\n2021-09-06 00:45,a,exceed\n2021-09-06 01:15,a,recovery\n", encoding="utf-8"
    )
    result = scored(tmp_path)
    assert (result["f1"], result["ends_within_15_min"]) == (1.0, 1.0)


def test_days_are_local_and_both_ends_are_included(tmp_path: Path) -> None:
    late: list[float | str] = ["", *[4] * 91, 6, 6, 6, 6]  # the alarm is raised at 23:30
    write(tmp_path, column(late), ["2021-09-06 23:30,a,exceed,6,5.0"])
    for first, last, count in [
        ("2021-09-06", "2021-09-06", 1),
        ("2021-09-01", "2021-09-06", 1),
        ("2021-09-01", "2021-09-05", 0),
        ("2021-09-07", "2021-09-09", 0),
    ]:
        assert scored(tmp_path, *arguments(first, last))["sensors"]["a"]["theirs"] == count
        assert scored(tmp_path, *arguments(first, last))["sensors"]["a"]["ours"] == count


def test_an_alarm_raised_before_the_first_day_is_not_counted(tmp_path: Path) -> None:
    first = column([6] * 96, "2021-09-05")
    write(tmp_path, [*first, *column([6, 6, 5, 5])[1:]], ["2021-09-05 00:30,a,exceed,6,5.0"])
    assert scored(tmp_path)["sensors"]["a"] == {"f1": 1.0, "theirs": 0, "ours": 0, "matched": 0}


def test_alarms_on_both_sides_of_midnight_can_match() -> None:
    theirs, ours = [AlarmSpan("high", 9.9 * HOUR, None)], [AlarmSpan("high", 10.0 * HOUR, None)]
    assert score({"a": theirs}, {"a": ours}, Days(0, 10 * HOUR)).sensors["a"].matched == 1
    after = score({"a": theirs}, {"a": ours}, Days(10 * HOUR, 20 * HOUR)).sensors["a"]
    assert (after.theirs, after.ours, after.matched) == (0, 0, 0)


def test_the_nearest_alarms_are_matched_first() -> None:
    theirs = [AlarmSpan("high", 100, None), AlarmSpan("high", 400, None)]
    ours = [AlarmSpan("high", 390, None), AlarmSpan("high", 800, None)]
    assert match(theirs, ours) == [(theirs[1], ours[0]), (theirs[0], ours[1])]


def test_a_repeated_hour_is_read_in_file_order(tmp_path: Path) -> None:
    # The file has 01:00 to 01:45 twice. The violation starts in the first pass of the hour and ends in the second.
    walls = ["00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "01:00", "01:15", "01:30", "01:45", "02:00"]
    values = [4, 4, 4, 4, 4, 6, 6, 6, 5, 4, 4]
    readings = ["time,a", *(f"2021-11-07 {wall},{value}" for wall, value in zip(walls, values, strict=True))]
    log = ["2021-11-07 01:30,x,exceed,6,5.0", "2021-11-07 01:15,a,exceed,6,5.0", "2021-11-07 01:30,a,recovery,5,5.0"]
    write(tmp_path, readings, log)
    result = scored(tmp_path, *arguments("2021-11-07", "2021-11-07"))
    assert (result["f1"], result["ends_within_15_min"]) == (1.0, 1.0)


def log(*lines: str) -> list[AlarmSpan]:
    spans = event_log.alarms([HEAD, *(f"2021-09-06 {line}" for line in lines)], CHICAGO).get("a", [])
    start = 1630904400  # midnight
    return [
        AlarmSpan(kind, (raised - start) / HOUR, cleared and (cleared - start) / HOUR)
        for kind, raised, cleared in spans
    ]


def test_a_recovery_ends_the_alarm_with_its_limit() -> None:
    assert log("01:00,a,exceed,6,5", "02:00,a,deficit,-1,0", "03:00,a,recovery,4,5") == [
        AlarmSpan("high", 1, 3),
        AlarmSpan("low", 2, None),
    ]


def test_a_recovery_without_matching_limit_ends_the_last_alarm() -> None:
    assert log("01:00,a,exceed,6,5", "03:00,a,recovery,4,") == [AlarmSpan("high", 1, 3)]
    assert log("01:00,a,exceed,6,5", "03:00,a,recovery,4,99") == [AlarmSpan("high", 1, 3)]


def test_unmatched_recoveries_and_other_events_are_ignored() -> None:
    assert log("01:00,a,recovery,4,5", "02:00,a,battery_low,,", "03:00,a,sensor_fault,,") == []


def test_events_with_the_same_time_have_the_same_instant() -> None:
    lines = ["2021-11-07 01:30,a,exceed,6,5", "2021-11-07 01:30,b,exceed,6,5"]
    alarms = event_log.alarms([HEAD, *lines], CHICAGO)
    assert alarms["a"] == alarms["b"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rules": "rules: [{high: [5]}]"}, "rules.yaml: rule 1: Expected"),
        ({"rules": "high: 5"}, "rules.yaml: must contain a list of rules under the key `rules`"),
        ({"rules": "rules: ["}, "rules.yaml: while parsing"),
        ({"rules": "rules: [{scope: {sensor_name: z}, high: 5}]"}, "no rule sets a high or low limit for a sensor in"),
        ({"head": "time,sensor"}, "log.csv: the log has no column event"),
        ({"line": "yesterday,a,exceed,6,5"}, "log.csv: line 2: 'yesterday' is not a time"),
        ({"last": "2021-09-05"}, "--to is earlier than --from"),
        ({"last": "tomorrow"}, "'tomorrow' is not a day; write one like 2021-09-06"),
        ({"zone": "Mars"}, "'Mars' is not a time zone"),
    ],
)
def test_an_input_error_is_reported_in_one_line(tmp_path: Path, change: dict[str, str], why: str) -> None:
    write(tmp_path, column(BREACH), [], change.get("rules", RULES))
    (tmp_path / "log.csv").write_text("\n".join([change.get("head", HEAD), change.get("line", "")]), encoding="utf-8")
    done = run(tmp_path, *arguments(last=change.get("last", "2021-09-06"), zone=change.get("zone", "UTC")))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("alarms: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, column(BREACH), [])
    (tmp_path / "log.csv").unlink()
    done = run(tmp_path, *arguments())
    assert (done.returncode, done.stderr) == (2, "alarms: cannot read log.csv: No such file or directory\n")


@pytest.mark.slow
def test_the_cold_store_rules_agree_with_its_own_alarm_log(coldstore: Path) -> None:
    command = [sys.executable, "-m", "alarms", "score"]
    files = [str(coldstore / "readings.csv"), str(coldstore / "alarms-2021.csv")]
    rules = ["--rules", "docs/examples/coldstore-rules.yaml", "--time-zone", "America/Chicago"]
    days = ["--from", "2021-09-06", "--to", "2021-12-31"]
    line = subprocess.run(
        [*command, *files, *rules, *days], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    result = json.loads(line)
    assert result["f1"] >= 0.98
    assert result["ends_within_15_min"] >= 0.95
    often = {name: agreement["f1"] for name, agreement in result["sensors"].items() if agreement["theirs"] >= 20}
    assert often.keys() == {"platform_1", "platform_2", "deepfreezer_1", "deepfreezer_2", "freezer_2"}
    assert min(often.values()) >= 0.95
    assert result["sensors"].keys() == often.keys() | {"cooler_1", "cooler_2"}
