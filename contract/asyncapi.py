"""Generates docs/asyncapi.yaml from the types that the server decodes with."""

import inspect
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ask.answers import Alarms, AskError, Ended, Envs, Overview, Refusal, Who
from server import EVENTS, Event

PATH = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"
REFERENCE = "#/components/schemas/{name}"

PUSHED: dict[str, tuple[Any, str]] = {
    "envs": (Envs, "The watched storehouse: at register, then whenever a reading is new or a quality has changed."),
    "alarms": (Alarms, "Alarm transitions of the watched storehouse, in order, none left out."),
    "overview": (Overview, "To watchers of the overview: the organisations that look different, each of them whole."),
    "whoami": (Who, "To a user whose role or visibility has changed."),
    "ask_error": (AskError, "A question was refused."),
    "ended": (Ended, "The server is about to close the connection; `code` says why."),
}


def document() -> dict[str, Any]:
    """Return the AsyncAPI document: the messages of browsers, and those of the server."""
    questions = {name: _question(name, event) for name, event in EVENTS.items()}
    answers = {f"{name}.answer": _answer(name, event) for name, event in EVENTS.items() if not event.emitted_as}
    pushes = {f"{name}.push": _message(name, name, about, type_) for name, (type_, about) in PUSHED.items()}
    messages = questions | answers | pushes
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Storewatch",
            "version": "1",
            "description": "Socket.IO 5 over Engine.IO 4, at /socket.io/. docs/protocol.md explains.",
        },
        "channels": {"/": {"address": "/", "messages": {key: _reference("messages", key) for key in messages}}},
        "operations": {
            "ask": _operation("receive", questions),
            "answer": _operation("send", answers),
            "push": _operation("send", pushes),
        },
        "components": {"messages": messages, "schemas": _schemas()},
    }


def text() -> str:
    """Return the document as YAML."""
    return yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _schemas() -> dict[str, Any]:
    """Return the schema of every struct, by its name."""
    types = [*(event.question for event in EVENTS.values()), *(event.answer for event in EVENTS.values())]
    types += [*(type_ for type_, _ in PUSHED.values()), Refusal]
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for schema in schemas.values():
        # From Python 3.13 on, docstrings come without their indentation; msgspec leaves it as it is.
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return dict(schemas)


def _question(name: str, event: Event) -> dict[str, Any]:
    acknowledgement = {
        "oneOf": [
            {"type": "object", "properties": {"ok": {"const": True}, "data": _schema(event.answer)}},
            {"type": "object", "properties": {"ok": {"const": False}, "error": _schema(Refusal)}},
        ]
    }
    about = inspect.cleandoc(event.question.__doc__ or "")
    return _message(name, name, about, event.question) | {"x-acknowledgement": acknowledgement}


def _answer(name: str, event: Event) -> dict[str, Any]:
    return _message(name, f"{name}, answered", "The answer, to the asking connection.", event.answer)


def _message(name: str, title: str, about: str, type_: Any) -> dict[str, Any]:
    return {"name": name, "title": title, "description": about, "payload": _schema(type_)}


def _schema(type_: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([type_], ref_template=REFERENCE)
    return schema


def _operation(action: str, messages: dict[str, Any]) -> dict[str, Any]:
    references = [{"$ref": f"#/channels/~1/messages/{key}"} for key in messages]
    return {"action": action, "channel": {"$ref": "#/channels/~1"}, "messages": references}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
