"""Authenticates connections and HTTP requests with the current access policy."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tornado.httputil import parse_cookie
from tornado.web import RequestHandler

from access.access_denied import AccessDenied
from access.passwords import PasswordVerifier
from access.policy import SIGN_IN, Policy
from access.sessions import COOKIE
from access.user import ANYBODY, User
from errors import RateLimited
from settings import MAX_NAME_LENGTH, MAX_SPAN
from transport.rate_limit import KeyedTokenBuckets, RateLimit, address_block

ATTEMPTS_PER_NAME, ATTEMPTS_PER_ADDRESS = 10, 40
"""Maximum numbers of wrong passwords in one burst: for one user name, and from one client address."""
ATTEMPT_REFILL_S = 10.0
"""Time in seconds after which the login rate limit allows one more wrong password."""
MAX_WAITING = 32
"""Maximum number of passwords that wait for verification at the same time."""


class Authenticator:
    """Authenticates users with a session cookie, a bearer token, or a name and password."""

    def __init__(self, policy: Policy, now: Callable[[], datetime]) -> None:
        self.revision = 0
        """Number of times that `apply_policy` has replaced the access policy."""
        self.policy = policy
        """The current access policy."""
        self._now = now
        self._passwords = PasswordVerifier()
        self._waiting = 0
        self._logged_out: dict[str, datetime] = {}
        """For each session that was logged out in this process, a time at which it has certainly expired.

        The keys are session ids.
        """
        self._names = KeyedTokenBuckets(RateLimit(1 / ATTEMPT_REFILL_S, ATTEMPTS_PER_NAME), time.monotonic)
        self._addresses = KeyedTokenBuckets(RateLimit(1 / ATTEMPT_REFILL_S, ATTEMPTS_PER_ADDRESS), time.monotonic)

    @property
    def restricted(self) -> bool:
        """Whether users must authenticate."""
        return not self.policy.open

    @property
    def session_lifetime(self) -> timedelta:
        """Lifetime of a login session."""
        return self.policy.session_lifetime

    def has_user(self, name: str) -> bool:
        """Return whether the policy has a user with this name."""
        return name in self.policy.users

    def apply_policy(self, policy: Policy) -> None:
        """Replace the access policy."""
        self.policy = policy
        self.revision += 1

    async def authenticate_connection(self, environ: Mapping[str, Any], auth: object = None) -> User:
        """Return the user of a connection. Raise `AccessDenied` if the client has no access.

        `auth` is the payload of the client's CONNECT packet. If it contains a token, only this token is checked.
        Otherwise the bearer token or session cookie in the HTTP headers of `environ` is checked.
        """
        if self.policy.open:
            return ANYBODY
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is not None:
            return self._authenticate_token(token)
        return self._authenticate_headers(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))

    def authenticate_request(self, handler: RequestHandler) -> User | None:
        """Return the user of an HTTP request with a valid bearer token or session cookie.

        Return None if neither is valid.

        While access is open to everybody, return `ANYBODY`.
        """
        if self.policy.open:
            return ANYBODY
        headers = handler.request.headers
        try:
            return self._authenticate_headers(headers.get("Authorization", ""), headers.get("Cookie", ""))
        except AccessDenied:
            return None

    def revalidate(self, user: User) -> User:
        """Return `user` with the current role and visibility. Raise `AccessDenied` if the user no longer has access."""
        if user.session in self._logged_out:
            raise AccessDenied("unauthorized", "this session was logged out; log in again")
        return self.policy.revalidate(user, self._now())

    async def log_in(self, name: str, password: str, address: str) -> tuple[User, str]:
        """Check a user name and password, and return the user and a session cookie.

        Raise `AccessDenied` if the name or password is wrong, and `RateLimited` after too many attempts.
        """
        # Cut the name: no user has a longer one, and names of any length would fill the memory of the rate limit.
        address_key, name_key = address_block(address), name[:MAX_NAME_LENGTH]
        if self._waiting >= MAX_WAITING or not self._consume_attempt(address_key, name_key):
            raise RateLimited("too many attempts; wait a minute")
        policy = self.policy
        self._waiting += 1
        try:
            is_right = await self._passwords.verify(policy.hashes.get(name), password)
        finally:
            self._waiting -= 1
        if not is_right:
            raise AccessDenied("unauthorized", "wrong user name or password")
        self._addresses.give_back(address_key)
        self._names.give_back(name_key)
        cookie = policy.create_session_cookie(name, self._now())
        return self._authenticate_session(cookie), cookie  # the policy may have changed meanwhile

    def log_out(self, user: User) -> None:
        """End the login session of `user` in this process. The caller must make the browser delete the cookie."""
        now = self._now()
        self._logged_out = {session: expired for session, expired in self._logged_out.items() if expired > now}
        if user.begun is not None:
            # Do not use the current session lifetime: a later change of the settings may extend it.
            self._logged_out[user.session] = user.begun + MAX_SPAN

    def stop(self) -> None:
        """Stop the threads that verify passwords."""
        self._passwords.stop()

    def _consume_attempt(self, address_key: str, name_key: str) -> bool:
        return self._addresses.try_consume(address_key) and self._names.try_consume(name_key)

    def _authenticate_headers(self, authorization: str, cookies: str) -> User:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._authenticate_token(token.strip())
        cookie = parse_cookie(cookies).get(COOKIE)
        if cookie is None:
            raise AccessDenied("unauthorized", SIGN_IN)
        return self._authenticate_session(cookie)

    def _authenticate_session(self, cookie: str) -> User:
        return self.revalidate(self.policy.user_of_session(cookie, self._now()))

    def _authenticate_token(self, token: object) -> User:
        if not isinstance(token, str):
            raise AccessDenied("unauthorized", "the token must be a string")
        return self.policy.user_of_token(token, self._now())
