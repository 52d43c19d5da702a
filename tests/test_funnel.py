"""From exception to answer: one table."""

from typing import Any

import msgspec
import pytest

import errors
from access.access_denied import AccessDenied
from ask.answers import Refusal
from ask.questions import Register
from server import EVENTS, decode, refuse
from transport import UNREADABLE, EventName, TextPacket

REFUSALS: list[tuple[Exception, Refusal]] = [
    (errors.BadRequest("too long", "points"), Refusal("bad_request", "too long", "points")),
    (errors.UnknownEvent("no such event"), Refusal("unknown_event", "no such event")),
    (errors.NotFound("no storehouse 7", "store_house_id"), Refusal("not_found", "no storehouse 7", "store_house_id")),
    (errors.Forbidden("only for operators"), Refusal("forbidden", "only for operators")),
    (errors.RateLimited("too fast"), Refusal("rate_limited", "too fast")),
    (AccessDenied("expired", "this session has ended"), Refusal("expired", "this session has ended")),
    (errors.Unavailable("the database does not answer"), Refusal("unavailable", "the database does not answer")),
    (KeyError("secret"), Refusal("internal", "this is a defect of the server; its log says more")),
    (TypeError("secret"), Refusal("internal", "this is a defect of the server; its log says more")),
    (RecursionError("secret"), Refusal("internal", "this is a defect of the server; its log says more")),
]


@pytest.mark.parametrize(("error", "refusal"), REFUSALS, ids=lambda value: type(value).__name__)
def test_every_exception_becomes_one_answer(error: Exception, refusal: Refusal) -> None:
    assert refuse(error, "orgs") == refusal


def test_every_error_of_ours_stands_in_the_table() -> None:
    assert {type(error) for error, _ in REFUSALS} >= set(errors.StorewatchError.__subclasses__())


def test_a_defect_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
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
def test_a_payload_that_does_not_fit_is_refused(event: str, payload: list[Any]) -> None:
    with pytest.raises(errors.BadRequest) as refused:
        decode(EVENTS[event], payload)
    assert refused.value.field is not None or payload == [UNREADABLE]


def test_keys_that_are_not_known_and_further_arguments_are_ignored() -> None:
    asked = decode(EVENTS["register"], [{"store_house_id": "A", "colour": "red"}, "more"])
    assert asked == Register("A")


@pytest.mark.parametrize("name", ["connect", "disconnect", "orgs", "", "漢字"])
def test_a_name_that_came_over_the_wire_is_marked_as_such(name: str) -> None:
    packet = TextPacket(encoded_packet="2" + msgspec.json.encode([name]).decode())
    assert type(packet.data[0]) is EventName
    assert packet.data[0] == name


@pytest.mark.parametrize("text", ["2", "2{}", "2[]", "2[null]", "2[{}]", "2[", "2x"])
def test_an_event_that_has_no_name_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|payload"):
        TextPacket(encoded_packet=text)
