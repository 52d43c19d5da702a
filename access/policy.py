"""Who may come in, by one reading of the settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from access import passwords, sessions, tokens
from access.access_denied import AccessDenied
from access.user import ANYBODY, User, visibility
from ask.visibility import Visibility
from errors import UsageError
from settings import Access, Source

SHORT = 8
"""Characters that tell one proof from another."""
SIGN_IN = "say who you are: log in at /login, or send a token as auth: {token}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may come in: everybody, if it is `open`; else those of the settings."""

    open: bool = False
    users: dict[str, User] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict, repr=False)
    keys: Sequence[tokens.Key] = ()
    revoked: frozenset[str] = frozenset()
    lasts: timedelta = timedelta()
    """How long a session does."""
    secret: bytes = field(default=b"", repr=False)

    def bearer(self, token: str, now: datetime) -> User:
        """Return who shows a token; raises `Refused`."""
        return self.revalidate(tokens.read(self.keys, token), now)

    def session(self, cookie: str, now: datetime) -> User:
        """Return who has logged in, by their cookie; raises `Refused`."""
        found = sessions.read(self.secret, cookie) if self.secret else None
        if found is None:
            raise AccessDenied("unauthorized", SIGN_IN)
        begun = datetime.fromtimestamp(found.begun, UTC)
        came = User(found.name, "watch", session=found.session_id, proof=found.proof, begun=begun)
        return self.revalidate(came, now)

    def begin(self, name: str, now: datetime) -> str:
        """Return the cookie of a session that begins now."""
        begun = sessions.Session(name, uuid4().hex, int(now.timestamp()), self.users[name].proof)
        return sessions.sign(self.secret, begun)

    def revalidate(self, user: User, now: datetime) -> User:
        """Return the same person as they are now, the same object where nothing changed; raises `Refused`."""
        if self.open:
            return ANYBODY
        if user.means == "open":
            raise AccessDenied("unauthorized", SIGN_IN)
        expires = user.expires if user.begun is None else user.begun + self.lasts
        if expires is not None and expires <= now:
            what = "token" if user.means == "token" else "session"
            raise AccessDenied("expired", f"this {what} has ended; get a new one")
        if user.name in self.revoked or user.session in self.revoked:
            raise AccessDenied("revoked", f"{user.name} may not come in any more")
        return self._with_key(user) if user.means == "token" else self._with_password(user, expires)

    def _with_key(self, user: User) -> User:
        if all(key.proof != user.proof for key in self.keys):
            raise AccessDenied("revoked", "the key of this token does not count any more")
        return user

    def _with_password(self, user: User, expires: datetime | None) -> User:
        known = self.users.get(user.name)
        if known is None or known.proof != user.proof:
            raise AccessDenied("revoked", "this login does not count any more; log in again")
        if (known.role, known.visibility, expires) == (user.role, user.visibility, user.expires):
            return user
        return replace(user, role=known.role, visibility=known.visibility, expires=expires)

    def described(self) -> dict[str, Any]:
        """Return what stands in the audit of it: no secret, and nothing to find one by."""
        if self.open:
            return {"open": True}
        users = [
            {"name": one.name, "role": one.role, **_plain(one.visibility), "proof": one.proof[:SHORT]}
            for one in self.users.values()
        ]
        keys = [
            {"algorithm": one.algorithm, "issuer": one.issuer, "audience": one.audience, "proof": one.proof[:SHORT]}
            for one in self.keys
        ]
        hours = self.lasts / timedelta(hours=1)
        return {"users": users, "tokens": keys, "hours": hours, "revoked": sorted(self.revoked)}


def _plain(seen: Visibility) -> dict[str, list[str] | None]:
    ids = {"organisations": seen.organisations, "storehouses": seen.storehouses}
    return {name: None if of is None else sorted(of) for name, of in ids.items()}


OPEN = Policy(open=True)


def policy(access: Access | None, source: Source) -> Policy:
    """Return who may come in; None: everybody. Raises `UsageError` where a key, or a name, is none."""
    if access is None:
        return OPEN
    keys = []
    for one in access.tokens:
        try:
            keys.append(tokens.key(one))
        except ValueError as error:
            raise UsageError(f"{source.where('access.tokens')}: {error}") from None
    secret = access.session.secret.encode() if access.session else b""
    found = Policy(
        users={
            one.name: User(
                one.name,
                one.role,
                visibility(one.organisations, one.storehouses),
                proof=passwords.proof(one.password_hash, secret),
            )
            for one in access.users
        },
        hashes={one.name: one.password_hash for one in access.users},
        keys=keys,
        revoked=frozenset(access.revoked) - {""},
        lasts=timedelta(hours=access.session.hours if access.session else 0),
        secret=secret,
    )
    try:
        msgspec.json.encode(found.described())
    except UnicodeEncodeError:
        raise UsageError(f"{source.where('access')}: a name in it is no text: it has half a character") from None
    return found
