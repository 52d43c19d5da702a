"""Who somebody is that came in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ask.visibility import EVERYTHING, Visibility

Role = Literal["watch", "operate", "configure"]
ROLES: tuple[Role, ...] = ("watch", "operate", "configure")
"""Each may do what those before it may."""


@dataclass(frozen=True, slots=True)
class User:
    """Who came in, what they may do and see, and until when; `means` is how they showed who they are."""

    name: str
    role: Role
    visibility: Visibility = EVERYTHING
    expires: datetime | None = None
    means: Literal["open", "password", "token"] = "password"
    session: str = ""
    """The id of the session, or of the token (`jti`): it can be revoked."""
    proof: str = field(default="", repr=False)
    """Which password, or which key of a token, was shown: when that is changed, whoever came in by it must go."""
    begun: datetime | None = None
    """When the session began, whose end the settings say; a token says its own."""

    def may(self, role: Role) -> bool:
        """Whether this user's role allows what `role` does."""
        return ROLES.index(self.role) >= ROLES.index(role)


ANYBODY = User("", "configure", means="open")
"""Whoever comes in while access is open."""


def visibility_of(organisations: Sequence[int | str] | None, storehouses: Sequence[int | str] | None) -> Visibility:
    """Return the visibility of these organisations and storehouses; of everything where both are None."""
    ids = (None if given is None else frozenset(map(str, given)) for given in (organisations, storehouses))
    return Visibility(*ids)
