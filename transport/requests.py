"""Requests, as far as they can be judged by their headers, and what they are refused with."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from tornado import httputil
from tornado.escape import parse_qs_bytes


class Refusal(msgspec.Struct, frozen=True):
    """What is answered to a request that cannot be served, spelled as Engine.IO does; `reason` is what it counts as."""

    status: int
    code: int
    message: str
    reason: str

    def body(self) -> bytes:
        """Return it as JSON, as the client is told."""
        return msgspec.json.encode({"code": self.code, "message": self.message})


NO_HANDSHAKE, SLOW = "no_handshake", "slow"
"""What else is refused: clients that join no namespace in time, and requests that do not arrive in time."""

UNKNOWN_TRANSPORT = Refusal(400, 0, "Transport unknown", "transport")
UNKNOWN_SESSION = Refusal(400, 1, "Session ID unknown", "session")
BAD_METHOD = Refusal(400, 2, "Bad handshake method", "method")
BAD_REQUEST = Refusal(400, 3, "Bad request", "request")
MALFORMED = Refusal(400, 3, "Bad request", "malformed")
FORBIDDEN = Refusal(403, 4, "Forbidden", "origin")
BAD_VERSION = Refusal(400, 5, "Unsupported protocol version", "version")
UNAUTHORIZED = Refusal(401, 4, "Unauthorized", "unauthorized")
TOO_LARGE = Refusal(413, 3, "Payload too large", "payload_size")
TOO_MANY = Refusal(429, 4, "Too many connections from this address", "per_address")
FLOODING = Refusal(429, 3, "Too many packets", "flood")
STOPPING = Refusal(503, 3, "The server is stopping", "stopping")

REASONS = (
    UNKNOWN_TRANSPORT.reason,
    UNKNOWN_SESSION.reason,
    BAD_METHOD.reason,
    BAD_REQUEST.reason,
    MALFORMED.reason,
    FORBIDDEN.reason,
    BAD_VERSION.reason,
    UNAUTHORIZED.reason,
    TOO_LARGE.reason,
    TOO_MANY.reason,
    FLOODING.reason,
    STOPPING.reason,
    NO_HANDSHAKE,
    SLOW,
)


class Request:
    """A request to become a websocket: what `tornado.httputil.HTTPServerRequest` has, for a fifth of the CPU."""

    __slots__ = (
        "__weakref__",
        "connection",
        "headers",
        "method",
        "protocol",
        "query",
        "query_arguments",
        "remote_ip",
        "uri",
        "version",
    )

    body = b""

    def __init__(self, connection: Any, line: httputil.RequestStartLine, headers: httputil.HTTPHeaders) -> None:
        self.connection = connection
        self.method, self.uri, self.version = line
        self.query = self.uri.partition("?")[2]
        self.query_arguments = parse_qs_bytes(self.query, keep_blank_values=True)
        self.headers = headers
        self.remote_ip = connection.context.remote_ip
        self.protocol = connection.context.protocol

    @property
    def path(self) -> str:
        """The address without the query."""
        return self.uri.partition("?")[0]

    @property
    def host(self) -> str:
        """By what name we were called."""
        return self.headers.get("Host", "")

    def forget(self) -> None:
        """Keep only what may still be asked for while the websocket is open: the headers alone are 3 kB."""
        self.connection = None
        self.headers = NO_HEADERS


NO_HEADERS = httputil.HTTPHeaders()


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Return whether these are the headers of a request to become a websocket."""
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in {
        token.strip() for token in headers.get("Connection", "").lower().split(",")
    }


def is_same_origin(origin: str, host: str | None) -> bool:
    """Return whether a page of `origin` came from us, who were called by `host`; one that cannot be read did not."""
    try:
        place = urlsplit(origin).netloc
    except ValueError:  # as of http://[
        return False
    return place != "" and place.lower() == (host or "").lower()
