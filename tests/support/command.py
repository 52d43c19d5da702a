"""Functions that run `main.py` as a command and wait until the command ends."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support import planted, preforked
from tests.support.serving import ROOT, clean_environment, with_defaults


def run(
    cwd: Path, *arguments: str, env: dict[str, str] | None = None, file_limit: int | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `python main.py ARGUMENTS` in the folder `cwd`. No file can become larger than `file_limit` bytes."""
    command = [sys.executable, str(ROOT / "main.py"), *arguments]
    if file_limit is not None:
        command = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(file_limit // 512), *command]
    environment = clean_environment() | (env or {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    planted.record_leaks(done.stdout + done.stderr, "what main.py prints")
    return done


def check(cwd: Path, settings: dict[str, Any]) -> tuple[int, str]:
    """Run `python main.py --check` and assert that stderr is empty. Return the exit status and stdout."""
    config = cwd / "settings.yaml"
    config.write_text(yaml.safe_dump(with_defaults(settings), allow_unicode=True, sort_keys=False), encoding="utf-8")
    arguments = ["--check", "--config", str(config)]
    status, out, err = preforked.run(arguments, cwd, clean_environment(), timeout_s=60)
    planted.record_leaks(out + err, "what main.py prints")
    assert err == ""
    return status, out
