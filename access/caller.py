"""Who asks something of us."""

from dataclasses import dataclass

from access.user import User


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection, who it is, and the address it comes from."""

    sid: str
    user: User
    address: str
