"""Clients that reconnect whenever they lose the connection.

After each reconnect, a client registers again with the last cursor that it has received.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.support.clients import TRANSPORTS, Client, ConnectRefused, Kind, new

ANSWER_S = 3.0  # seconds to wait for an answer; if the server cannot answer, it refuses within this time
CONNECT_S = 10.0  # seconds to connect; python-socketio's client does not notice if the connection ends meanwhile
PAUSE_S = 0.2  # seconds between two attempts to connect or register


class Follower:
    """A client that keeps watching a storehouse.

    After each reconnect, it registers with the last cursor that it has received.
    """

    def __init__(self, kind: Kind, transport: str, url: str, store_house_id: Any) -> None:
        self.name = f"{kind} by {transport}"
        self.watching = False
        self.times = 0
        """Number of times that the client has registered successfully."""
        self.ended = 0.0
        """Time at which the client's last connection ended, from `time.monotonic`."""
        self.first_cursor: int | None = None
        self._kind: Kind = kind
        self._transports = TRANSPORTS[transport]
        self._url = url
        self._store_house_id = store_house_id
        self._cursor: int | None = None
        self._told: list[dict[str, Any]] = []
        """All `alarms` messages that the client received on earlier connections."""
        self._client: Client | None = None
        self._query = {"tab": str(uuid.uuid4())}

    @property
    def told(self) -> list[dict[str, Any]]:
        """All alarm transitions that the client has received, in the order of arrival."""
        return [alarm for message in self._messages() for alarm in message["alarms"]]

    @property
    def shown(self) -> dict[str, Any] | None:
        """The last `envs` that the client has received. None while the client is not watching a storehouse."""
        return self._client.last("envs") if self._client and self.watching else None

    @property
    def last_told(self) -> dict[str, Any] | None:
        """The last alarm transition that the client has received on its current connection."""
        told = self._client.last("alarms") if self._client else None
        return told["alarms"][-1] if told else None

    async def run(self) -> None:
        """Connect and watch the storehouse again and again until cancelled."""
        while True:
            # The browser's client reconnects by itself. python-socketio's client does not if the server disconnects it.
            client = self._client = new(self._kind, reconnection=self._kind != "python")
            try:
                with suppress(ConnectRefused, TimeoutError):
                    async with asyncio.timeout(CONNECT_S):
                        await client.connect(self._url, self._transports, query=self._query)
                    await self._watch(client)
            finally:
                self.watching = False
                self._told, self._client = self._messages(), None
                await client.close()
            await asyncio.sleep(PAUSE_S)

    async def _watch(self, client: Client) -> None:
        while True:
            with suppress(TimeoutError):
                self._registered(await self._register(client))
                await client.disconnected.wait()
                self.ended = time.monotonic()
            self.watching = False
            if self._kind == "python":
                return
            while client.disconnected.is_set():  # noqa: ASYNC110 - no event signals this
                await asyncio.sleep(PAUSE_S)

    async def _register(self, client: Client) -> dict[str, Any]:
        cursors = [message["cursor"] for message in self._messages()]
        cursor = max([*cursors[-1:], *([] if self._cursor is None else [self._cursor])], default=None)
        question = {"store_house_id": self._store_house_id} | ({} if cursor is None else {"cursor": cursor})
        while True:
            answer = await client.call("register", question, timeout=ANSWER_S)
            if answer["ok"]:
                return dict(answer["data"])
            await asyncio.sleep(PAUSE_S)

    def _registered(self, envs: dict[str, Any]) -> None:
        assert "reset" not in envs, envs
        self._cursor = envs["cursor"]
        if self.first_cursor is None:
            self.first_cursor = envs["cursor"]
        self.times += 1
        self.watching = True

    def _messages(self) -> list[dict[str, Any]]:
        return self._told + (self._client.received("alarms") if self._client else [])


def followers(counts: dict[tuple[Kind, str], int], url: str, store_house_id: Any) -> Sequence[Follower]:
    """Return clients that keep watching a storehouse.

    `counts` contains the number of clients for each kind of client and transport.
    """
    return [
        Follower(kind, transport, url, store_house_id)
        for (kind, transport), count in counts.items()
        for _ in range(count)
    ]
