"""An authenticated user: role, visibility and means of authentication."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ask.visibility import EVERYTHING, Visibility

Role = Literal["watch", "operate", "configure"]
ROLES: tuple[Role, ...] = ("watch", "operate", "configure")
"""All roles, in ascending order: each role includes the permissions of the roles before it."""


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user. `means` is the method of authentication, and `expires` is the end of the access."""

    name: str
    role: Role
    visibility: Visibility = EVERYTHING
    expires: datetime | None = None
    means: Literal["open", "password", "token"] = "password"
    session: str = ""
    """Id of the login session or of the token (claim `jti`). The settings can revoke the session or token by its id."""
    proof: str = field(default="", repr=False)
    """A hash that identifies the user's password or token key. If the password or key changes, the access ends."""
    begun: datetime | None = None
    """Start of the login session, or None for a token. The settings determine the lifetime of a session."""

    def may(self, role: Role) -> bool:
        """Return whether this user's role includes the permissions of `role`."""
        return ROLES.index(self.role) >= ROLES.index(role)


ANYBODY = User("", "configure", means="open")
"""The user of every connection if the settings give access to everybody."""


def visibility_of(organisations: Sequence[int | str] | None, storehouses: Sequence[int | str] | None) -> Visibility:
    """Return a visibility that includes these organisations and storehouses, or everything if both are None."""
    ids = (None if given is None else frozenset(map(str, given)) for given in (organisations, storehouses))
    return Visibility(*ids)
