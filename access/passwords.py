"""Passwords: argon2id, which is slow and needs memory by design, so it runs beside the event loop, two at a time."""

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import argon2

AT_ONCE = 2

_hasher = argon2.PasswordHasher()


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    return _hasher.hash(password)


def proof(password_hash: str, secret: bytes) -> str:
    """Return what changes when the password or the secret does, and tells nothing of either."""
    return hmac.new(secret, password_hash.encode(), "sha256").hexdigest()


class Passwords:
    """Looks whether a password is the right one. An unknown name takes as long as a wrong password."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")

    async def fit(self, password_hash: str | None, password: str) -> bool:
        """Whether this password has that hash; None: nobody's."""
        work = self._threads.submit(_fits, password_hash, password)
        return await asyncio.wrap_future(work)

    def stop(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _fits(password_hash: str | None, password: str) -> bool:
    of_nobody = _of_nobody()
    try:
        return _hasher.verify(password_hash or of_nobody, password) and password_hash is not None
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, UnicodeError):
        return False


@cache
def _of_nobody() -> str:
    return hashed("")
