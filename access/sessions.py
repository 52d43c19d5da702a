"""Sessions of browsers: a signed cookie, so that any process can verify who has logged in."""

import time
from collections.abc import Callable

import msgspec
from tornado.web import create_signed_value, decode_signed_value

COOKIE = "storewatch_session"
MAX_AGE_DAYS = 366


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Who has logged in, and when."""

    name: str
    session_id: str
    begun: int
    """Seconds since 1970."""
    proof: str
    """See `access.passwords.password_proof`."""


def sign_cookie(secret: bytes, session: Session) -> str:
    """Return the value of a cookie that nobody can make without the secret."""
    return create_signed_value(secret, COOKIE, msgspec.json.encode(session), clock=lambda: session.begun).decode()


def read_cookie(secret: bytes, value: str, clock: Callable[[], float] = time.time) -> Session | None:
    """Return the session of a cookie; None if we have not signed it."""
    content = decode_signed_value(secret, COOKIE, value, MAX_AGE_DAYS, clock, min_version=2)
    try:
        return msgspec.json.decode(content, type=Session) if content is not None else None
    except msgspec.MsgspecError:
        return None
