"""The pages for who watches over the server: `/healthz`, `/readyz`, `/metrics`."""

import msgspec
from tornado.routing import Rule, URLSpec
from tornado.web import RequestHandler

from access.authenticator import Authenticator
from web.health import Health
from web.prometheus import Metrics


class Probe(RequestHandler):
    """What the pages have in common."""

    def set_default_headers(self) -> None:
        """Every answer is for now only, and no page."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def compute_etag(self) -> None:
        """Never answer that nothing has changed."""


class Alive(Probe):
    """Answers for as long as the event loop turns."""

    def get(self) -> None:
        """Say so."""
        self.write("ok\n")

    head = get


class Ready(Probe):
    """Tells whether all parts do what they should: 200, or 503."""

    def initialize(self, health: Health) -> None:
        """Take whom to ask."""
        self._health = health

    def get(self) -> None:
        """Say how each part does."""
        readiness = self._health.readiness()
        self.set_status(200 if readiness.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.write(msgspec.json.encode(readiness) + b"\n")

    head = get


class Figures(Probe):
    """Tells Prometheus the figures, which are of everything: so they are for who may see that."""

    def initialize(self, metrics: Metrics, authenticator: Authenticator) -> None:
        """Take whom to ask."""
        self._metrics = metrics
        self._authenticator = authenticator

    def prepare(self) -> None:
        """Look who asks."""
        user = self._authenticator.of_request(self)
        if user is None:
            self.set_header("WWW-Authenticate", "Bearer")
            self._refuse(401, "say who you are, by a bearer token or a session\n")
        elif not user.visibility.everything:
            self._refuse(403, "these figures are of everything, and you may not see that\n")

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(message)

    def get(self) -> None:
        """Send them all."""
        page, media_type = self._metrics.page(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", media_type)
        self.write(page)

    head = get


def routes(health: Health, metrics: Metrics, authenticator: Authenticator) -> list[Rule]:
    """Return the rules of the three pages, ready for a Tornado application."""
    return [
        URLSpec(r"/healthz", Alive),
        URLSpec(r"/readyz", Ready, {"health": health}),
        URLSpec(r"/metrics", Figures, {"metrics": metrics, "authenticator": authenticator}),
    ]
