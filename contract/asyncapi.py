"""Generates docs/asyncapi.yaml from the types with which the server decodes and encodes messages."""

import inspect
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ask.answers import Alarms, AskError, AskWaiting, Ended, Envs, Overview, Refusal, Who
from server import EVENTS, Event

PATH = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"
REFERENCE = "#/components/schemas/{name}"

PUSHED: dict[str, tuple[Any, str]] = {
    "envs": (Envs, "The state of the watched storehouse. Sent after `register`, a new reading or a change of quality."),
    "alarms": (Alarms, "All alarm transitions of the watched storehouse, in order."),
    "overview": (Overview, "Sent to clients that watch the overview: the changed organisations, each complete."),
    "whoami": (Who, "Sent to a user when the user's role or visibility has changed."),
    "ask_error": (AskError, "A question was refused."),
    "ended": (Ended, "The server is about to close the connection. `code` is the reason."),
}
PROGRESS: dict[str, tuple[Any, str]] = {
    "ask_waiting": (AskWaiting, "A `queryEnvs` or `previewAlarms` waits, because other long questions are running."),
}
"""Messages about a question that the server has not answered yet. Only the connection that asked gets them."""
SENT = PUSHED | PROGRESS
"""All events that the server sends besides the answers."""


def document() -> dict[str, Any]:
    """Return the AsyncAPI document, which describes the messages from clients and from the server."""
    questions = {name: _question(name, event) for name, event in EVENTS.items()}
    answers = {f"{name}.answer": _answer(name, event) for name, event in EVENTS.items() if not event.emitted_as}
    pushes = {f"{name}.push": _message(name, name, about, type_) for name, (type_, about) in SENT.items()}
    messages = questions | answers | pushes
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Storewatch",
            "version": "1",
            "description": "Socket.IO protocol 5 over Engine.IO protocol 4, at /socket.io/. See docs/protocol.md.",
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
    """Return the AsyncAPI document as YAML."""
    return yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes a string of several lines as a block (after `|`)."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _schemas() -> dict[str, Any]:
    """Return the JSON schema of every struct, keyed by the name of the struct."""
    types = [*(event.question for event in EVENTS.values()), *(event.answer for event in EVENTS.values())]
    types += [*(type_ for type_, _ in SENT.values()), Refusal]
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for schema in schemas.values():
        # Before Python 3.13, docstrings contain their indentation, and msgspec does not remove it.
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
    return _message(name, f"Answer to {name}", "The answer, sent to the connection that asked.", event.answer)


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
