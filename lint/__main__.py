"""The command `python -m lint`: prints a line for each problem in the source tree, and fails if there is a problem."""

import sys
from pathlib import Path

from lint import cycles, names, sizes
from lint.sources import sources

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run all checks and return the exit status."""
    files = sources(ROOT)
    problems = [*names.check(files), *sizes.check(files), *cycles.check(files)]
    for problem in sorted(problems):
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
