"""The client manager of one process among many: what its own browsers get never leaves it, and Redis carries the rest.

Other programs emit through Redis, and a connection of another process is disconnected, or put into a room, through it.
What must not be lost does not go this way: without Redis it is dropped, and said so.
"""

import logging
from asyncio import CancelledError, current_task, sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from socketio.async_pubsub_manager import AsyncPubSubManager

from settings import Redis as RedisSettings
from transport import fanout
from transport.fanout import Fanout, LibraryManager

log = logging.getLogger("live")

PATIENCE_S = 2.0
"""For each answer of Redis. One that has been silent for as long is asked whether it is there."""
RETRY_S = 1.0
"""Between two attempts to connect."""


class _RedisBroadcast(AsyncPubSubManager):  # type: ignore[misc]
    """The library's manager over Redis, in its own messages; below it stands the one for this process's connections.

    The library's `AsyncRedisManager` waits up to a minute before it looks for Redis again, never notices one that
    hangs, and sends a second time what was not acknowledged, so that it may arrive twice.
    """

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__()
        self._settings = settings
        self._redis: Redis | None = None
        """While Redis answers."""
        self._was_there: bool | None = None

    def initialize(self) -> None:
        """Do nothing: the library would listen from the first browser's coming on, and never stop."""

    @property
    def is_there(self) -> bool:
        """Whether Redis answers."""
        return self._redis is not None

    async def listen(self) -> None:
        """Do what others tell through Redis, until cancelled."""
        await self._thread()

    async def _publish(self, data: Any) -> None:
        if self._redis is None:
            return
        try:
            await self._redis.publish(self.channel, self.json.dumps(data))
        except (RedisError, OSError) as error:
            log.warning("a message to other processes was dropped: %s", error)

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async for message in self._messages():
                    yield message
            except (RedisError, OSError) as error:
                self._turn(None, error)
            await sleep(RETRY_S)

    async def _messages(self) -> AsyncIterator[bytes]:
        """Return what is said until Redis is lost; raises `RedisError` or `OSError` then."""
        async with _connected(self._settings) as redis, redis.pubsub() as channel:
            await channel.subscribe(self.channel)
            asked = False
            while True:
                # redis-py sends by wait_for, in which Python 3.11 loses a cancellation: the server would never stop.
                if _is_cancelled():
                    raise CancelledError
                try:
                    message = await channel.get_message(timeout=PATIENCE_S)
                except ResponseError:
                    if not asked:
                        raise
                    # With its disk full it refuses to say that it is there, and carries messages all the same.
                    asked = False
                    continue
                if message is None and asked:
                    raise TimeoutError("it does not answer")
                asked = message is None
                if message is None:
                    await channel.ping()
                elif message["type"] == "subscribe":
                    self._turn(redis)
                elif message["type"] == "message":
                    yield message["data"]

    def _turn(self, redis: Redis | None, error: Exception | None = None) -> None:
        self._redis = redis
        there = redis is not None
        if there != self._was_there:
            self._was_there = there
            if there:
                log.info("%r answers", self._settings)
            else:
                log.error("%r is lost, and with it what crosses processes: %s", self._settings, error)


def _is_cancelled() -> bool:
    task = current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def _connected(settings: RedisSettings) -> AsyncIterator[Redis]:
    redis = Redis(
        host=settings.host,
        port=settings.port,
        password=settings.password or None,
        socket_connect_timeout=PATIENCE_S,
        socket_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # of any Redis there is
    )
    try:
        yield redis
    finally:
        # What goes wrong here may not take the place of a cancellation.
        with suppress(RedisError, OSError):
            await redis.aclose()


class _Local(Fanout):
    """The fan-out, made as the library makes what stands below its own: without arguments."""

    _bounds: tuple[int, float]

    def __init__(self) -> None:
        super().__init__(*self._bounds)


class RedisManager(_RedisBroadcast, _Local):
    """A fan-out over which other processes can be heard."""

    def __init__(self, settings: RedisSettings, limit: int, drain_s: float) -> None:
        self._bounds = limit, drain_s
        super().__init__(settings)


class LibraryRedisManager(_RedisBroadcast, LibraryManager):
    """The same in the library's own way, for libraries that are not those we know."""


def manager(settings: RedisSettings, limit: int, drain_s: float) -> RedisManager | LibraryRedisManager:
    """Return the fastest client manager that the installed libraries allow."""
    if fanout.are_libraries_known():
        return RedisManager(settings, limit, drain_s)
    return LibraryRedisManager(settings)
