"""The monitoring endpoints `/healthz`, `/readyz` and `/metrics`."""

import msgspec
from tornado.routing import Rule, URLSpec
from tornado.web import RequestHandler

from access.authenticator import Authenticator
from web.health import Health
from web.prometheus import Metrics


class EndpointHandler(RequestHandler):
    """Base class of the endpoints."""

    def set_default_headers(self) -> None:
        """Forbid caching and set the content type to plain text."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def compute_etag(self) -> None:
        """Return no ETag, so that the answer is never 304."""


class HealthzHandler(EndpointHandler):
    """Liveness check: answers 200 as long as the event loop runs."""

    def get(self) -> None:
        """Send status 200."""
        self.write("ok\n")

    head = get


class ReadyzHandler(EndpointHandler):
    """Readiness check: answers 200 if every enabled part of the process works, otherwise 503."""

    def initialize(self, health: Health) -> None:
        """Store the object that reports whether each part of the process works."""
        self._health = health

    def get(self) -> None:
        """Send the state of each part as JSON."""
        readiness = self._health.readiness()
        self.set_status(200 if readiness.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.write(msgspec.json.encode(readiness) + b"\n")

    head = get


class MetricsHandler(EndpointHandler):
    """The Prometheus metrics. They cover all storehouses, so only users with unrestricted visibility may read them."""

    def initialize(self, metrics: Metrics, authenticator: Authenticator) -> None:
        """Store the metrics, and the authenticator for the requests that read them."""
        self._metrics = metrics
        self._authenticator = authenticator

    def prepare(self) -> None:
        """Reject clients that are not authenticated, and users with restricted visibility."""
        user = self._authenticator.authenticate_request(self)
        if user is None:
            self.set_header("WWW-Authenticate", "Bearer")
            self._refuse(401, "Not authenticated. Send a bearer token, or log in first.\n")
        elif not user.visibility.everything:
            self._refuse(403, "Forbidden. The metrics cover all storehouses: use an account that sees everything.\n")

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(message)

    def get(self) -> None:
        """Send all metrics."""
        body, media_type = self._metrics.exposition(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", media_type)
        self.write(body)

    head = get


def routes(health: Health, metrics: Metrics, authenticator: Authenticator) -> list[Rule]:
    """Return the URL rules of the three endpoints for a Tornado application."""
    return [
        URLSpec(r"/healthz", HealthzHandler),
        URLSpec(r"/readyz", ReadyzHandler, {"health": health}),
        URLSpec(r"/metrics", MetricsHandler, {"metrics": metrics, "authenticator": authenticator}),
    ]
