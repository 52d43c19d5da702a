"""The pages `/login` and `/logout`: a form without scripts, in English and Chinese.

The English texts are in this file and in login.html, the Chinese texts in translations/zh.csv. Tornado selects the
language.
"""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
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
"""Query parameters of the login page. All other parameters belong to the page that is shown after the login."""

TAGS = {"en": "en-GB", "zh": "zh-CN"}
"""Language tags for browsers, keyed by the code of each supported language."""
REASONS = {
    "wrong": "Wrong user name or password.",
    "rate_limited": "Too many attempts. Wait a minute, then try again.",
    "foreign_form": "This form was sent from another address. Log in here.",
    "unauthorized": "Log in to continue.",
    "expired": "Your session has expired. Log in again.",
    "revoked": "Your access was changed or revoked. Log in again, or ask your Storewatch administrator.",
}
"""Texts that explain why the form is shown, keyed by the value of the query parameter `why`."""

_SCRIPT = re.compile(r"-[A-Za-z]{4}(?=-)")
"""The script subtag of a language tag (RFC 5646, section 2.2.3)."""

tornado.locale.set_default_locale("en")
tornado.locale.load_translations(str(HERE / "translations"), encoding="utf-8")


class PageHandler(RequestHandler):
    """Base class of the login page and the logout page."""

    def initialize(self, authenticator: Authenticator, audit: AuditWriter) -> None:
        """Store the authenticator and the audit writer."""
        self._authenticator = authenticator
        self._audit = audit

    def set_default_headers(self) -> None:
        """Set the security headers of the login page and the logout page."""
        self.clear_header("Server")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'",
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        # Not no-referrer: with that value, browsers send a form with `Origin: null`.
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Redirect to the dashboard if no login is needed. Reject forms sent from other origins."""
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
    """The login form with user name and password."""

    def get(self) -> None:
        """Show the form with the reason given by the query parameter `why`."""
        self._show(self.get_query_argument(WHY, ""))

    head = get

    async def post(self) -> None:
        """Log the user in. If that fails, show the form again."""
        name = self.get_body_argument("name", "")
        # Do not audit an unknown name: it may be a password that was typed into the wrong field.
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

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show the login form instead of an error page if another origin sent the form (status 403)."""
        if status_code != HTTPStatus.FORBIDDEN:
            super().write_error(status_code, **kwargs)
            return
        self._show("foreign_form")
        self.finish()

    def _refuse(self, name: str, refused: AccessDenied | RateLimited) -> None:
        if isinstance(refused, RateLimited):
            self.set_header("Retry-After", f"{ATTEMPT_REFILL_S:.0f}")
        self.set_status(429 if isinstance(refused, RateLimited) else 403)
        self._show("wrong" if refused.code == "unauthorized" else refused.code, name)

    def _set_session_cookie(self, cookie: str) -> None:
        secure = self.request.protocol == "https"
        max_age_s = round(self._authenticator.session_lifetime.total_seconds())
        # Not Strict: a user who follows a link in an e-mail to a page stays logged in. This is safe because a GET
        # changes nothing, and forms and websockets from other origins are rejected.
        self.set_cookie(COOKIE, cookie, max_age=max_age_s, httponly=True, samesite="Lax", secure=secure)

    def get_user_locale(self) -> Locale | None:
        """Return the language chosen on the page.

        If none was chosen, return None, and Tornado uses the Accept-Language header.
        """
        # As bytes: get_query_argument would raise if the argument is no UTF-8, and write_error needs the language too.
        chosen = self.request.query_arguments.get(LANGUAGE, [b""])[-1].decode("latin-1")
        return tornado.locale.get(chosen) if chosen in TAGS else None

    def get_browser_locale(self, default: str = "en_US") -> Locale:
        """Return the language preferred by the browser.

        Tornado ignores language tags with a script subtag, such as zh-Hans-CN, so this method removes the subtag.
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
    """The page that ends a login session."""

    def post(self) -> None:
        """End the login session and redirect to the login form."""
        user = self._authenticator.authenticate_request(self)
        if user is not None and user.means == "password":  # tokens have no session
            self._authenticator.log_out(user)
            self._audit.enqueue(Entry("logout", user.name, self._address, subject=user.session))
        self.clear_cookie(COOKIE)
        self.redirect("/login", status=303)


def routes(authenticator: Authenticator, audit: AuditWriter) -> list[Rule]:
    """Return the URL rules of `/login` and `/logout` for a Tornado application."""
    services = {"authenticator": authenticator, "audit": audit}
    return [URLSpec(r"/login", LoginHandler, services), URLSpec(r"/logout", LogoutHandler, services)]


def redirect_to_login(authenticator: Authenticator, handler: RequestHandler) -> str | None:
    """Return the URL of the login page if the user must log in first, otherwise None."""
    if authenticator.authenticate_request(handler) is not None:
        return None
    return _url("/login", handler.request.query)


def _url(path: str, query: str) -> str:
    parameters = urlencode(_page_parameters(query))
    return f"{path}?{parameters}" if parameters else path


def _page_parameters(query: str) -> list[tuple[str, str]]:
    """Return the query parameters that belong to the page shown after the login, such as `wall`."""
    return [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key not in (WHY, LANGUAGE)]
