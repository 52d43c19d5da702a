"""What handlers are told of the request that a session began with."""

from collections import UserDict
from functools import cached_property
from typing import Any

from engineio.async_drivers.tornado import translate_request


class Environ(UserDict[str, Any]):
    """The WSGI environ of a session's first request, made when somebody looks at it."""

    def __init__(self, handler: Any) -> None:
        self.address = handler.request.remote_ip or ""
        self._handler: Any = handler

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """All of it; once it has been forgotten, the address."""
        if self._handler is None:
            return {"REMOTE_ADDR": self.address}
        made: dict[str, Any] = translate_request(self._handler)
        return made | {"REMOTE_ADDR": self.address, "wsgi.url_scheme": self._handler.request.protocol}

    def forget(self) -> None:
        """Keep the address alone."""
        self.__dict__.pop("data", None)
        if self._handler is not None:
            self._handler.forget_request()
            self._handler = None
