"""The client manager for several processes, which are connected through Redis.

A process sends messages to its own clients directly, and all other messages through Redis. A process also uses Redis to
disconnect a client of another process, or to put such a client into a room. Other programs use Redis to emit events.
While Redis does not answer, messages through Redis are dropped, and the log says so. Critical messages must therefore
not use Redis.
"""

import logging
from asyncio import CancelledError, current_task, sleep, timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from socketio.async_pubsub_manager import AsyncPubSubManager

from errors import UsageError
from settings import Redis as RedisSettings
from transport import fanout
from transport.fanout import Fanout, LibraryManager

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 2.0
"""Time limit in seconds for each answer of Redis. If no message arrives for this time, the listener sends a ping."""
RETRY_S = 1.0
"""Seconds between two attempts to connect to Redis."""
DENIED = (AuthenticationError, NoPermissionError)
"""The errors with which Redis denies access."""
CHECK_S = 1.0
"""Time limit in seconds for the check of the password at the start. Clients wait for the port meanwhile."""


class _RedisBroadcast(AsyncPubSubManager):  # type: ignore[misc]
    """A mixin that exchanges messages with other processes over Redis, in python-socketio's message format.

    It replaces the library's `AsyncRedisManager`. That class waits up to a minute before it reconnects, and does not
    notice a Redis that hangs. That class also repeats a failed send, so a message may arrive twice. The next base class
    in the method resolution order delivers messages to the connections of this process.
    """

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__()
        self._settings = settings
        self._redis: Redis | None = None
        """The Redis client, or None while Redis does not answer."""
        self._logged: str | None = None
        """The state of Redis that was logged last: "reachable", "lost" or "denied"."""

    def initialize(self) -> None:
        """Do nothing. The library's method would start a listener at the first connection and never stop it."""

    @property
    def is_redis_reachable(self) -> bool:
        """Whether Redis answers."""
        return self._redis is not None

    async def listen(self) -> None:
        """Execute the messages that other processes and programs send through Redis, until cancelled."""
        await self._thread()

    async def _publish(self, data: Any) -> None:
        if self._redis is None:
            return
        try:
            await self._redis.publish(self.channel, self.json.dumps(data))
        except (RedisError, OSError) as error:
            log.warning("cannot send a message through Redis; the message is dropped: %s", error)

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            _check_cancelled()
            try:
                async for message in self._messages():
                    yield message
            except (RedisError, OSError) as error:
                self._set_redis(None, error)
            await sleep(RETRY_S)

    async def _messages(self) -> AsyncIterator[bytes]:
        """Yield messages from Redis. Raise `RedisError` or `OSError` if the connection to Redis is lost."""
        async with _connected(self._settings) as redis, redis.pubsub() as channel:
            await channel.subscribe(self.channel)
            is_pinged = False
            while True:
                _check_cancelled()
                try:
                    message = await channel.get_message(timeout=ANSWER_TIMEOUT_S)
                except ResponseError:
                    if not is_pinged:
                        raise
                    # If its disk is full, Redis rejects the ping but still delivers messages.
                    is_pinged = False
                    continue
                if message is None and is_pinged:
                    raise TimeoutError("no answer to a ping")
                is_pinged = message is None
                if message is None:
                    await channel.ping()
                elif message["type"] == "subscribe":
                    self._set_redis(redis)
                elif message["type"] == "message":
                    yield message["data"]

    def _set_redis(self, redis: Redis | None, error: Exception | None = None) -> None:
        self._redis = redis
        state = "denied" if isinstance(error, DENIED) else "lost" if redis is None else "reachable"
        if state == self._logged:
            return
        self._logged = state
        if redis is not None:
            log.info("%r is reachable", self._settings)
        else:
            log.error("%r does not answer; messages to other processes are dropped: %s", self._settings, error)


def _check_cancelled() -> None:
    """Raise `CancelledError` if the task is being cancelled.

    redis-py sends and connects with asyncio.wait_for, which can lose a cancellation in Python 3.11. Without this check,
    the server would then never stop.
    """
    task = current_task()
    if task is not None and task.cancelling() > 0:
        raise CancelledError


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
        # An error while closing must not replace a cancellation.
        with suppress(RedisError, OSError):
            await redis.aclose()


async def check_password(settings: RedisSettings) -> None:
    """Raise `UsageError` if Redis denies access. Do nothing if Redis cannot be reached."""
    try:
        async with timeout(CHECK_S), _connected(settings) as redis:
            await redis.ping()
    except DENIED as error:
        raise UsageError(f"redis: {settings!r} denies access: {str(error).rstrip('.')}; check redis.password") from None
    except (RedisError, OSError):
        log.debug("cannot reach %r at the start", settings)


class _LocalFanout(Fanout):
    """A `Fanout` whose constructor has no arguments, because python-socketio's manager calls it without arguments."""

    _limits: tuple[int, float]

    def __init__(self) -> None:
        super().__init__(*self._limits)


class RedisManager(_RedisBroadcast, _LocalFanout):
    """A `Fanout` that exchanges messages with other processes over Redis."""

    def __init__(self, settings: RedisSettings, limit: int, drain_s: float) -> None:
        self._limits = limit, drain_s
        super().__init__(settings)


class LibraryRedisManager(_RedisBroadcast, LibraryManager):
    """A `RedisManager` without direct writes, used if the installed libraries do not support direct writes."""


def create_manager(settings: RedisSettings, limit: int, drain_s: float) -> RedisManager | LibraryRedisManager:
    """Return a `RedisManager`, or a `LibraryRedisManager` if the libraries do not support direct writes."""
    if fanout.can_write_directly():
        return RedisManager(settings, limit, drain_s)
    return LibraryRedisManager(settings)
