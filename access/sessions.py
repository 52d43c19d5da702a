"""Login sessions. They are stored in signed cookies, so that any process can verify them."""

import time
from collections.abc import Callable

import msgspec
from tornado.web import create_signed_value, decode_signed_value

COOKIE = "storewatch_session"
MAX_AGE_DAYS = 366


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A login session, as stored in the session cookie."""

    name: str
    session_id: str
    begun: int
    """Start of the session, in seconds since 1970."""
    proof: str
    """A hash that identifies the user's password at the start of the session. See `access.passwords.password_proof`."""


def sign_cookie(secret: bytes, session: Session) -> str:
    """Return the cookie value of a session, signed with the secret."""
    return create_signed_value(secret, COOKIE, msgspec.json.encode(session), clock=lambda: session.begun).decode()


def read_cookie(secret: bytes, value: str, clock: Callable[[], float] = time.time) -> Session | None:
    """Return the session of a cookie, or None if the signature is wrong or the cookie is older than `MAX_AGE_DAYS`."""
    content = decode_signed_value(secret, COOKIE, value, MAX_AGE_DAYS, clock, min_version=2)
    try:
        return msgspec.json.decode(content, type=Session) if content is not None else None
    except msgspec.MsgspecError:
        return None
