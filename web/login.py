"""The pages `/login` and `/logout`: a form without a script, in both languages.

The English texts stand here and in login.html; translations/zh.csv has the Chinese ones. Tornado picks the language.
"""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import tornado.locale
from tornado.locale import Locale
from tornado.routing import Rule, URLSpec
from tornado.template import Template
from tornado.web import RequestHandler

from access.access_denied import AccessDenied
from access.audit_writer import AuditWriter
from access.authenticator import ATTEMPT_REFILL_S, Authenticator
from access.sessions import COOKIE
from errors import RateLimited
from record.audit import Entry
from transport.requests import is_same_origin

HERE = Path(__file__).parent
FORM = Template((HERE / "login.html").read_text(encoding="utf-8"), whitespace="oneline")
WHY, LANGUAGE = "why", "lang"
"""Query parameters of the login page itself; all others belong to the page that was requested."""

TAGS = {"en": "en-GB", "zh": "zh-CN"}
"""Our languages, and the tag of each for browsers."""
REASONS = {
    "wrong": "This name and this password do not belong together.",
    "rate_limited": "Too many attempts. Wait a minute, then try again.",
    "expired": "Your session has ended. Log in again.",
    "revoked": "Your access has been changed or withdrawn. Log in again, or ask who looks after Storewatch.",
}
"""Why the form is shown, by the value of `why`."""

_SCRIPT = re.compile(r"-[A-Za-z]{4}(?=-)")
"""In a language tag, the part that names a script (RFC 5646, 2.2.3)."""

tornado.locale.set_default_locale("en")
tornado.locale.load_translations(str(HERE / "translations"), encoding="utf-8")


class PageHandler(RequestHandler):
    """Shared by both pages."""

    def initialize(self, authenticator: Authenticator, audit: AuditWriter) -> None:
        """Take who authenticates users, and where logins are audited."""
        self._authenticator = authenticator
        self._audit = audit

    def set_default_headers(self) -> None:
        """Set the security headers of both pages."""
        self.clear_header("Server")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'",
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        # With no-referrer, browsers would omit the Origin of a form, too.
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Redirect if no login is needed; refuse forms of other sites."""
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


class LoginHandler(PageHandler):
    """The form that asks for a name and a password."""

    def get(self) -> None:
        """Show the form, with the reason for it."""
        self._show(self.get_query_argument(WHY, ""))

    head = get

    async def post(self) -> None:
        """Log the user in, or show the form again."""
        name = self.get_body_argument("name", "")
        # An unknown name may be a password, in the wrong field: it is not audited.
        user_name = name if self._authenticator.has_user(name) else ""
        try:
            user, cookie = await self._authenticator.log_in(
                name, self.get_body_argument("password", "", strip=False), self._address
            )
        except (AccessDenied, RateLimited) as refused:
            self._audit.enqueue_counted(Entry("login_refused", user_name, self._address, after={"code": refused.code}))
            self._refuse(name, refused)
            return
        self._audit.enqueue(Entry("login", user.name, self._address, subject=user.session))
        self._set_session_cookie(cookie)
        self.redirect(_url("/", self.request.query), status=303)

    def _refuse(self, name: str, refused: AccessDenied | RateLimited) -> None:
        if isinstance(refused, RateLimited):
            self.set_header("Retry-After", f"{ATTEMPT_REFILL_S:.0f}")
        self.set_status(429 if isinstance(refused, RateLimited) else 403)
        self._show("wrong" if refused.code == "unauthorized" else refused.code, name)

    def _set_session_cookie(self, cookie: str) -> None:
        secure = self.request.protocol == "https"
        max_age_s = round(self._authenticator.session_lifetime.total_seconds())
        # Not Strict: a user who follows a link to a view, such as one in a mail, stays logged in. A GET changes
        # nothing, and forms and websockets of other sites are refused.
        self.set_cookie(COOKIE, cookie, max_age=max_age_s, httponly=True, samesite="Lax", secure=secure)

    def get_user_locale(self) -> Locale | None:
        """Return the language chosen on the page; without one, Tornado asks the browser's Accept-Language."""
        chosen = self.get_query_argument(LANGUAGE, "")
        return tornado.locale.get(chosen) if chosen in TAGS else None

    def get_browser_locale(self, default: str = "en_US") -> Locale:
        """Return the language that the browser prefers.

        Tornado ignores tags with a script, such as zh-Hans-CN, so the script is left out.
        """
        accepted = self.request.headers.get("Accept-Language", "")
        self.request.headers["Accept-Language"] = _SCRIPT.sub("", accepted)
        return super().get_browser_locale(default)

    def _show(self, why: str, name: str = "") -> None:
        other = next(code for code in TAGS if code != self.locale.code)
        page_parameters = _page_parameters(self.request.query)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Vary", "Accept-Language")
        self.write(
            FORM.generate(
                _=self.locale.translate,
                tag=TAGS[self.locale.code],
                reason=REASONS.get(why, ""),
                name=name,
                other=urlencode([*page_parameters, (LANGUAGE, other)]),
                other_tag=TAGS[other],
            )
        )


class LogoutHandler(PageHandler):
    """Ends a session."""

    def post(self) -> None:
        """End the session, and show the login form."""
        user = self._authenticator.authenticate_request(self)
        if user is not None and user.means == "password":  # tokens have no session
            self._authenticator.log_out(user)
            self._audit.enqueue(Entry("logout", user.name, self._address, subject=user.session))
        self.clear_cookie(COOKIE)
        self.redirect("/login", status=303)


def routes(authenticator: Authenticator, audit: AuditWriter) -> list[Rule]:
    """Return the rules of both pages, for a Tornado application."""
    services = {"authenticator": authenticator, "audit": audit}
    return [URLSpec(r"/login", LoginHandler, services), URLSpec(r"/logout", LogoutHandler, services)]


def redirect_to_login(authenticator: Authenticator, handler: RequestHandler) -> str | None:
    """Return the address of the login page, for a request without access to the dashboard; None with access."""
    if authenticator.authenticate_request(handler) is not None:
        return None
    return _url("/login", handler.request.query)


def _url(path: str, query: str) -> str:
    parameters = urlencode(_page_parameters(query))
    return f"{path}?{parameters}" if parameters else path


def _page_parameters(query: str) -> list[tuple[str, str]]:
    """Return the query parameters of the requested page, such as `wall`."""
    return [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key not in (WHY, LANGUAGE)]
