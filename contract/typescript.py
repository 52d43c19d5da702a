"""Generates dashboard/contract.d.ts, which contains the types of the messages for the dashboard's JavaScript."""

import inspect
import types
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from access.user import Role
from alarms.model import Limit
from alarms.rules import Profile, Rule
from ask.answers import Alarm, Id, Point, Quality, Refusal, RuleChange, Rules, StorehouseState
from ask.questions import Nothing, PreviewAlarms, SaveRules
from common.severity import Severity
from contract.asyncapi import SENT
from server import EVENTS, Event

PATH = Path(__file__).parent.parent / "dashboard" / "contract.d.ts"

HEADER = """\
// The messages between the server and the page. Generated from the server's types by `python -m contract`: do not edit.
// Times are ISO 8601 in UTC. The page's own types are in types.d.ts.
"""
ACKNOWLEDGEMENT = """\
/** The server's acknowledgement of a question. */
export type Acknowledgement<Answer> = { ok: true; data: Answer } | { ok: false; error: Refusal };
"""


class Alias(NamedTuple):
    """A type that is not a struct, but gets a name of its own in TypeScript."""

    name: str
    type_: Any
    about: str


ID = Alias("Id", Id, "An id has the JSON type of its database column.")
ALIASES = (
    ID,
    Alias("Severity", Severity, "Severities in ascending order. A site's own alarm system may use other severities."),
    Alias("Quality", Quality, "The quality of a reading."),
    Alias("StorehouseState", StorehouseState, "The state of a storehouse in the overview."),
    Alias("Role", Role, "Roles in ascending order. Each role includes the permissions of the roles before it."),
    Alias("Profile", Profile, "The name of a set of predefined limits."),
    Alias("Point", Point, "A bucket: its start, and the minimum, maximum, mean and count of its good readings."),
)
_NAMES = {alias.type_: alias.name for alias in ALIASES}

_PRECISE: dict[tuple[type[Any], str], Any] = {
    (Rules, "rules"): list[Rule],
    (RuleChange, "before"): list[Rule],
    (RuleChange, "after"): list[Rule],
    (SaveRules, "rules"): list[Rule],
    (PreviewAlarms, "rules"): list[Rule],
    (Alarm, "limits"): list[Limit],
}
"""More precise TypeScript types for some fields.

The server passes on the values of these fields without decoding them.
"""

_SCALARS = {int: "number", float: "number", str: "string", bool: "boolean", datetime: "string", Any: "unknown"}
_WIDTH = 120


def text() -> str:
    """Return the text of dashboard/contract.d.ts."""
    return "\n".join(
        [HEADER, *map(_alias, ALIASES), *map(_interface, _structs()), ACKNOWLEDGEMENT, _events(), _pushes()]
    )


def _structs() -> list[type[Any]]:
    """Return all structs of the contract, in the order in which a depth-first search finds them."""
    roots = [type_ for event in EVENTS.values() for type_ in (event.question, event.answer)]
    roots += [*(type_ for type_, _ in SENT.values()), Refusal]
    structs: dict[type[Any], None] = {}
    waiting = roots[::-1]
    while waiting:
        type_ = waiting.pop()
        if not _is_struct(type_):
            waiting += get_args(type_)[::-1]
        elif type_ is not Nothing and type_ not in structs:
            structs[type_] = None
            waiting += [field for _, field, _ in _fields(type_)][::-1]
    return list(structs)


def _fields(struct: type[Any]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name and type of each field of a struct, and whether the field may be left out."""
    for field in msgspec.structs.fields(struct):
        yield field.encode_name, _PRECISE.get((struct, field.name), field.type), not field.required


def _alias(alias: Alias) -> str:
    return f"{_comment(alias.about)}export type {alias.name} = {_expanded(alias.type_)};\n"


def _interface(struct: type[Any]) -> str:
    lines = [f"  {name}{'?' * optional}: {_type(type_)};" for name, type_, optional in _fields(struct)]
    return "\n".join([f"{_comment(_doc(struct))}export interface {struct.__name__} {{", *lines, "}\n"])


def _events() -> str:
    lines = [
        f"{_comment(_about(event), '  ')}  {name}: {_question_and_answer(event)};" for name, event in EVENTS.items()
    ]
    return "\n".join(["/** The questions that the page asks, by event. */", "export interface Events {", *lines, "}\n"])


def _about(event: Event) -> str:
    about = "" if event.question is Nothing else _doc(event.question).split("\n")[0]
    needs = f"Needs the role {event.needs}." if event.needs != "watch" else ""
    return "\n".join(line for line in (about, needs) if line)


def _question_and_answer(event: Event) -> str:
    question = "unknown" if event.question is Nothing else _type(event.question)
    question += " | Id" if event.bare else ""
    return f"{{ question: {question}; answer: {_type(event.answer)} }}"


def _pushes() -> str:
    lines = [f"{_comment(about, '  ')}  {name}: {_type(type_)};" for name, (type_, about) in SENT.items()]
    return "\n".join(["/** The pushes that the server sends, by event. */", "export interface Pushes {", *lines, "}\n"])


def _type(type_: Any) -> str:
    """Convert a type of the server to TypeScript. If the type has a name in TypeScript, return the name."""
    if _is_struct(type_):
        return str(type_.__name__)
    return _NAMES.get(type_) or _expanded(type_)


def _expanded(type_: Any) -> str:
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " | ".join(f'"{word}"' for word in arguments)
    if _is_union(type_):
        return _union(arguments)
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        element = _type(arguments[0])
        return f"({element})[]" if " | " in element else f"{element}[]"
    if origin is tuple:
        return f"[{', '.join(map(_type, arguments))}]"
    if origin is dict:
        return f"Record<string, {_type(arguments[1])}>"
    if type_ is None or type_ is type(None):
        return "null"
    return _SCALARS[type_]


def _union(members: Sequence[Any]) -> str:
    """Return a union type in TypeScript, with null last. Leave out `UnsetType`, because messages omit unset values."""
    names = [_type(member) for member in members if member is not msgspec.UnsetType]
    if {int, str} < set(members):  # an id or another type
        names = [ID.name, *(name for name in names if name not in ("number", "string"))]
    return " | ".join(sorted(dict.fromkeys(names), key=lambda name: name == "null"))


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _doc(struct: type[Any]) -> str:
    # Before Python 3.13, docstrings contain their indentation.
    return inspect.cleandoc(struct.__doc__ or "")


def _comment(text: str, indent: str = "") -> str:
    if not text:
        return ""
    lines = text.split("\n")
    if len(lines) == 1 and len(indent) + len(text) + 7 <= _WIDTH:
        return f"{indent}/** {text} */\n"
    return "\n".join([f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */\n"])
