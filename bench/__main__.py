"""The command: measures one subject after the other, prints a summary, and writes the page after a whole run."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    asking,
    committing,
    connecting,
    fanout,
    latency,
    memory,
    page,
    saturation,
    stall,
    ticking,
)
from bench.child import Failed
from bench.peers import Yard
from bench.report import Report

SUBJECTS: dict[str, Callable[[Yard, Report], None]] = {
    "fanout": fanout.run,
    "saturation": saturation.run,
    "latency": latency.run,
    "memory": memory.run,
    "stall": stall.run,
    "asking": asking.run,
    "connecting": connecting.run,
    "ticking": ticking.run,
    "committing": committing.run,
}


def main() -> int:
    """Run the command; return its exit status: 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures this server and its peers in one run.")
    parser.add_argument("subject", nargs="*", metavar="SUBJECT", help=f"one of {', '.join(SUBJECTS)}; none: all")
    wanted = parser.parse_args().subject or list(SUBJECTS)
    unknown = set(wanted) - set(SUBJECTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    report = Report()
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="storewatch-bench-") as folder:
            yard = Yard(Path(folder))
            yard.build()
            for name in wanted:
                start = time.monotonic()
                SUBJECTS[name](yard, report)
                print(f"  ({time.monotonic() - start:.0f} s)")
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    minutes = (time.monotonic() - began) / 60
    _summarise(report, minutes)
    if set(wanted) == set(SUBJECTS):
        page.write(report, minutes)
    return 1 if report.broken else 0


def _summarise(report: Report, minutes: float) -> None:
    promised = [row for row in report.rows if row.promised]
    print(f"\n{len(promised) - len(report.broken)} of {len(promised)} promises hold, after {minutes:.0f} minutes")
    for row in promised:
        print(f"  {row.verdict:<4} {row.subject:<11} {row.what:<66} {row.figure:>10}, {row.promised}")


if __name__ == "__main__":
    sys.exit(main())
