"""Each log record is one line and names the connection that caused it. Input from outside cannot forge a record."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import connected
from tests.support.serving import ROOT, Serve, StorewatchServer
from tests.support.sites import site

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) [\w.]+: ")
FORGED = "2026-01-01 00:00:00,000 ERROR main: forged"
ENDS = ("\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[2K", "\u202e", "\ud800")
# The program configures the log as the server does. The texts that it logs stand for input from outside.
PROGRAM = f"""
import logging, sys, logger
logger.configure("INFO", sys.argv[1])
log = logging.getLogger("test")
log.debug("too little")
for end in {ENDS!r}:
    log.warning("an event %s", "named" + end + {FORGED!r})
with logger.connection("abc"):
    try:
        raise ValueError("one\\n" + {FORGED!r} + "\\x85" + {FORGED!r})
    except ValueError:
        log.exception("failed")
log.warning("一号库", stack_info=True)
"""


def logged(form: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout == b""
    return done.stderr.decode()


def records(server: StorewatchServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log().splitlines()]


def test_input_from_outside_cannot_start_a_text_log_line() -> None:
    lines = logged("text").splitlines()
    begun = [line for line in lines if not line.startswith("    ")]
    assert all(LINE.match(line) for line in begun)
    assert len(begun) == len(ENDS) + 2
    assert not [line for line in lines if line.startswith(FORGED)]
    assert begun[0].endswith(rf" WARNING test: an event named\n{FORGED}")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", "\n".join(lines))


def test_a_traceback_in_a_text_log_is_indented() -> None:
    lines = logged("text").splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith("ERROR test: abc failed"))
    assert lines[at + 1] == "    Traceback (most recent call last):"
    assert f"    {FORGED}\\x85{FORGED}" in lines[at + 1 :]


def test_each_json_record_is_one_object_on_its_own_line() -> None:
    text = logged("json")
    assert text.isascii()
    objects = [json.loads(line) for line in text.splitlines()]
    assert len(objects) == len(ENDS) + 2
    assert objects[0] == {
        "time": objects[0]["time"],
        "level": "WARNING",
        "logger": "test",
        "message": f"an event named\n{FORGED}",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", objects[0]["time"])
    failed, last = objects[-2:]
    assert (failed["message"], failed["connection"]) == ("failed", "abc")
    assert failed["trace"].startswith("Traceback (most recent call last):\n")
    assert FORGED in failed["trace"]
    assert last["message"] == "一号库"
    assert last["trace"].startswith("Stack (most recent call last):\n")
    assert "connection" not in last


async def test_a_record_names_its_connection(serve: Serve, mariadb_database: dict[str, Any]) -> None:
    """The record contains a traceback, because an error about data counts as a defect of the server."""
    defect = "SIGNAL SQLSTATE '22003' SET MYSQL_ERRNO = 1264, MESSAGE_TEXT = 'no number fits'"
    with site(mariadb_database) as built:
        settings = {"database": mariadb_database, "log_level": "DEBUG", "log_format": "json"}
        async with serve(settings, traceback_allowed=True) as server:
            async with connected("python", server.url) as client, connected("python", server.url) as other_client:
                built.execute("ALTER TABLE organisation RENAME TO away")
                built.execute(f"CREATE FUNCTION fail() RETURNS INT BEGIN {defect}; RETURN 1; END")
                built.execute("CREATE VIEW organisation AS SELECT fail() AS org_id, 'North' AS org_name")
                assert (await other_client.call("orgs"))["error"]["code"] == "internal"
                assert (await client.call("unregister"))["ok"]
            await server.terminate()
            logged_records = records(server)
    came = [record["connection"] for record in logged_records if record["message"].startswith("connected from")]
    assert len(set(came)) == 2
    (failed,) = (record for record in logged_records if record["message"] == "orgs failed")
    assert (failed["connection"], failed["level"], failed["logger"]) == (came[1], "ERROR", "server")
    assert "no number fits" in failed["trace"]
    went = [record["connection"] for record in logged_records if record["message"].startswith("disconnected")]
    assert sorted(went) == sorted(came)
    (stopping,) = (record for record in logged_records if record["message"] == "stopping")
    assert "connection" not in stopping


async def test_a_record_of_a_worker_thread_names_its_connection(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        async with serve({"database": where, "log_level": "DEBUG"}) as server:
            async with connected("python", server.url) as client:
                built.execute("ALTER TABLE organisation RENAME TO away")
                assert (await client.call("orgs"))["error"]["code"] == "unavailable"
            (sid,) = re.findall(r" server: (\S+) connected from", server.log())
            lines = server.log().splitlines()
    lost, cause = (line for line in lines if "no such table: organisation" in line)
    assert re.search(rf" DEBUG db.database: {sid} query on sqlite .*\\n\[SQL: SELECT .*\\nFROM ", lost)
    assert re.search(
        rf" WARNING db.condition: {sid} cannot use the database sqlite .* for the clients' questions: ", cause
    )
    assert all(LINE.match(line) for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_records_below_the_level_are_not_logged(form: str) -> None:
    assert "too little" not in logged(form)
