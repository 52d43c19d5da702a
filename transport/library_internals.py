"""Lists the undocumented library names that the transport uses, and checks that the installed versions contain them.

If a name is missing, the transport falls back to the library's own slower code and logs a warning.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import engineio
import socketio
from engineio.async_drivers.tornado import get_tornado_handler
from engineio.async_socket import AsyncSocket
from engineio.base_socket import BaseSocket
from socketio.base_manager import BaseManager
from tornado import httpserver
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

PrivateNames = Mapping[Callable[..., Any], set[str]]
"""Undocumented names, keyed by a library function that sets or uses them."""

HARDENED_SERVER: PrivateNames = {
    BaseSocket.__init__: {"queue", "connected", "upgraded", "closing", "closed", "session"},
    engineio.AsyncServer.handle_request: {"sockets", "_cors_allowed_origins", "transports"},
    engineio.AsyncServer._handle_connect: {"ping_interval_grace_period", "_generate_sid_cookie"},
    engineio.AsyncServer._make_response: {"_cors_headers"},
    socketio.AsyncServer._handle_eio_message: {
        "_binary_packet",
        "packet_class",
        "_handle_connect",
        "_handle_disconnect",
        "_handle_event",
        "_handle_ack",
    },
    socketio.AsyncServer._handle_event: {"_handle_event_internal"},
    socketio.AsyncServer._handle_eio_connect: {"environ"},
    socketio.AsyncServer._handle_connect: {"pre_connect", "_send_packet", "namespace_handlers", "namespaces"},
    socketio.AsyncServer._handle_disconnect: {"sid_from_eio_sid", "is_connected", "_trigger_event"},
    RequestHandler.on_connection_close: {"_body_future"},
    WebSocketProtocol13._accept_connection: {"stream"},
    WebSocketProtocol13._receive_frame_loop: {"client_terminated", "close_code", "close_reason"},
    WebSocketProtocol13._receive_frame: {"_handle_message", "_abort", "_websocket_mask"},
    HTTP1Connection._read_message_inner: {"_parse_headers"},
    WebSocketProtocol13._challenge_response: {"compute_accept_value"},
    WebSocketHandler.get: {"get_websocket_protocol", "ws_connection"},
    httpserver.HTTPServer.initialize: {"conn_params"},
    TCPServer.add_sockets: {"_handle_connection"},
    httpserver._HTTPRequestContext.__init__: {"address", "remote_ip", "protocol"},
}
"""Undocumented library names that `AsyncServer` and its parts use."""

DIRECT_WRITES: PrivateNames = {
    BaseManager.get_participants: {"_fwdm"},
    BaseSocket.__init__: {"queue", "closing", "closed", "upgraded"},
    engineio.AsyncServer.send_packet: {"_get_socket"},
    AsyncSocket.poll: {"queue", "task_done"},
    socketio.AsyncServer._handle_event: {"_handle_event_internal", "sid_from_eio_sid", "is_connected"},
    socketio.AsyncServer._handle_event_internal: {"_send_packet"},
    get_tornado_handler: {"WebSocketHandler"},
    WebSocketHandler.write_message: {"ws_connection"},
    WebSocketProtocol13.__init__: {"_compressor"},
    WebSocketProtocol13.close: {"stream"},
    IOStream.__init__: {"socket"},
    asyncio.Queue.put_nowait: {"_put"},
    asyncio.Queue.get_nowait: {"_get"},
    asyncio.Queue.empty: {"_queue"},
}
"""Undocumented library names that `Fanout` uses to write directly to websockets."""


def missing_names(private: PrivateNames) -> list[str]:
    """Return the names that the installed libraries lack, each with the library function that should contain it."""
    return sorted(
        f"{function.__qualname__}: {name}"
        for function, names in private.items()
        for name in names - set(function.__code__.co_names)
    )
