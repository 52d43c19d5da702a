"""Logging in: the page, its form, the cookie, and what is closed without one."""

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


async def test_nobody_sees_the_page_before_logging_in_and_all_else_that_is_public(server: StorewatchServer) -> None:
    answer = await fetch(server.url)
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/login")
    for path in ("login", "static/main.js", "modules/preact.js", "healthz"):
        assert (await fetch(f"{server.url}{path}")).code == HTTPStatus.OK


@pytest.mark.parametrize("name", ["li", "王"])
async def test_who_logs_in_gets_a_cookie_that_no_script_sees_and_with_it_the_page(
    server: StorewatchServer, name: str
) -> None:
    answer = await post(f"{server.url}login", form(name))
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    page = await fetch(server.url, headers={"Cookie": f"{COOKIE}={parse_cookie(cookie)[COOKIE]}"})
    assert page.code == HTTPStatus.OK
    assert b"importmap" in page.body


async def test_over_https_the_cookie_never_leaves_it(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form("li"), {"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("forged", ["", "x", "2|1:0|10:1|1:a|4:eA==|00", f"{COOKIE}={COOKIE}"])
async def test_a_cookie_that_we_have_not_signed_is_nobodys(server: StorewatchServer, forged: str) -> None:
    our_cookie = (await log_in(server.url)).removeprefix(f"{COOKIE}=")
    for value in (forged, our_cookie[:-1] + ("0" if our_cookie[-1] != "0" else "1"), our_cookie.replace("|", "", 1)):
        assert (await fetch(server.url, headers={"Cookie": f"{COOKIE}={value}"})).code == HTTPStatus.SEE_OTHER


async def test_a_wrong_password_and_an_unknown_name_are_refused_alike(server: StorewatchServer) -> None:
    wrong = await post(f"{server.url}login", form("li", "wrong"))
    unknown = await post(f"{server.url}login", form("nobody", "wrong"))
    assert wrong.code == unknown.code == HTTPStatus.FORBIDDEN
    assert wrong.body.replace(b'"li"', b'"nobody"') == unknown.body
    assert b"do not belong together" in wrong.body
    assert b"wrong" not in wrong.body  # never the password
    assert "Set-Cookie" not in wrong.headers


async def test_who_was_revoked_is_told_so_if_the_password_is_right(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form("gone"))
    assert answer.code == HTTPStatus.FORBIDDEN
    assert b"changed or withdrawn" in answer.body
    assert "Set-Cookie" not in answer.headers
    assert b"changed or withdrawn" not in (await post(f"{server.url}login", form("gone", "wrong"))).body


async def test_a_name_is_text_and_never_markup(server: StorewatchServer) -> None:
    answer = await post(f"{server.url}login", form('"><img src=x>', "wrong"))
    assert b"<img" not in answer.body
    assert b"&lt;img" in answer.body


def test_a_name_that_is_no_text_is_told_at_the_start() -> None:
    for wrong in (access(user("\ud83d\ude00")), access(LI, revoked=["\ud800"])):
        with pytest.raises(UsageError, match="access: a name in it is no text"):
            build_policy(msgspec.convert(wrong, Access), Source(None))


async def test_who_guesses_must_wait_and_who_knows_need_not(server: StorewatchServer) -> None:
    guesses = [await post(f"{server.url}login", form("guest", "wrong")) for _ in range(10)]
    assert {answer.code for answer in guesses} == {HTTPStatus.FORBIDDEN}
    answer = await post(f"{server.url}login", form("guest"))
    assert answer.code == HTTPStatus.TOO_MANY_REQUESTS
    assert int(answer.headers["Retry-After"]) >= 1
    for _ in range(12):
        await log_in(server.url, "王")


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Authenticator]:
    """An authenticator of many users, whose passwords are cheap to verify, that forgives no attempt."""
    monkeypatch.setattr(authenticator_module, "ATTEMPT_REFILL_S", math.inf)
    made = Authenticator(build_policy(msgspec.convert(access(*map(user, NAMES)), Access), Source(None)), now)
    yield made
    made.stop()


NAMES = [f"user {number}" for number in range(ATTEMPTS_PER_ADDRESS)]


async def code(authenticator: Authenticator, name: str, password: str, address: str) -> str | None:
    """What a login is refused with; None where it is not."""
    try:
        await authenticator.log_in(name, password, address)
    except StorewatchError as refused:
        return refused.code
    return None


async def test_whoever_has_many_addresses_of_ipv6_guesses_no_more_often_than_with_one(
    authenticator: Authenticator,
) -> None:
    guesses = [await code(authenticator, name, "wrong", f"2001:db8::{number:x}") for number, name in enumerate(NAMES)]
    assert set(guesses) == {"unauthorized"}
    assert await code(authenticator, "user 0", PASSWORD, "2001:db8::ffff:ffff:ffff:ffff") == RateLimited.code
    for elsewhere in ("2001:db8:0:1::", "::ffff:192.0.2.7", "192.0.2.8", "no address"):
        assert await code(authenticator, "user 0", PASSWORD, elsewhere) is None
    mapped = [await code(authenticator, name, "wrong", f"::ffff:192.0.2.{20 + n}") for n, name in enumerate(NAMES)]
    assert set(mapped) == {"unauthorized"}
    assert (
        await code(authenticator, "user 0", PASSWORD, "::ffff:192.0.2.8") is None
    )  # IPv4, as IPv6 writes it: all apart


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


async def test_a_form_of_another_site_is_refused(server: StorewatchServer) -> None:
    for origin in ("http://evil.example", "null", "http://["):
        for path in ("login", "logout"):
            answer = await post(f"{server.url}{path}", form("li"), {"Origin": origin})
            assert answer.code == HTTPStatus.FORBIDDEN
            assert "Set-Cookie" not in answer.headers
    answer = await post(f"{server.url}login", form("li"), {"Origin": server.url.rstrip("/")})
    assert answer.code == HTTPStatus.SEE_OTHER


async def test_who_logs_out_is_nobody_even_to_who_kept_the_cookie(server: StorewatchServer) -> None:
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
def test_reasons_that_end_a_session(settings: dict[str, Any], hours: float, code: str | None) -> None:
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


async def test_a_session_that_was_logged_out_stays_so_when_sessions_last_longer() -> None:
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
    ("accepted", "address", "spoken"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "login", "zh-CN"),
        ("en-US,en;q=0.9", "login", "en-GB"),
        ("fr, en;q=0.3, zh;q=0.7", "login", "zh-CN"),
        ("fr", "login", "en-GB"),
        ("zh-Hans-CN, en;q=0.8", "login", "zh-CN"),
        (";q=,,zh;q=x", "login", "en-GB"),  # a weight that is no number counts as 0
        ("en", "login?lang=zh", "zh-CN"),
        ("zh", "login?lang=xx", "zh-CN"),
    ],
)
async def test_the_form_is_in_the_language_of_its_reader(
    server: StorewatchServer, accepted: str, address: str, spoken: str
) -> None:
    answer = await fetch(f"{server.url}{address}", headers={"Accept-Language": accepted})
    assert f'<html lang="{spoken}">' in answer.body.decode()


async def test_the_form_says_why_it_is_there_and_brings_back_to_what_was_wanted(server: StorewatchServer) -> None:
    assert (await fetch(f"{server.url}?wall=5&x=%E5%86%B7")).headers["Location"] == "/login?wall=5&x=%E5%86%B7"
    page = await fetch(f"{server.url}login?why=expired")
    assert b"Your session has ended" in page.body
    assert b"Your session" not in (await fetch(f"{server.url}login?why=x")).body
    answer = await post(f"{server.url}login?wall=5&why=expired&lang=zh", form("li"))
    assert answer.headers["Location"] == "/?wall=5"


async def test_the_login_page_is_under_the_security_headers_and_in_no_cache(server: StorewatchServer) -> None:
    for answer in (await fetch(f"{server.url}login"), await post(f"{server.url}login", form("li", "wrong"))):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        # With no-referrer a browser says of no form where it comes from.
        assert answer.headers["Referrer-Policy"] == "same-origin"


async def test_only_users_who_see_everything_read_the_metrics(server: StorewatchServer) -> None:
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


async def test_where_access_is_open_nobody_is_asked(demo_server: StorewatchServer) -> None:
    assert (await fetch(demo_server.url)).code == HTTPStatus.OK
    assert (await fetch(f"{demo_server.url}metrics")).code == HTTPStatus.OK
    for answer in (await fetch(f"{demo_server.url}login"), await post(f"{demo_server.url}login", form("li"))):
        assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/")


def test_nothing_that_a_person_types_or_a_cookie_holds_is_logged(server: StorewatchServer) -> None:
    assert PASSWORD not in server.log()
    assert COOKIE not in server.log()
