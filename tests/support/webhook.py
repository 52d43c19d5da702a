"""A webhook in the test process that receives notices as JSON. Tests can make it fail or hang."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import planted
from tests.support.services.private import HOST

PATIENCE = 60.0  # seconds; time-out of every wait


class Webhook:
    """A webhook that accepts messages. The test can make it fail or hang."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        """Messages that the webhook has accepted."""
        self.attempts = 0
        self.fails = False
        self.hangs = False
        self.on_message: Callable[[], None] = lambda: None
        """Function that is called for each accepted message, before the response is sent."""
        self._released = threading.Event()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())

    @property
    def url(self) -> str:
        """URL of the webhook in Apprise's format."""
        return f"json://{HOST}:{self._server.server_port}/{planted.MARK}-of-the-webhook"

    @property
    def texts(self) -> list[str]:
        return [str(message["message"]) for message in self.messages]

    @property
    def titles(self) -> list[str]:
        return [str(message["title"]) for message in self.messages]

    def recover(self) -> None:
        """Accept messages again. Requests that are hanging fail with status 500."""
        self.fails = self.hangs = False
        self._released.set()

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(webhook.receive(json.loads(body)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def receive(self, message: dict[str, Any]) -> int:
        """Process a message. Return the HTTP status of the response."""
        self.attempts += 1
        if self.hangs:
            self._released.wait()
            return 500
        if self.fails:
            return 500
        self.messages.append(message)
        self.on_message()
        return 200


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a webhook during the block."""
    hook = Webhook()
    thread = threading.Thread(target=hook.run, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.stop()
        thread.join()
