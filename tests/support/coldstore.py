"""A year of a real cold store in a database of ours, as `python -m ingest` brings it in."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.serving import ROOT, StorewatchServer, clean_environment

FOLDER = Path(os.environ.get("STOREWATCH_COLDSTORE", ROOT.parent / "shared" / "coldstore"))
"""Where it may be."""
ZONE = "America/Chicago"
SENSORS, READINGS = 10, 316_480


def year_in(folder: Path) -> dict[str, Any]:
    """The `database` settings of the year that is brought into this folder."""
    return {"path": str(folder / "year.db")}


def with_year(data: Path, folder: Path) -> StorewatchServer:
    """Bring the readings in `data` into a database in `folder`; the server that has it is not started yet."""
    server = StorewatchServer(folder, {"database": year_in(folder)})
    command = [sys.executable, "-m", "ingest", "csv", str(data / "readings.csv"), "--config", str(server.config)]
    options = ["--store-house", "Cold store", "--time-zone", ZONE]
    subprocess.run([*command, *options], cwd=ROOT, env=clean_environment(), check=True, capture_output=True)
    return server
