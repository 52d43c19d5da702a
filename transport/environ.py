"""The WSGI environ, a dictionary that describes the HTTP request and is passed to connect handlers."""

from collections import UserDict
from functools import cached_property
from typing import Any

from engineio.async_drivers.tornado import translate_request


class Environ(UserDict[str, Any]):
    """The WSGI environ of the first HTTP request of a session. The dictionary is created on first use."""

    def __init__(self, handler: Any) -> None:
        self.address = handler.request.remote_ip or ""
        self._handler: Any = handler

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """The environ as a dictionary. After `forget`, it contains only the client's address."""
        if self._handler is None:
            return {"REMOTE_ADDR": self.address}
        environ: dict[str, Any] = translate_request(self._handler)
        return environ | {"REMOTE_ADDR": self.address, "wsgi.url_scheme": self._handler.request.protocol}

    def forget(self) -> None:
        """Release the HTTP request, and keep only the client's address."""
        self.__dict__.pop("data", None)
        if self._handler is not None:
            self._handler.forget_request()
            self._handler = None
