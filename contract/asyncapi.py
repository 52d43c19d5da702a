"""Writes docs/asyncapi.yaml from the very types that the server decodes with: `python asyncapi.py`."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from ask.answers import Alarms, AskError, Ended, Envs, Overview, Refusal, Who
from server import EVENTS, Event

PATH = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"
REFERENCE = "#/components/schemas/{name}"

PUSHED: dict[str, tuple[Any, str]] = {
    "envs": (Envs, "A storehouse as it stands: at register, then whenever a reading is new or a quality has changed."),
    "alarms": (Alarms, "Alarm transitions of the watched storehouse, in their order, none left out."),
    "overview": (Overview, "To those who watch the overview: the organisations that look different, each whole."),
    "whoami": (Who, "To somebody who may do, or see, something else from now on."),
    "ask_error": (AskError, "A question was refused."),
    "ended": (Ended, "The server ends the connection, for who it is may not come in any more."),
}


def document() -> dict[str, Any]:
    """Return the AsyncAPI document: what a browser sends, and what it is sent."""
    asked = {name: _question(name, event) for name, event in EVENTS.items()}
    answers = {f"{name}.answer": _answer(name, event) for name, event in EVENTS.items() if not event.emitted_as}
    pushes = {f"{name}.push": _message(name, name, about, type_) for name, (type_, about) in PUSHED.items()}
    messages = asked | answers | pushes
    types = [*(event.question for event in EVENTS.values()), *(event.answer for event in EVENTS.values())]
    types += [*(type_ for type_, _ in PUSHED.values()), Refusal]
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Storewatch",
            "version": "1",
            "description": "Socket.IO 5 over Engine.IO 4, at /socket.io/. docs/protocol.md explains.",
        },
        "channels": {"/": {"address": "/", "messages": {key: _reference("messages", key) for key in messages}}},
        "operations": {
            "ask": _operation("receive", asked),
            "answer": _operation("send", answers),
            "push": _operation("send", pushes),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def text() -> str:
    """Return the document as YAML."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)


def _question(name: str, event: Event) -> dict[str, Any]:
    acknowledgement = {
        "oneOf": [
            {"type": "object", "properties": {"ok": {"const": True}, "data": _schema(event.answer)}},
            {"type": "object", "properties": {"ok": {"const": False}, "error": _schema(Refusal)}},
        ]
    }
    about = (event.question.__doc__ or "").strip()
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


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
