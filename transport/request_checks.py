"""Checks the query and headers of a request, and decides whether to reject the request."""

from tornado import httputil

from transport.requests import (
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    FORBIDDEN,
    STOPPING,
    TOO_MANY,
    UNKNOWN_SESSION,
    UNKNOWN_TRANSPORT,
    Rejection,
    Request,
    is_same_origin,
    is_upgrade,
)
from transport.sessions import EngineServer, Session

AnyRequest = httputil.HTTPServerRequest | Request


class RequestChecks:
    """A mixin for request handlers that checks each request before it is served."""

    engine: EngineServer
    per_address: int | None
    """Maximum number of sessions for each client address, or None for no limit."""

    @classmethod
    def rejection(cls, request: AnyRequest) -> Rejection | None:
        """Return the error answer for a request that must be rejected, or None if the request can be served."""
        query, headers = request.query_arguments, request.headers
        transport = query.get("transport")
        if transport not in ([b"polling"], [b"websocket"]) or transport[0].decode() not in cls.engine.transports:
            return UNKNOWN_TRANSPORT
        if not cls._allows_origin(request):
            return FORBIDDEN
        websocket = transport == [b"websocket"]
        if websocket != is_upgrade(headers):
            return BAD_REQUEST
        if request.method == "OPTIONS":
            return None
        if websocket and (headers.get("Sec-WebSocket-Version") != "13" or not headers.get("Sec-WebSocket-Key")):
            return BAD_REQUEST
        if "sid" in query:
            return cls._rejection_of_existing(request, websocket)
        return cls._rejection_of_new(request)

    @classmethod
    def _rejection_of_new(cls, request: AnyRequest) -> Rejection | None:
        """Check a request to open a session. Return the error answer if it must be rejected, otherwise None."""
        if request.query_arguments.get("EIO") != [b"4"]:
            return BAD_VERSION
        if request.method != "GET":
            return BAD_METHOD
        if cls.engine.stopping:
            return STOPPING
        if cls.per_address is not None and cls.engine.addresses[request.remote_ip or ""] >= cls.per_address:
            return TOO_MANY
        return None

    @classmethod
    def _rejection_of_existing(cls, request: AnyRequest, websocket: bool) -> Rejection | None:
        """Check a request of an open session. Return the error answer if it must be rejected, otherwise None."""
        session = cls._find_session(request)
        if session is None or not session.connected:
            return UNKNOWN_SESSION
        # A second websocket for a session is not a bad request: the handler accepts it and then closes it.
        if not cls.engine.allow_upgrades if websocket else session.upgraded:
            return BAD_REQUEST
        if websocket and cls.engine.stopping:
            # python-socketio's client continues to poll after a refused upgrade, but ends after an interrupted one.
            return STOPPING
        if request.method not in (("GET",) if websocket or session.closing else ("GET", "POST")):
            return BAD_REQUEST
        return None

    @classmethod
    def _find_session(cls, request: AnyRequest) -> Session | None:
        sid = request.query_arguments.get("sid")
        return None if sid is None else cls.engine.find(sid[0].decode(errors="replace"))

    @classmethod
    def _allows_origin(cls, request: AnyRequest) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or is_same_origin(origin, request.headers.get("Host")):
            return True
        if cls.engine.cors_allowed_origins is None:
            return False
        allowed = cls.engine._cors_allowed_origins({"HTTP_ORIGIN": origin, "HTTP_HOST": request.host})
        return allowed is None or origin in allowed
