"""Which tokens the server accepts, and the error that a client with a refused token receives."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from access.access_denied import AccessDenied
from access.policy import Policy, build_policy
from ask.visibility import Visibility
from settings import Access, Source
from tests.support.clients import ConnectRefused, Kind, connected, new
from tests.support.command import run
from tests.support.credentials import SECRET, access, pair, token, user
from tests.support.serving import Serve
from tests.support.sites import site

NOW = datetime.now(UTC)
RSA, EC, OTHER = pair("RS256"), pair("ES256"), pair("RS256")
ISSUED = {"issuer": "https://login.example", "audience": "storewatch"}
KEYS: list[dict[str, Any]] = [
    {"algorithm": "HS256", "secret": SECRET},
    {"algorithm": "RS256", "public_key": RSA.public, **ISSUED},
    {"algorithm": "ES256", "public_key": EC.public},
]
ISSUER_CLAIMS: dict[str, Any] = {"iss": "https://login.example", "aud": "storewatch"}


def accepting(**more: Any) -> Policy:
    """Return a policy that accepts tokens signed with KEYS."""
    return build_policy(msgspec.convert({"tokens": KEYS} | more, Access), Source(None))


def denied(shown: Any, now: datetime = NOW, **more: Any) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        accepting(**more).user_of_token(shown, now)
    return caught.value


def forged(header: dict[str, Any], claims: dict[str, Any], key: bytes = b"") -> str:
    """Return a token that is built by hand, because no JWT library would create a token like this."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signed = hmac.new(key, b".".join(parts), hashlib.sha256).digest() if key else b""
    return b".".join([*parts, base64.urlsafe_b64encode(signed).rstrip(b"=")]).decode()


CLAIMS = {"sub": "x", "exp": int(NOW.timestamp()) + 600, "role": "configure"} | ISSUER_CLAIMS


@pytest.mark.parametrize(
    "shown",
    [
        token(role="operate", organisations=[1, "A"], storehouses=[7]),
        token(
            role="operate", organisations=[1, "A"], storehouses=[7], key=RSA.private, algorithm="RS256", **ISSUER_CLAIMS
        ),
        token(role="operate", organisations=[1, "A"], storehouses=[7], key=EC.private, algorithm="ES256"),
    ],
    ids=["HS256", "RS256", "ES256"],
)
def test_a_token_holds_name_role_and_visibility(shown: str) -> None:
    user_of_token = accepting().user_of_token(shown, NOW)
    assert (user_of_token.name, user_of_token.role, user_of_token.means) == ("gateway", "operate", "token")
    assert user_of_token.visibility == Visibility(frozenset({"1", "A"}), frozenset({"7"}))
    assert user_of_token.expires is not None
    assert user_of_token.expires > NOW


def test_a_token_with_only_a_name_may_watch_everything() -> None:
    user_of_token = accepting().user_of_token(token(), NOW)
    assert (user_of_token.role, user_of_token.visibility.everything) == ("watch", True)


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("", "it is not a JWT"),
        ("a.b.c", "it is not a JWT"),
        ("é.ü.ö", "it is not a JWT"),
        (token(key=SECRET + "x"), "it is not signed with a key from the settings"),
        (token(key=OTHER.private, algorithm="RS256", **ISSUER_CLAIMS), "it is not signed with a key from the settings"),
        (token(key=SECRET * 2, algorithm="HS512"), "it is not signed with a key from the settings"),
        (forged({"alg": "none"}, CLAIMS), "it is not signed with a key from the settings"),
        (forged({"alg": "None", "typ": "JWT"}, CLAIMS), "it is not signed with a key from the settings"),
        (forged({"alg": "HS256"}, CLAIMS, RSA.public.encode()), "it is not signed with a key from the settings"),
        (forged({"alg": "HS256"}, CLAIMS, EC.public.encode()), "it is not signed with a key from the settings"),
        (forged({}, CLAIMS, SECRET.encode()), "it is not signed with a key from the settings"),
        (token(exp=None), 'missing the "exp" claim'),
        (token(sub=None), 'missing the "sub" claim'),  # type: ignore[arg-type]
        (token(sub=""), "length >= 1"),
        (token(sub="\ud800"), "surrogates not allowed"),
        (token(role="king"), "Invalid enum value 'king'"),
        (token(exp="soon"), "exp"),
        (token(exp=1e300), ""),
        (token(organisations=1), "Expected `array | null`"),
        (token(nbf=int(NOW.timestamp()) + 600), "not yet valid"),
        (token(key=RSA.private, algorithm="RS256", aud="storewatch"), '"iss" claim'),
        (token(key=RSA.private, algorithm="RS256", iss="https://login.example"), '"aud" claim'),
        (token(key=RSA.private, algorithm="RS256", **ISSUER_CLAIMS | {"aud": "other"}), "Audience doesn't match"),
        (token(key=RSA.private, algorithm="RS256", **ISSUER_CLAIMS | {"iss": "other"}), "Invalid issuer"),
    ],
)
def test_an_invalid_token_is_refused(shown: str, message: str) -> None:
    refused = denied(shown)
    assert refused.code == "unauthorized"
    assert message in refused.message
    assert SECRET not in refused.message


def test_a_token_expires_exactly_at_its_exp_time() -> None:
    end = NOW.replace(microsecond=0) + timedelta(seconds=60)
    shown = token(exp=int(end.timestamp()))
    assert accepting().user_of_token(shown, end - timedelta(seconds=1)).name == "gateway"
    assert denied(shown, end).code == "expired"


@pytest.mark.parametrize("revoked", ["gateway", "token-7"])
def test_a_user_or_an_individual_token_can_be_revoked(revoked: str) -> None:
    assert denied(token(jti="token-7"), revoked=[revoked]).code == "revoked"
    assert accepting(revoked=[revoked]).user_of_token(token("other", jti="token-8"), NOW).name == "other"


def test_a_removed_key_revokes_its_tokens() -> None:
    user_before = accepting().user_of_token(token(), NOW)
    with pytest.raises(AccessDenied) as caught:
        build_policy(msgspec.convert({"tokens": KEYS[1:]}, Access), Source(None)).revalidate(user_before, NOW)
    assert caught.value.code == "revoked"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "public_key", "argument"),
    [
        ("RS256", "planted", "0"),
        ("ES256", RSA.public, "--check"),
        ("RS256", pair("short").public, "0"),
        ("ES256", EC.secret, "--check"),
    ],
)
def test_an_invalid_key_is_reported_in_one_line(algorithm: str, public_key: str, argument: str, tmp_path: Path) -> None:
    keys = [{"algorithm": algorithm, "public_key": public_key}]
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"access": {"tokens": keys}}), encoding="utf-8")
    done = run(tmp_path, argument, "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"storewatch: {config}:2 access.tokens: {algorithm}")
    assert done.stderr.count("\n") == 1
    assert "planted" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["python", "node4"])
async def test_a_program_is_accepted_or_refused_with_a_reason(kind: Kind, serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where):
        async with serve({"database": where, "access": access(user("li"), tokens=KEYS)}) as server:
            shown = token("网关", role="operate", key=EC.private, algorithm="ES256")
            async with connected(kind, server.url, auth={"token": shown}) as client:
                answer = (await client.call("whoami"))["data"]
            assert (answer["name"], answer["role"]) == ("网关", "operate")
            assert answer["expires"].endswith("Z")
            for auth, code in (
                ({"token": token(lasts=-1)}, "expired"),
                ({"token": token(key="x" * 40)}, "unauthorized"),
                ({"token": 5}, "unauthorized"),
                ({"token": {"a": [shown]}}, "unauthorized"),
                ({}, "unauthorized"),
            ):
                client = new(kind)
                try:
                    with pytest.raises(ConnectRefused) as refused:
                        await client.connect(server.url, ("websocket",), auth)
                finally:
                    await client.close()
                assert refused.value.data["code"] == code
                assert refused.value.data["message"] == str(refused.value)
