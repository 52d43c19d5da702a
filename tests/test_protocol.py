"""The documents of the protocol agree with the types in the server."""

import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from ask.answers import Envs
from contract import asyncapi, typescript
from contract.generated import GENERATED
from errors import Reason, StorewatchError
from server import EVENTS
from tests.support.serving import ROOT

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRACT = {
    "bad_request",
    "unknown_event",
    "not_found",
    "forbidden",
    "rate_limited",
    "unavailable",
    "conflict",
    "internal",
}
"""The error codes that clients rely on."""
FOLDERS = ("access", "alarm_service", "alarms", "ask", "db", "live", "record")
SOURCES = [
    path.read_text(encoding="utf-8")
    for path in [ROOT / "server.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
]
"""The modules that give reasons for errors."""


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "run: python -m contract"


def test_typescript_has_every_struct_of_the_schemas() -> None:
    interfaces = set(re.findall(r"export interface (\w+)", typescript.text()))
    assert set(asyncapi.document()["components"]["schemas"]) - {"Nothing"} <= interfaces


def test_every_reference_in_the_schema_document_resolves() -> None:
    document = asyncapi.document()
    for reference in re.findall(r"\$ref: '?(#\S+?)'?\n", asyncapi.text()):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/")]
        assert target


def test_a_real_message_matches_its_schema() -> None:
    document = asyncapi.document()
    schema = document["components"]["messages"]["envs.push"]["payload"] | {"components": document["components"]}
    message = '{"store_house_id": "a", "cursor": 3, "time": "2026-11-22T15:00:00Z", "stale": false, '
    message += '"unrecorded": false, "envs": []}'
    jsonschema.validate(msgspec.json.decode(message), schema)
    assert msgspec.json.decode(message, type=Envs).cursor == 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"store_house_id": 1}, schema)


@pytest.mark.parametrize("name", [*EVENTS, *asyncapi.SENT])
def test_every_event_is_documented(name: str) -> None:
    assert f"`{name}`" in PROTOCOL
    assert f"`{name}`" in README


def test_the_error_codes_are_those_of_the_contract() -> None:
    codes = {StorewatchError.code, *(error.code for error in StorewatchError.__subclasses__())}
    assert codes == CONTRACT


@pytest.mark.parametrize("code", sorted(CONTRACT))
def test_every_error_code_is_documented(code: str) -> None:
    assert f"`{code}`" in PROTOCOL


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_is_used_and_documented(reason: str) -> None:
    assert any(f'"{reason}"' in source for source in SOURCES)
    assert f"`{reason}`" in PROTOCOL


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_every_key_of_a_question_is_documented(event: Any) -> None:
    for field in msgspec.structs.fields(event.question):
        assert f"`{field.name}`" in PROTOCOL
