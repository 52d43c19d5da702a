"""The errors of Storewatch. Each reported error has a code, and `server.py` converts the error to an error answer."""

from typing import Literal

Params = dict[str, float | str]
Reason = Literal[
    "alarm_pending",
    "end_before_start",
    "full_visibility_required",
    "high_high_not_above_high",
    "invalid_limit",
    "invalid_rule",
    "invalid_value",
    "low_low_not_below_low",
    "missing_field",
    "not_recorded",
    "permissions_changed",
    "preview_failed",
    "preview_too_slow",
    "query_too_slow",
    "role_required",
    "same_scope",
    "site_alarm",
    "span_too_long",
    "start_in_future",
    "time_out_of_range",
    "too_many_alarms",
    "too_many_readings",
    "too_many_readings_per_hour",
    "too_many_rows",
    "too_many_waiting",
    "unknown_alarm",
    "unknown_maintenance",
    "unknown_organisation",
    "unknown_sensor",
    "unknown_storehouse",
]
"""Error reasons, which are more specific than error codes.

`docs/protocol.md` and `dashboard/words/` explain each reason.
"""


class StorewatchError(Exception):
    """An error that is reported to the caller. `code` is the kind of error.

    `field` is the key of the invalid value in the payload.

    `message` is in English. A browser builds a sentence in the user's language from `reason` and `values`.
    """

    code = "internal"

    def __init__(
        self, message: str, field: str | None = None, *, reason: Reason | None = None, **values: float | str
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason
        self.values = values

    @property
    def params(self) -> Params:
        """The `values` of the error, and its `reason`. If no reason was given, `reason` is the error code."""
        return {"reason": self.reason or self.code, **self.values}


class BadRequest(StorewatchError):
    """The payload of an event is missing, has a wrong type or is out of range."""

    code = "bad_request"


class UnknownEvent(StorewatchError):
    """There is no event with this name."""

    code = "unknown_event"


class NotFound(StorewatchError):
    """The object does not exist, or the caller may not see it."""

    code = "not_found"


class Forbidden(StorewatchError):
    """The caller may see the object but may not perform the action, for example because of their role."""

    code = "forbidden"


class RateLimited(StorewatchError):
    """The caller has sent too many events in too short a time."""

    code = "rate_limited"


class Unavailable(StorewatchError):
    """The database does not answer, or not in time."""

    code = "unavailable"


class NotRecorded(Unavailable):
    """The database cannot be written, so the change was certainly not recorded."""


class Conflict(StorewatchError):
    """The caller has tried to save alarm rules that somebody else has changed since the caller read them."""

    code = "conflict"


class UsageError(Exception):
    """A setting or argument is wrong. The message is one line for the operator, and the process exits with status 2."""


class Unreachable(UsageError):
    """A database cannot be reached at the moment, although no setting is known to be wrong.

    A command reports this like any other `UsageError`. The server keeps running and tries again.
    """
