"""Tests of login and logout: the form, the cookie, and the pages that need a session."""

import asyncio
import math
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from tornado.httputil import parse_cookie

from access import authenticator as authenticator_module
from access.access_denied import AccessDenied
from access.authenticator import ATTEMPTS_PER_ADDRESS, Authenticator
from access.policy import Policy, build_policy
from access.sessions import COOKIE
from common.clock import now
from errors import RateLimited, StorewatchError, UsageError
from settings import Access, Source
from tests.support.credentials import CHEAP, PASSWORD, SESSION_SECRET, access, fetch, log_in, post, token, user
from tests.support.serving import StorewatchServer, served
from tests.support.serving_inside import until
from tests.support.sites import site

USERS = [user("li", "operate"), user("王", "watch"), user("zhao", organisations=[1]), user("guest"), user("gone")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server with restricted access, behind a trusted proxy."""
    folder = tmp_path_factory.mktemp("access")
    with site({"path": str(folder / "site.db")}) as built:
        settings = {"database": {"path": str(folder / "site.db")}, "trusted_proxies": ["127.0.0.1"]}
        assert built.ids
        with served(StorewatchServer(folder, settings | {"access": access(*USERS, revoked=["gone"])})) as server:
            yield server


def form(name: str, password: str = PASSWORD) -> str:
    return urlencode({"name": name, "password": password})


@pytest.mark.slow
async def test_only_public_pages_are_served_without_a_session(server: StorewatchServer) -> None:
    answer = await fetch(server.url)
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/login")
    for path in ("login", "static/main.js", "modules/preact.js", "healthz"):
        assert (await fetch(f"{server.url}{path}")).code == HTTPStatus.OK


@pytest.mark.parametrize("name", ["li", "王"])
async def test_login_sets_an_httponly_cookie_that_opens_the_page(server: StorewatchServer, name: str) -> None:
    answer = await post(f"{server.url}login", form(name))
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    page = await fetch(server.url, headers={"Cookie": f"{COOKIE}={parse_cookie(cookie)[COOKIE]}"})
    assert page.code == HTTPStatus.OK
    assert b"importmap" in page.body


async def test_the_cookie_is_secure_over_https(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form("li"), {"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("forged", ["", "x", "2|1:0|10:1|1:a|4:eA==|00", f"{COOKIE}={COOKIE}"])
async def test_a_cookie_with_an_invalid_signature_is_rejected(server: StorewatchServer, forged: str) -> None:
    signed_cookie = (await log_in(server.url)).removeprefix(f"{COOKIE}=")
    for value in (
        forged,
        signed_cookie[:-1] + ("0" if signed_cookie[-1] != "0" else "1"),
        signed_cookie.replace("|", "", 1),
    ):
        assert (await fetch(server.url, headers={"Cookie": f"{COOKIE}={value}"})).code == HTTPStatus.SEE_OTHER


async def test_wrong_password_and_unknown_name_get_the_same_answer(server: StorewatchServer) -> None:
    wrong = await post(f"{server.url}login", form("li", "wrong"))
    unknown = await post(f"{server.url}login", form("nobody", "wrong"))
    assert wrong.code == unknown.code == HTTPStatus.FORBIDDEN
    assert wrong.body.replace(b'"li"', b'"nobody"') == unknown.body
    assert b"Wrong user name or password" in wrong.body
    assert b"wrong" not in wrong.body  # the answer never contains the password
    assert "Set-Cookie" not in wrong.headers


async def test_a_revoked_user_with_the_right_password_learns_why(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form("gone"))
    assert answer.code == HTTPStatus.FORBIDDEN
    assert b"changed or revoked" in answer.body
    assert "Set-Cookie" not in answer.headers
    assert b"changed or revoked" not in (await post(f"{server.url}login", form("gone", "wrong"))).body


async def test_the_login_form_escapes_the_name(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form('"><img src=x>', "wrong"))
    assert b"<img" not in answer.body
    assert b"&lt;img" in answer.body


def test_a_name_with_a_lone_surrogate_is_a_usage_error() -> None:
    for wrong in (access(user("\ud83d\ude00")), access(LI, revoked=["\ud800"])):
        with pytest.raises(UsageError, match="access: a name contains half of a surrogate pair"):
            build_policy(msgspec.convert(wrong, Access), Source(None))


async def test_failed_logins_are_limited_and_successful_ones_are_not(server: StorewatchServer) -> None:
    # All at once: one more attempt is allowed every 10 s.
    guesses = await asyncio.gather(*(post(f"{server.url}login", form("guest", "wrong")) for _ in range(10)))
    assert {answer.code for answer in guesses} == {HTTPStatus.FORBIDDEN}
    answer = await post(f"{server.url}login", form("guest"))
    assert answer.code == HTTPStatus.TOO_MANY_REQUESTS
    assert int(answer.headers["Retry-After"]) >= 1
    for _ in range(12):
        await log_in(server.url, "王")


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Authenticator]:
    """An authenticator with many users and cheap password hashes. A used login attempt is never given back."""
    monkeypatch.setattr(authenticator_module, "ATTEMPT_REFILL_S", math.inf)
    made = Authenticator(build_policy(msgspec.convert(access(*map(user, NAMES)), Access), Source(None)), now)
    yield made
    made.stop()


NAMES = [f"user {number}" for number in range(ATTEMPTS_PER_ADDRESS)]


async def code(authenticator: Authenticator, name: str, password: str, address: str) -> str | None:
    """Try to log in. Return the error code of the refusal, or None if the login succeeds."""
    try:
        await authenticator.log_in(name, password, address)
    except StorewatchError as refused:
        return refused.code
    return None


async def test_addresses_of_one_ipv6_network_share_the_attempt_limit(
    authenticator: Authenticator,
) -> None:
    guesses = [await code(authenticator, name, "wrong", f"2001:db8::{number:x}") for number, name in enumerate(NAMES)]
    assert set(guesses) == {"unauthorized"}
    assert await code(authenticator, "user 0", PASSWORD, "2001:db8::ffff:ffff:ffff:ffff") == RateLimited.code
    for elsewhere in ("2001:db8:0:1::", "::ffff:192.0.2.7", "192.0.2.8", "no address"):
        assert await code(authenticator, "user 0", PASSWORD, elsewhere) is None
    mapped = [await code(authenticator, name, "wrong", f"::ffff:192.0.2.{20 + n}") for n, name in enumerate(NAMES)]
    assert set(mapped) == {"unauthorized"}
    # Each IPv4-mapped address has its own limit, like any IPv4 address.
    assert await code(authenticator, "user 0", PASSWORD, "::ffff:192.0.2.8") is None


async def test_long_unknown_names_use_no_memory(authenticator: Authenticator) -> None:
    megabyte = 1_000_000
    assert await code(authenticator, "user 0", "wrong", "192.0.2.7") == "unauthorized"
    tracemalloc.start()
    try:
        for number in range(3):
            assert await code(authenticator, f"{number}{'x' * megabyte}", "wrong", "192.0.2.7") == "unauthorized"
        assert tracemalloc.get_traced_memory()[0] < megabyte
    finally:
        tracemalloc.stop()


async def test_a_form_from_another_site_is_refused(server: StorewatchServer) -> None:
    for origin in ("http://evil.example", "null", "http://["):
        for path in ("login", "login?lang=%FF", "logout"):
            answer = await post(f"{server.url}{path}", form("li"), {"Origin": origin})
            assert answer.code == HTTPStatus.FORBIDDEN
            assert answer.body
            assert "Set-Cookie" not in answer.headers
    assert "Traceback" not in server.log()
    answer = await post(f"{server.url}login", form("li"), {"Origin": server.url.rstrip("/")})
    assert answer.code == HTTPStatus.SEE_OTHER


async def test_logout_invalidates_only_its_own_cookie(server: StorewatchServer) -> None:
    cookie = {"Cookie": await log_in(server.url)}
    other = {"Cookie": await log_in(server.url)}
    answer = await post(f"{server.url}logout", headers=cookie)
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/login")
    assert parse_cookie(answer.headers["Set-Cookie"])[COOKIE] == ""
    assert (await fetch(server.url, headers=cookie)).code == HTTPStatus.SEE_OTHER
    assert (await fetch(server.url, headers=other)).code == HTTPStatus.OK


LI = user("li", "operate")
BEGUN = access(LI)


@pytest.mark.parametrize(
    ("settings", "hours", "code"),
    [
        (BEGUN, 11.99, None),
        (BEGUN, 12.0, "expired"),
        (BEGUN | {"revoked": ["li"]}, 0, "revoked"),
        (BEGUN | {"users": []}, 0, "revoked"),
        (access(LI | {"password_hash": CHEAP.hash(PASSWORD)}), 0, "revoked"),
        (access(LI, session={"secret": "another" * 9}), 0, "revoked"),
        (access(LI | {"role": "watch"}), 0, None),
        (access(LI, session={"secret": SESSION_SECRET, "hours": 1}), 1.0, "expired"),
        (access(LI, session={"secret": SESSION_SECRET, "hours": 24}), 23.99, None),
    ],
)
def test_settings_and_time_decide_whether_a_session_is_valid(
    settings: dict[str, Any], hours: float, code: str | None
) -> None:
    before, after = (build_policy(msgspec.convert(access, Access), Source(None)) for access in (BEGUN, settings))
    begun = now().replace(microsecond=0)
    user_before = before.user_of_session(before.create_session_cookie("li", begun), begun)
    later = begun + timedelta(hours=hours)
    if code is None:
        assert after.revalidate(user_before, later).role == settings["users"][0]["role"]
    else:
        with pytest.raises(AccessDenied) as refused:
            after.revalidate(user_before, later)
        assert refused.value.code == code


async def test_a_logged_out_session_stays_ended_when_the_lifetime_grows() -> None:
    def lasting(hours: float) -> Policy:
        settings = access(LI, session={"secret": SESSION_SECRET, "hours": hours})
        return build_policy(msgspec.convert(settings, Access), Source(None))

    times = [now()]
    authenticator = Authenticator(lasting(1), lambda: times[-1])
    (li, cookie), (again, _) = [await authenticator.log_in("li", PASSWORD, "192.0.2.7") for _ in range(2)]
    authenticator.log_out(li)
    authenticator.apply_policy(lasting(24))
    times.append(times[0] + timedelta(hours=2))
    authenticator.log_out(again)
    with pytest.raises(AccessDenied):
        await authenticator.authenticate_connection({"HTTP_COOKIE": f"{COOKIE}={cookie}"})
    authenticator.stop()


@pytest.mark.parametrize(
    ("accepted", "address", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "login", "zh-CN"),
        ("en-US,en;q=0.9", "login", "en-GB"),
        ("fr, en;q=0.3, zh;q=0.7", "login", "zh-CN"),
        ("fr", "login", "en-GB"),
        ("zh-Hans-CN, en;q=0.8", "login", "zh-CN"),
        (";q=,,zh;q=x", "login", "en-GB"),  # an invalid weight counts as 0
        ("en", "login?lang=zh", "zh-CN"),
        ("zh", "login?lang=xx", "zh-CN"),
    ],
)
async def test_the_login_form_uses_the_browsers_language(
    server: StorewatchServer, accepted: str, address: str, language: str
) -> None:
    answer = await fetch(f"{server.url}{address}", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in answer.body.decode()


async def test_the_form_gives_the_reason_and_restores_the_address(server: StorewatchServer) -> None:
    assert (await fetch(f"{server.url}?wall=5&x=%E5%86%B7")).headers["Location"] == "/login?wall=5&x=%E5%86%B7"
    page = await fetch(f"{server.url}login?why=expired")
    assert b"Your session has expired" in page.body
    assert b"Your session" not in (await fetch(f"{server.url}login?why=x")).body
    answer = await post(f"{server.url}login?wall=5&why=expired&lang=zh", form("li"))
    assert answer.headers["Location"] == "/?wall=5"


async def test_the_login_page_has_security_headers_and_is_never_cached(server: StorewatchServer) -> None:
    for answer in (await fetch(f"{server.url}login"), await post(f"{server.url}login", form("li", "wrong"))):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        # With the policy no-referrer, the browser would send `Origin: null` and the server would refuse the form.
        assert answer.headers["Referrer-Policy"] == "same-origin"


async def test_only_users_with_full_visibility_can_read_the_metrics(server: StorewatchServer) -> None:
    async def code(**headers: str) -> int:
        return (await fetch(f"{server.url}metrics", headers=headers)).code

    assert await code() == HTTPStatus.UNAUTHORIZED
    assert await code(Authorization="Bearer x") == HTTPStatus.UNAUTHORIZED
    assert await code(Authorization=f"Bearer {token(organisations=[1])}") == HTTPStatus.FORBIDDEN
    assert await code(Cookie=await log_in(server.url, "zhao")) == HTTPStatus.FORBIDDEN
    assert await code(Authorization=f"Bearer {token()}") == HTTPStatus.OK
    assert await code(Cookie=await log_in(server.url)) == HTTPStatus.OK


async def test_passwords_are_verified_concurrently(server: StorewatchServer) -> None:
    answers = await asyncio.gather(*(post(f"{server.url}login", form("li")) for _ in range(6)))
    assert {answer.code for answer in answers} == {HTTPStatus.SEE_OTHER}


async def test_logins_and_refused_logins_are_audited(server: StorewatchServer) -> None:
    def actions(address: str) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(server.directory / "site.db")) as connection:
            query = "SELECT action, who FROM audit WHERE address = ? ORDER BY entry_id"
            return list(connection.execute(query, [address]))

    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    answer = await post(f"{server.url}login", form("li"), elsewhere)
    cookie = f"{COOKIE}={parse_cookie(answer.headers['Set-Cookie'])[COOKIE]}"
    await post(f"{server.url}logout", headers=elsewhere | {"Cookie": cookie})
    await post(f"{server.url}login", form("a password, in the wrong field", "x"), elsewhere)
    await until(lambda: len(actions("192.0.2.7")) == 3)
    assert actions("192.0.2.7") == [("login", "li"), ("logout", "li"), ("login_refused", "")]
    await post(f"{server.url}login", form("li", "wrong"), {"X-Forwarded-For": "192.0.2.8"})
    await until(lambda: actions("192.0.2.8"))
    assert actions("192.0.2.8") == [("login_refused", "li")]


async def test_a_token_cannot_log_out(server: StorewatchServer) -> None:
    def actions() -> list[tuple[str]]:
        with closing(sqlite3.connect(server.directory / "site.db")) as connection:
            return list(connection.execute("SELECT action FROM audit WHERE address = '192.0.2.9' ORDER BY entry_id"))

    shown = {"X-Forwarded-For": "192.0.2.9", "Authorization": f"Bearer {token()}"}
    for _ in range(3):
        assert (await post(f"{server.url}logout", headers=shown)).code == HTTPStatus.SEE_OTHER
    await post(f"{server.url}login", form("li", "wrong"), shown)
    await until(actions)
    assert actions() == [("login_refused",)]
    assert (await fetch(f"{server.url}metrics", headers=shown)).code == HTTPStatus.OK


@pytest.mark.slow
async def test_open_access_needs_no_login(demo_server: StorewatchServer) -> None:
    assert (await fetch(demo_server.url)).code == HTTPStatus.OK
    assert (await fetch(f"{demo_server.url}metrics")).code == HTTPStatus.OK
    for answer in (await fetch(f"{demo_server.url}login"), await post(f"{demo_server.url}login", form("li"))):
        assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/")


def test_passwords_and_cookies_are_never_logged(server: StorewatchServer) -> None:
    assert PASSWORD not in server.log()
    assert COOKIE not in server.log()
