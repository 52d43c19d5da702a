"""What can go wrong, each with the code that the browser gets.

`server.py` is the one place where these become answers.
"""


class StorewatchError(Exception):
    """An error that the caller is told: `code` names it, `field` the key of the payload at fault."""

    code = "internal"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadRequest(StorewatchError):
    """The payload is missing, ill-typed or out of range."""

    code = "bad_request"


class UnknownEvent(StorewatchError):
    """No such event."""

    code = "unknown_event"


class NotFound(StorewatchError):
    """There is no such thing, or the caller may not see it."""

    code = "not_found"


class Forbidden(StorewatchError):
    """The caller may see it, but not do this."""

    code = "forbidden"


class RateLimited(StorewatchError):
    """Too many events in too short a time."""

    code = "rate_limited"


class Unavailable(StorewatchError):
    """The database does not answer."""

    code = "unavailable"


class UsageError(Exception):
    """The operator can mend this: one line says what is wrong and how; the exit status is 2."""
