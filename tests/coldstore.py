"""A server that has a year of a real cold store, as `python -m ingest` brings it in."""

import subprocess
import sys
from pathlib import Path

from tests.serving import ROOT, StorewatchServer, clean_environment

ZONE = "America/Chicago"
SENSORS = 10


def with_year(data: Path, folder: Path) -> StorewatchServer:
    """Import the folder's readings into a database of ours; the server is not started yet."""
    server = StorewatchServer(folder, {"database": {"path": str(folder / "year.db")}})
    command = [sys.executable, "-m", "ingest", "csv", str(data / "readings.csv"), "--config", str(server.config)]
    options = ["--store-house", "Cold store", "--time-zone", ZONE]
    subprocess.run([*command, *options], cwd=ROOT, env=clean_environment(), check=True, capture_output=True)
    return server
