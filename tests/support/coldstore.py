"""A year of a real cold store, imported into Storewatch's own tables with `python -m ingest`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.serving import ROOT, StorewatchServer, clean_environment

FOLDER = Path(os.environ.get("STOREWATCH_COLDSTORE", ROOT.parent / "shared" / "coldstore"))
"""Folder with the cold-store data. It may be missing."""
ZONE = "America/Chicago"
SENSORS, READINGS = 10, 316_480


def year_in(folder: Path) -> dict[str, Any]:
    """Return the `database` settings for the database in this folder, which contains the imported year."""
    return {"path": str(folder / "year.db")}


def with_year(data: Path, folder: Path) -> StorewatchServer:
    """Import the readings in the folder `data` into a new database in `folder`.

    Return a server that uses this database. The caller must start the server.
    """
    server = StorewatchServer(folder, {"database": year_in(folder)})
    command = [sys.executable, "-m", "ingest", "csv", str(data / "readings.csv"), "--config", str(server.config)]
    options = ["--store-house", "Cold store", "--time-zone", ZONE]
    subprocess.run([*command, *options], cwd=ROOT, env=clean_environment(), check=True, capture_output=True)
    return server
