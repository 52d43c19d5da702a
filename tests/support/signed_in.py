"""Runs a server that has users. Clients do not log in: tests create the session cookies themselves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

import app.serve
from access.authenticator import Authenticator
from access.policy import Policy, build_policy
from access.sessions import COOKIE
from settings import Access, Source
from tests.support.clients import TRANSPORTS, Client, PythonClient
from tests.support.credentials import access
from tests.support.serving_inside import Inside, serving_inside
from tests.support.sites import Site

RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 8}]


def settings_of(built: Site) -> dict[str, Any]:
    """Return settings for this site with a short poll interval, an alarm rule and a high rate limit."""
    database = {"path": built.database.settings.path}
    return {"database": database, "poll_interval": 0.05, "rules": RULES, "rate_burst": 10_000}


@dataclass
class Restricted:
    """A running server that has users. Contains the server's authenticator and the clock of the authenticator."""

    inside: Inside
    authenticator: Authenticator
    now: list[datetime]
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.inside.url

    def obey(self, *users: dict[str, Any], **more: Any) -> None:
        """Replace the access settings of the running server."""
        self.authenticator.apply_policy(read(*users, **more))

    def cookie(self, name: str, begun: timedelta = timedelta()) -> str:
        """Return the Cookie header for a session of this user. The session started `begun` ago."""
        return f"{COOKIE}={self.authenticator.policy.create_session_cookie(name, self.now[0] - begun)}"

    async def connect(self, name: str | None, begun: timedelta = timedelta()) -> Client:
        """Connect as the named user, or without a cookie if `name` is None.

        Raise `ConnectRefused` if the server refuses the connection.
        """
        client = SignedIn(None if name is None else self.cookie(name, begun))
        self.clients.append(client)
        await client.connect(self.url, TRANSPORTS["websocket"])
        return client


class SignedIn(PythonClient):
    """A client that sends a session cookie, as a browser does."""

    def __init__(self, cookie: str | None) -> None:
        super().__init__()
        if cookie is not None:
            self._http.headers["Cookie"] = cookie


@asynccontextmanager
async def restricted(
    settings: dict[str, Any], users: Sequence[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, **more: Any
) -> AsyncIterator[Restricted]:
    """Run a server with these users during the block. Disconnect all its clients at the end."""
    now = [datetime.now(UTC)]
    authenticators: list[Authenticator] = []

    def build(first: Policy, _: object) -> Authenticator:
        authenticators.append(Authenticator(first, lambda: now[0]))
        return authenticators[-1]

    monkeypatch.setattr(app.serve, "Authenticator", build)
    async with serving_inside(settings | {"access": access(*users, **more)}) as inside:
        running = Restricted(inside, authenticators[0], now)
        try:
            yield running
        finally:
            for client in running.clients:
                await client.close()


def read(*users: dict[str, Any], **more: Any) -> Policy:
    """Return the access policy of settings with these users."""
    return build_policy(msgspec.convert(access(*users, **more), Access), Source(None))
