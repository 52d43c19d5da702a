"""The gate: who may come in, and who may stay, as the settings have it now."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tornado.httputil import parse_cookie
from tornado.web import RequestHandler

from access.access_denied import AccessDenied
from access.passwords import Passwords
from access.policy import SIGN_IN, Policy
from access.sessions import COOKIE
from access.throttle import KeyedTokenBuckets, holder
from access.user import ANYBODY, User
from errors import RateLimited
from settings import LONGEST, MOST_NAME

OF_A_NAME, OF_AN_ADDRESS = 10, 40
"""How many times a password may be wrong at once."""
AGAIN_S = 10.0
"""After how many seconds it may be wrong once more."""
MOST_WAITING = 32
"""Passwords that may wait to be looked at."""


class Authenticator:
    """Lets people in by cookie or token."""

    def __init__(self, policy: Policy, now: Callable[[], datetime]) -> None:
        self.revision = 0
        """Grows whenever who may come in has been read again."""
        self.policy = policy
        """Who may come in."""
        self._now = now
        self._passwords = Passwords()
        self._waiting = 0
        self._ended: dict[str, datetime] = {}
        """Sessions that were logged out here, and when they have ended whatever the settings say."""
        self._names = KeyedTokenBuckets(OF_A_NAME, AGAIN_S, time.monotonic)
        self._addresses = KeyedTokenBuckets(OF_AN_ADDRESS, AGAIN_S, time.monotonic)

    @property
    def restricted(self) -> bool:
        """Whether anybody is asked who they are."""
        return not self.policy.open

    @property
    def lasts(self) -> timedelta:
        """How long a session does."""
        return self.policy.lasts

    def knows(self, name: str) -> bool:
        """Whether there is a user of this name."""
        return name in self.policy.users

    def obey(self, policy: Policy) -> None:
        """Let those in, and those only, whom this policy lets in."""
        self.policy = policy
        self.revision += 1

    async def admit(self, environ: Mapping[str, Any], auth: object = None) -> User:
        """Return who connects, by the token in `auth` or what `environ` has; raises `Refused`."""
        if self.policy.open:
            return ANYBODY
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is not None:
            return self._bearer(token)
        return self._shown(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))

    def revalidate(self, user: User) -> User:
        """Return the same person as the settings now have it; raises `Refused` where they may not stay."""
        if user.session in self._ended:
            raise AccessDenied("unauthorized", "this session was logged out")
        return self.policy.revalidate(user, self._now())

    def of_request(self, handler: RequestHandler) -> User | None:
        """Return who asks for a page, by cookie or bearer token; None: nobody that may."""
        if self.policy.open:
            return ANYBODY
        headers = handler.request.headers
        try:
            return self._shown(headers.get("Authorization", ""), headers.get("Cookie", ""))
        except AccessDenied:
            return None

    async def log_in(self, name: str, password: str, address: str) -> tuple[User, str]:
        """Return who that is, and the cookie of their session; raises `Refused`, and `RateLimited`."""
        # A longer name is nobody's; whole, those that are only tried would fill the memory.
        here, known_as = holder(address), name[:MOST_NAME]
        if self._waiting >= MOST_WAITING or not (self._addresses.take(here) and self._names.take(known_as)):
            raise RateLimited("too many attempts; wait a minute")
        policy = self.policy
        self._waiting += 1
        try:
            fits = await self._passwords.fit(policy.hashes.get(name), password)
        finally:
            self._waiting -= 1
        if not fits:
            raise AccessDenied("unauthorized", "this name and this password do not belong together")
        self._addresses.give_back(here)
        self._names.give_back(known_as)
        cookie = policy.begin(name, self._now())
        return self._session(cookie), cookie  # by what the settings say by now

    def log_out(self, user: User) -> None:
        """End a session, in this process; its cookie is the browser's to forget."""
        now = self._now()
        self._ended = {one: until for one, until in self._ended.items() if until > now}
        if user.begun is not None:
            self._ended[user.session] = user.begun + LONGEST  # the settings may let it last longer tomorrow

    def stop(self) -> None:
        """Let go of the threads."""
        self._passwords.stop()

    def _shown(self, authorization: str, cookies: str) -> User:
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer":
            return self._bearer(token.strip())
        cookie = parse_cookie(cookies).get(COOKIE)
        if cookie is None:
            raise AccessDenied("unauthorized", SIGN_IN)
        return self._session(cookie)

    def _session(self, cookie: str) -> User:
        return self.revalidate(self.policy.session(cookie, self._now()))

    def _bearer(self, token: object) -> User:
        if not isinstance(token, str):
            raise AccessDenied("unauthorized", "a token is a text")
        return self.policy.bearer(token, self._now())
