"""Access settings for tests, and functions for keys, tokens and logins.

The password hashes of the users are fast to compute.
"""

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import argon2
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httputil import parse_cookie

from access.sessions import COOKIE

PASSWORD = "a long password 词"
SECRET = "planted-secret-of-the-tokens-" * 2
SESSION_SECRET = "planted-secret-of-the-sessions-" * 2
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash(PASSWORD)


def user(name: str = "li", role: str = "watch", **more: Any) -> dict[str, Any]:
    """Return the settings of a user whose password is PASSWORD."""
    return {"name": name, "role": role, "password_hash": HASH, **more}


def access(*users: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return `access` settings that contain these users and accept tokens signed with SECRET."""
    tokens = [{"algorithm": "HS256", "secret": SECRET}]
    return {"users": list(users), "tokens": tokens, "session": {"secret": SESSION_SECRET}} | more


def token(
    sub: str = "gateway", *, key: Any = SECRET, algorithm: str = "HS256", lasts: float = 600, **claims: Any
) -> str:
    """Return a token that expires in `lasts` seconds. Claims (fields of the token) whose value is None are left out."""
    all_claims = {"sub": sub, "exp": int(time.time() + lasts)} | claims
    return jwt.encode({name: value for name, value in all_claims.items() if value is not None}, key, algorithm)


@dataclass
class Pair:
    """A key pair: the private key as an object, and both keys as PEM."""

    private: Any
    public: str = field(init=False)
    secret: str = field(init=False)

    def __post_init__(self) -> None:
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.public = self.private.public_key().public_bytes(*form).decode()
        hidden = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.secret = self.private.private_bytes(*hidden).decode()


def pair(algorithm: str) -> Pair:
    """Return a new key pair for this algorithm.

    If `short` is true, return an RSA key pair that is too short for RS256.
    """
    if algorithm == "ES256":
        return Pair(ec.generate_private_key(ec.SECP256R1()))
    return Pair(rsa.generate_private_key(65537, 1024 if algorithm == "short" else 2048))


async def fetch(url: str, **options: Any) -> HTTPResponse:
    """Request a page without following redirects. Return the response."""
    return await AsyncHTTPClient().fetch(url, raise_error=False, follow_redirects=False, **options)


async def post(url: str, body: str = "", headers: dict[str, str] | None = None) -> HTTPResponse:
    """Send a form with a POST request, without following redirects."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await fetch(url, method="POST", body=body, headers=form | (headers or {}))


async def log_in(url: str, name: str = "li", password: str = PASSWORD) -> str:
    """Log in as a browser does. Return the value of the Cookie header."""
    answer = await post(f"{url}login", urlencode({"name": name, "password": password}))
    assert answer.code == HTTPStatus.SEE_OTHER, answer.body
    return f"{COOKIE}={parse_cookie(answer.headers['Set-Cookie'])[COOKIE]}"
