"""The endpoints for monitoring the server: `/healthz`, `/readyz`, `/metrics`."""

import msgspec
from tornado.routing import Rule, URLSpec
from tornado.web import RequestHandler

from access.authenticator import Authenticator
from web.health import Health
from web.prometheus import Metrics


class EndpointHandler(RequestHandler):
    """Shared by the endpoints."""

    def set_default_headers(self) -> None:
        """Forbid caching; answers are plain text."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def compute_etag(self) -> None:
        """Never answer 304."""


class HealthzHandler(EndpointHandler):
    """Liveness: answers as long as the event loop runs."""

    def get(self) -> None:
        """Answer 200."""
        self.write("ok\n")

    head = get


class ReadyzHandler(EndpointHandler):
    """Readiness: 200 if every part works, else 503."""

    def initialize(self, health: Health) -> None:
        """Take the health to report."""
        self._health = health

    def get(self) -> None:
        """Report the state of each part as JSON."""
        readiness = self._health.readiness()
        self.set_status(200 if readiness.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.write(msgspec.json.encode(readiness) + b"\n")

    head = get


class MetricsHandler(EndpointHandler):
    """The Prometheus metrics. They cover all storehouses, so only users who see everything may read them."""

    def initialize(self, metrics: Metrics, authenticator: Authenticator) -> None:
        """Take the metrics to report, and who authenticates their readers."""
        self._metrics = metrics
        self._authenticator = authenticator

    def prepare(self) -> None:
        """Refuse users without access."""
        user = self._authenticator.authenticate_request(self)
        if user is None:
            self.set_header("WWW-Authenticate", "Bearer")
            self._refuse(401, "say who you are, by a bearer token or a session\n")
        elif not user.visibility.everything:
            self._refuse(403, "these figures are of everything, and you may not see that\n")

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
    """Return the rules of the three endpoints, for a Tornado application."""
    return [
        URLSpec(r"/healthz", HealthzHandler),
        URLSpec(r"/readyz", ReadyzHandler, {"health": health}),
        URLSpec(r"/metrics", MetricsHandler, {"metrics": metrics, "authenticator": authenticator}),
    ]
