"""The caller of an event: a connection with its user and address."""

from dataclasses import dataclass

from access.user import User


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection's id, user and remote address."""

    sid: str
    user: User
    address: str
