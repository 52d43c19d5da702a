"""The command, run to its end."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support import planted
from tests.support.serving import ROOT, clean_environment, with_defaults


def run(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """`python main.py ARGUMENTS` in this folder."""
    command = [sys.executable, str(ROOT / "main.py"), *arguments]
    environment = clean_environment() | (env or {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    planted.record_leaks(done.stdout + done.stderr, "what main.py prints")
    return done


def check(cwd: Path, settings: dict[str, Any]) -> tuple[int, str]:
    """`python main.py --check`: the exit status, and what it prints; it has nothing to say on stderr."""
    config = cwd / "settings.yaml"
    config.write_text(yaml.safe_dump(with_defaults(settings), allow_unicode=True, sort_keys=False), encoding="utf-8")
    done = run(cwd, "--check", "--config", str(config))
    assert done.stderr == ""
    return done.returncode, done.stdout
