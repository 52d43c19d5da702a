"""The files in deploy/ match the program.

These tests only read the files. Tests in test_several_processes run nginx with nginx.conf.
"""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import main
from settings import Settings, load
from tests.support.serving import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "storewatch@.service"
PORTS = ["8001", "8002"]


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return dict(compose["services"])


def several(settings: Settings) -> bool:
    """Return whether the settings are meant for several processes."""
    return settings.redis is not None and settings.state_database.kind == "mysql" and settings.host == "127.0.0.1"


def test_nginx_uses_the_ports_of_the_started_processes(composed: dict[str, Any]) -> None:
    assert re.findall(r"server 127\.0\.0\.1:(\d+)", (DEPLOY / "nginx.conf").read_text()) == PORTS
    assert [composed[name]["command"] for name in ("storewatch-1", "storewatch-2")] == [[port] for port in PORTS]
    assert composed["nginx"]["volumes"] == ["./nginx.conf:/etc/nginx/conf.d/default.conf:ro"]


def test_the_containers_have_valid_settings(composed: dict[str, Any]) -> None:
    for name in ("storewatch-1", "storewatch-2"):
        service = composed[name]
        settings, _ = load(None, service["environment"])
        assert several(settings)
        assert settings.redis is not None
        assert {settings.sensor_database.host, settings.redis.host} == set(service["depends_on"])
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_the_unit_uses_the_port_in_its_name() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    _python, script, *arguments = unit["Service"]["ExecStart"].replace("%i", PORTS[0]).split()
    assert script == "main.py"
    assert main.parse(arguments).port == int(PORTS[0])
    assert unit["Service"]["User"] == "storewatch"
    assert float(unit["Service"]["TimeoutStopSec"]) > 5


def test_systemd_analyze_accepts_the_unit(tmp_path: Path) -> None:
    if not (program := shutil.which("systemd-analyze")):
        return  # systemd-analyze is part of systemd, and most containers have no systemd
    instance = tmp_path / UNIT.name.replace("@", f"@{PORTS[0]}")
    instance.write_text(UNIT.read_text().replace("/opt/storewatch/.venv/bin/python", "/bin/true"))
    done = subprocess.run([program, "verify", instance], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_example_configures_several_processes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "settings.yaml"
    path.write_text(example)
    assert several(load(str(path), {})[0])
