"""The pages `/login` and `/logout`: a form without a script, in both languages."""

from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlencode

from tornado.routing import Rule, URLSpec
from tornado.template import Template
from tornado.web import RequestHandler

from access.access_denied import AccessDenied
from access.authenticator import AGAIN_S, Authenticator
from access.sessions import COOKIE
from errors import RateLimited
from record.audit import Entry
from transport.requests import is_same_origin
from web.login_words import LANGUAGES, WORDS, preferred

FORM = Template((Path(__file__).parent / "login.html").read_text(encoding="utf-8"), whitespace="oneline")
WHY, LANGUAGE = "why", "lang"
"""Keys of the address that are the login page's own; the others are those of the page that was wanted."""


class Trail(Protocol):
    """Where it is written down who came; see `live.audit.Audit`."""

    def note(self, entry: Entry) -> None:
        """Write it down."""

    def count(self, entry: Entry) -> None:
        """Write it down, as one of many."""


class Page(RequestHandler):
    """What both pages have in common."""

    def initialize(self, authenticator: Authenticator, trail: Trail) -> None:
        """Take whom to ask, and whom to tell."""
        self._authenticator = authenticator
        self._trail = trail

    def set_default_headers(self) -> None:
        """Every answer carries the security headers."""
        self.clear_header("Server")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'",
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        # With no-referrer a browser does not say either from which origin a form comes.
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Send away who has nothing to do here, and forms of other sites."""
        if not self._authenticator.restricted:
            self.redirect("/", status=303)
        elif self.request.method == "POST" and not self._is_our_form():
            self.send_error(403)

    def _is_our_form(self) -> bool:
        origin = self.request.headers.get("Origin")
        return origin is None or is_same_origin(origin, self.request.host)

    @property
    def _address(self) -> str:
        return self.request.remote_ip or ""


class Login(Page):
    """Asks for a name and a password."""

    def get(self) -> None:
        """Show the form, and why it is there."""
        self._show(self.get_query_argument(WHY, ""))

    head = get

    async def post(self) -> None:
        """Let somebody in, or show the form again."""
        name = self.get_body_argument("name", "")
        known = name if self._authenticator.knows(name) else ""  # or else it may be a password, in the wrong field
        try:
            user, cookie = await self._authenticator.log_in(
                name, self.get_body_argument("password", "", strip=False), self._address
            )
        except (AccessDenied, RateLimited) as refused:
            self._trail.count(Entry("login_refused", known, self._address, after={"code": refused.code}))
            self._refuse(name, refused)
            return
        self._trail.note(Entry("login", user.name, self._address, subject=user.session))
        self._keep(cookie)
        self.redirect(_address("/", self.request.query), status=303)

    def _refuse(self, name: str, refused: AccessDenied | RateLimited) -> None:
        if isinstance(refused, RateLimited):
            self.set_header("Retry-After", f"{AGAIN_S:.0f}")
        self.set_status(429 if isinstance(refused, RateLimited) else 403)
        self._show("wrong" if refused.code == "unauthorized" else refused.code, name)

    def _keep(self, cookie: str) -> None:
        secure = self.request.protocol == "https"
        lasts = round(self._authenticator.lasts.total_seconds())
        # Not Strict: who follows a link to a view, in a mail say, is logged in there too. A GET changes nothing, and
        # forms and websockets of other sites are refused.
        self.set_cookie(COOKIE, cookie, max_age=lasts, httponly=True, samesite="Lax", secure=secure)

    def _show(self, why: str, name: str = "") -> None:
        chosen = self.get_query_argument(LANGUAGE, "")
        language = chosen if chosen in WORDS else preferred(self.request.headers.get("Accept-Language", ""))
        other = next(one for one in WORDS if one != language)
        wanted = _wanted(self.request.query)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Vary", "Accept-Language")
        self.write(
            FORM.generate(
                words=WORDS[language],
                tag=LANGUAGES[language],
                why=why,
                name=name,
                other=urlencode([*wanted, (LANGUAGE, other)]),
                other_tag=LANGUAGES[other],
            )
        )


class Logout(Page):
    """Ends a session."""

    def post(self) -> None:
        """End it, and show the form."""
        user = self._authenticator.of_request(self)
        if user is not None and user.means == "password":  # a token is nothing to log out of
            self._authenticator.log_out(user)
            self._trail.note(Entry("logout", user.name, self._address, subject=user.session))
        self.clear_cookie(COOKIE)
        self.redirect("/login", status=303)


def routes(authenticator: Authenticator, trail: Trail) -> list[Rule]:
    """Return the rules of the pages, ready for a Tornado application."""
    parts = {"authenticator": authenticator, "trail": trail}
    return [URLSpec(r"/login", Login, parts), URLSpec(r"/logout", Logout, parts)]


def elsewhere(authenticator: Authenticator, request: RequestHandler) -> str | None:
    """Return where somebody must go first who asks for the dashboard; None: they may have it."""
    return _address("/login", request.request.query) if authenticator.of_request(request) is None else None


def _address(path: str, query: str) -> str:
    wanted = urlencode(_wanted(query))
    return f"{path}?{wanted}" if wanted else path


def _wanted(query: str) -> list[tuple[str, str]]:
    """What of a query is the page's that was wanted, such as `wall`."""
    return [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key not in (WHY, LANGUAGE)]
