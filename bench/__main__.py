"""The command `python -m bench`.

It measures each subject, writes the subject's section of docs/performance.md and prints a summary.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import (
    asking,
    charting,
    committing,
    connecting,
    fanout,
    judging,
    latency,
    memory,
    page,
    previewing,
    ringing,
    saturation,
    scaling,
    stall,
    ticking,
    watching,
)
from bench.child import Failed
from bench.peers import Workspace
from bench.report import Report, Row

SUBJECTS: dict[str, Callable[[Workspace, Report], None]] = {
    "fanout": fanout.run,
    "saturation": saturation.run,
    "latency": latency.run,
    "memory": memory.run,
    "stall": stall.run,
    "asking": asking.run,
    "connecting": connecting.run,
    "ticking": ticking.run,
    "committing": committing.run,
    "charting": charting.run,
    "watching": watching.run,
    "judging": judging.run,
    "previewing": previewing.run,
    "ringing": ringing.run,
    "scaling": scaling.run,
}


def main() -> int:
    """Run the command. Return the exit status.

    The status is 2 if a subject failed, 1 if a target was missed, and 0 otherwise.
    """
    parser = argparse.ArgumentParser(prog="bench", description="Measure Storewatch and comparable servers.")
    parser.add_argument("subject", nargs="*", metavar="SUBJECT", help=f"one of {', '.join(SUBJECTS)}; default: all")
    wanted = parser.parse_args().subject or list(SUBJECTS)
    unknown = set(wanted) - set(SUBJECTS)
    if unknown:
        parser.error(f"unknown subject: {', '.join(sorted(unknown))}; choose from {', '.join(SUBJECTS)}")
    began = time.monotonic()
    rows: list[Row] = []
    failed = []
    with tempfile.TemporaryDirectory(prefix="storewatch-bench-") as folder:
        workspace = Workspace(Path(folder))
        workspace.build()
        for name in wanted:
            start = time.monotonic()
            report = Report()
            try:
                SUBJECTS[name](workspace, report)
            except Failed as error:
                # The page keeps the old section of this subject. The other subjects are still measured.
                print(f"bench: {name}: {error}", file=sys.stderr)
                failed.append(name)
            else:
                page.write(report, list(SUBJECTS))
                rows += report.rows
            print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    broken = _summarise(rows, failed, (time.monotonic() - began) / 60)
    return 2 if failed else 1 if broken else 0


def _summarise(rows: Sequence[Row], failed: Sequence[str], minutes: float) -> list[Row]:
    """Print a summary of all results that have a target. Return the results that missed their target."""
    promised = [row for row in rows if row.promised]
    broken = [row for row in promised if row.holds is False]
    measured = [row for row in promised if row.holds is not None]
    print(f"\n{len(measured) - len(broken)} of {len(measured)} targets met, after {minutes:.0f} minutes")
    if len(measured) < len(promised):
        print(f"{len(promised) - len(measured)} more could not be measured")
    for row in promised:
        print(f"  {row.verdict:<4} {row.subject:<11} {row.what:<66} {row.figure:>10}, {row.promised}")
    if failed:
        print(f"could not be measured: {', '.join(failed)}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
