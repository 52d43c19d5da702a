"""Password hashing with argon2id.

argon2id is slow and uses much memory by design. It therefore runs outside the event loop, in two threads.
"""

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import argon2

THREADS = 2

_hasher = argon2.PasswordHasher()


def hash_password(password: str) -> str:
    """Return the hash of a password, in the format that the settings need."""
    return _hasher.hash(password)


def password_proof(password_hash: str, secret: bytes) -> str:
    """Return a keyed hash (HMAC) of a password hash.

    The result changes if `password_hash` or `secret` changes. It reveals neither of them.
    """
    return hmac.new(secret, password_hash.encode(), "sha256").hexdigest()


class PasswordVerifier:
    """Verifies passwords in threads. Checking an unknown user name takes as long as checking a wrong password."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether `password_hash` is the hash of the password.

        For an unknown user, the hash is None, which never matches.
        """
        work = self._threads.submit(_verify, password_hash, password)
        return await asyncio.wrap_future(work)

    def stop(self) -> None:
        """Stop the threads, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _verify(password_hash: str | None, password: str) -> bool:
    dummy_hash = _dummy_hash()
    try:
        return _hasher.verify(password_hash or dummy_hash, password) and password_hash is not None
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, UnicodeError):
        return False


@cache
def _dummy_hash() -> str:
    return hash_password("")
