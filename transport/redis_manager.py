"""The client manager of one process among several: messages to its own browsers bypass Redis, all others use it.

Through Redis other programs emit, and a process disconnects a connection of another or puts it into a room. Without
Redis such messages are dropped, which is logged: nothing that must not be lost may use them.
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

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 2.0
"""For each answer of Redis. If it has sent nothing for as long, it gets a ping."""
RETRY_S = 1.0
"""Between two attempts to connect."""


class _RedisBroadcast(AsyncPubSubManager):  # type: ignore[misc]
    """The library's manager over Redis, with the library's messages; the base class after it serves this process.

    The library's `AsyncRedisManager` waits up to a minute before it connects to Redis again, never notices one
    that hangs, and sends unacknowledged messages a second time, so that they may arrive twice.
    """

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__()
        self._settings = settings
        self._redis: Redis | None = None
        """While Redis answers."""
        self._was_reachable: bool | None = None

    def initialize(self) -> None:
        """Do nothing: the library would listen from the first connection on, and never stop."""

    @property
    def is_redis_reachable(self) -> bool:
        """Whether Redis answers."""
        return self._redis is not None

    async def listen(self) -> None:
        """Carry out what other processes and programs send through Redis, until cancelled."""
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
                self._set_redis(None, error)
            await sleep(RETRY_S)

    async def _messages(self) -> AsyncIterator[bytes]:
        """Yield messages until Redis is lost; raises `RedisError` or `OSError` then."""
        async with _connected(self._settings) as redis, redis.pubsub() as channel:
            await channel.subscribe(self.channel)
            is_pinged = False
            while True:
                # redis-py sends by wait_for, in which Python 3.11 loses a cancellation: the server would never stop.
                if _is_cancelled():
                    raise CancelledError
                try:
                    message = await channel.get_message(timeout=ANSWER_TIMEOUT_S)
                except ResponseError:
                    if not is_pinged:
                        raise
                    # With its disk full Redis rejects the ping, but still carries messages.
                    is_pinged = False
                    continue
                if message is None and is_pinged:
                    raise TimeoutError("it does not answer")
                is_pinged = message is None
                if message is None:
                    await channel.ping()
                elif message["type"] == "subscribe":
                    self._set_redis(redis)
                elif message["type"] == "message":
                    yield message["data"]

    def _set_redis(self, redis: Redis | None, error: Exception | None = None) -> None:
        self._redis = redis
        is_reachable = redis is not None
        if is_reachable != self._was_reachable:
            self._was_reachable = is_reachable
            if is_reachable:
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
        socket_connect_timeout=ANSWER_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # every version of Redis speaks it
    )
    try:
        yield redis
    finally:
        # An error here may not replace a cancellation.
        with suppress(RedisError, OSError):
            await redis.aclose()


class _LocalFanout(Fanout):
    """A fan-out constructed without arguments, as the library's manager constructs its base class."""

    _limits: tuple[int, float]

    def __init__(self) -> None:
        super().__init__(*self._limits)


class RedisManager(_RedisBroadcast, _LocalFanout):
    """A fan-out that is connected to those of other processes."""

    def __init__(self, settings: RedisSettings, limit: int, drain_s: float) -> None:
        self._limits = limit, drain_s
        super().__init__(settings)


class LibraryRedisManager(_RedisBroadcast, LibraryManager):
    """The same without direct writes, for installed libraries whose internals differ."""


def create_manager(settings: RedisSettings, limit: int, drain_s: float) -> RedisManager | LibraryRedisManager:
    """Return the fastest client manager that the installed libraries allow."""
    if fanout.can_write_directly():
        return RedisManager(settings, limit, drain_s)
    return LibraryRedisManager(settings)
