"""How the server decodes events and turns exceptions into answers."""

from typing import Any

import msgspec
import pytest

import errors
from access.access_denied import AccessDenied
from ask.answers import Refusal
from ask.questions import Register
from server import EVENTS, decode, refuse
from transport import UNREADABLE, EventName, TextPacket

DEFECT = Refusal(
    "internal", "the server failed to handle the event; its log has the traceback", None, {"reason": "internal"}
)
MANY = errors.BadRequest("more than 9 alarms", "data_minute", reason="too_many_alarms", most=9)
REFUSALS: list[tuple[Exception, Refusal]] = [
    (MANY, Refusal("bad_request", "more than 9 alarms", "data_minute", {"reason": "too_many_alarms", "most": 9})),
    (
        errors.UnknownEvent("no such event"),
        Refusal("unknown_event", "no such event", None, {"reason": "unknown_event"}),
    ),
    (errors.NotFound("no", "store_house_id"), Refusal("not_found", "no", "store_house_id", {"reason": "not_found"})),
    (errors.Forbidden("only for operators"), Refusal("forbidden", "only for operators", None, {"reason": "forbidden"})),
    (errors.RateLimited("too fast"), Refusal("rate_limited", "too fast", None, {"reason": "rate_limited"})),
    (errors.Conflict("others", "revision"), Refusal("conflict", "others", "revision", {"reason": "conflict"})),
    (AccessDenied("expired", "it has ended"), Refusal("expired", "it has ended", None, {"reason": "expired"})),
    (errors.Unavailable("no answer"), Refusal("unavailable", "no answer", None, {"reason": "unavailable"})),
    (KeyError("secret"), DEFECT),
    (TypeError("secret"), DEFECT),
    (RecursionError("secret"), DEFECT),
]


@pytest.mark.parametrize(("error", "refusal"), REFUSALS, ids=lambda value: type(value).__name__)
def test_every_exception_becomes_one_answer(error: Exception, refusal: Refusal) -> None:
    assert refuse(error, "orgs") == refusal


def test_the_table_contains_every_storewatch_error() -> None:
    assert {type(error) for error, _ in REFUSALS} >= set(errors.StorewatchError.__subclasses__())


def test_a_defect_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("inside")
    except KeyError as error:
        refuse(error, "orgs")
    assert "inside" in caplog.text
    assert "Traceback" in caplog.text


NEEDING = [
    name for name, event in EVENTS.items() if any(field.required for field in msgspec.structs.fields(event.question))
]


@pytest.mark.parametrize("event", NEEDING)
@pytest.mark.parametrize("payload", [[], [None], [[]], [True], [1.5], [{}], [{"store_house_id": {}}], [UNREADABLE]])
def test_an_invalid_payload_is_refused(event: str, payload: list[Any]) -> None:
    with pytest.raises(errors.BadRequest) as refused:
        decode(EVENTS[event], payload)
    assert refused.value.field is not None or payload == [UNREADABLE]


def test_unknown_keys_and_extra_arguments_are_ignored() -> None:
    asked = decode(EVENTS["register"], [{"store_house_id": "A", "colour": "red"}, "more"])
    assert asked == Register("A")


@pytest.mark.parametrize("name", ["connect", "disconnect", "orgs", "", "漢字"])
def test_an_event_name_from_a_client_has_its_own_type(name: str) -> None:
    packet = TextPacket(encoded_packet="2" + msgspec.json.encode([name]).decode())
    assert type(packet.data[0]) is EventName
    assert packet.data[0] == name


@pytest.mark.parametrize("text", ["2", "2{}", "2[]", "2[null]", "2[{}]", "2[", "2x"])
def test_an_event_without_a_name_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|payload"):
        TextPacket(encoded_packet=text)
