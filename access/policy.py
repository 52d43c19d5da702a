"""The access policy, built from the settings: users, token keys, revocations and session lifetime."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from access import sessions, tokens
from access.access_denied import AccessDenied
from access.passwords import password_proof
from access.user import ANYBODY, User, visibility_of
from ask.visibility import Visibility
from errors import UsageError
from settings import Access, AccessUser, Source

SHORT_PROOF = 8
"""An audit entry contains only this number of characters from the start of a proof.

A proof is a hash that identifies a password or key.
"""
SIGN_IN = "authentication is required: log in at /login, or send a token as auth: {token}"


@dataclass(frozen=True, slots=True)
class Policy:
    """The access policy. If `open` is true, everybody has access.

    Otherwise only the users in the settings and programs with a valid token have access.
    """

    open: bool = False
    users: dict[str, User] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict, repr=False)
    keys: Sequence[tokens.Key] = ()
    revoked: frozenset[str] = frozenset()
    session_lifetime: timedelta = timedelta()
    """Lifetime of a login session."""
    secret: bytes = field(default=b"", repr=False)

    def user_of_token(self, token: str, now: datetime) -> User:
        """Return the user of a bearer token. Raise `AccessDenied` if the token is not valid."""
        return self.revalidate(tokens.verify_token(self.keys, token), now)

    def user_of_session(self, cookie: str, now: datetime) -> User:
        """Return the logged-in user of a session cookie. Raise `AccessDenied` if the session is not valid."""
        session = sessions.read_cookie(self.secret, cookie) if self.secret else None
        if session is None:
            raise AccessDenied("unauthorized", SIGN_IN)
        begun = datetime.fromtimestamp(session.begun, UTC)
        user = User(session.name, "watch", session=session.session_id, proof=session.proof, begun=begun)
        return self.revalidate(user, now)

    def create_session_cookie(self, name: str, now: datetime) -> str:
        """Return the cookie of a new login session. The session belongs to the user `name` and starts at `now`."""
        session = sessions.Session(name, uuid4().hex, int(now.timestamp()), self.users[name].proof)
        return sessions.sign_cookie(self.secret, session)

    def revalidate(self, user: User, now: datetime) -> User:
        """Return `user` with the current role and visibility. Raise `AccessDenied` if the user no longer has access.

        Return the same object if the role, the visibility and the end of the access have not changed.
        """
        if self.open:
            return ANYBODY
        if user.means == "open":
            raise AccessDenied("unauthorized", SIGN_IN)
        expires = user.expires if user.begun is None else user.begun + self.session_lifetime
        if expires is not None and expires <= now:
            expired = "token" if user.means == "token" else "session"
            raise AccessDenied("expired", f"this {expired} has expired; get a new one")
        if user.name in self.revoked or user.session in self.revoked:
            raise AccessDenied("revoked", f"the access of {user.name} has been revoked")
        return self._with_key(user) if user.means == "token" else self._with_password(user, expires)

    def _with_key(self, user: User) -> User:
        if all(key.proof != user.proof for key in self.keys):
            raise AccessDenied("revoked", "the key of this token is no longer in the settings; get a new token")
        return user

    def _with_password(self, user: User, expires: datetime | None) -> User:
        current = self.users.get(user.name)
        if current is None or current.proof != user.proof:
            raise AccessDenied("revoked", "this login is no longer valid; log in again")
        if (current.role, current.visibility, expires) == (user.role, user.visibility, user.expires):
            return user
        return replace(user, role=current.role, visibility=current.visibility, expires=expires)

    def audit_summary(self) -> dict[str, Any]:
        """Return a description of the policy for an audit entry.

        It contains no secrets, and no data from which secrets could be derived.
        """
        if self.open:
            return {"open": True}
        users = [
            {
                "name": user.name,
                "role": user.role,
                **_visible_ids(user.visibility),
                "proof": user.proof[:SHORT_PROOF],
            }
            for user in self.users.values()
        ]
        keys = [
            {
                "algorithm": key.algorithm,
                "issuer": key.issuer,
                "audience": key.audience,
                "proof": key.proof[:SHORT_PROOF],
            }
            for key in self.keys
        ]
        hours = self.session_lifetime / timedelta(hours=1)
        return {"users": users, "tokens": keys, "hours": hours, "revoked": sorted(self.revoked)}


def _visible_ids(visible: Visibility) -> dict[str, list[str] | None]:
    id_sets = {"organisations": visible.organisations, "storehouses": visible.storehouses}
    return {name: None if ids is None else sorted(ids) for name, ids in id_sets.items()}


OPEN = Policy(open=True)


def build_policy(access: Access | None, source: Source) -> Policy:
    """Return the access policy that the settings describe. If `access` is None, everybody has access.

    Raise `UsageError` if a key cannot be used or a name is not valid Unicode.
    """
    if access is None:
        return OPEN
    secret = access.session.secret.encode() if access.session else b""
    policy = Policy(
        users={user.name: _build_user(user, secret) for user in access.users},
        hashes={user.name: user.password_hash for user in access.users},
        keys=_build_keys(access, source),
        revoked=frozenset(access.revoked) - {""},
        session_lifetime=timedelta(hours=access.session.hours if access.session else 0),
        secret=secret,
    )
    try:
        msgspec.json.encode(policy.audit_summary())
    except UnicodeEncodeError:
        raise UsageError(
            f"{source.where('access')}: a name contains half of a surrogate pair; write the whole character"
        ) from None
    return policy


def _build_user(user: AccessUser, secret: bytes) -> User:
    visible = visibility_of(user.organisations, user.storehouses)
    return User(user.name, user.role, visible, proof=password_proof(user.password_hash, secret))


def _build_keys(access: Access, source: Source) -> list[tokens.Key]:
    try:
        return [tokens.build_key(key) for key in access.tokens]
    except ValueError as error:
        raise UsageError(f"{source.where('access.tokens')}: {error}") from None
