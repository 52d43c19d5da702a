"""The server accepts the output of `python -m access password` and `python -m access token`."""

import subprocess
import sys
from pathlib import Path

import jwt
import pytest
import yaml

from access.passwords import PasswordVerifier
from access.tokens import build_key, verify_token
from settings import TokenKey, load
from tests.support.credentials import PASSWORD, SECRET, access, user
from tests.support.serving import ROOT, clean_environment


def run(*arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `python -m access ARGUMENTS`."""
    command = [sys.executable, "-m", "access", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environment(), input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def config(folder: Path, **more: object) -> str:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"access": access(user("li"), **more)}), encoding="utf-8")
    return str(path)


@pytest.mark.slow
async def test_a_password_matches_its_printed_hash() -> None:
    done = run("password", typed=f"{PASSWORD}\n")
    assert (done.returncode, done.stderr) == (0, "")
    passwords = PasswordVerifier()
    assert await passwords.verify(done.stdout.strip(), PASSWORD)
    assert not await passwords.verify(done.stdout.strip(), PASSWORD + " ")
    assert not await passwords.verify(None, "")
    assert done.stdout != run("password", typed=f"{PASSWORD}\n").stdout
    passwords.stop()


def test_a_password_that_is_too_short_is_refused() -> None:
    done = run("password", typed="1234567\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "access: the password is too short: it must have at least 8 characters\n"


def test_a_printed_token_is_accepted(tmp_path: Path) -> None:
    keys = [{"algorithm": "HS256", "secret": SECRET, "issuer": "us", "audience": "storewatch"}]
    arguments = ("网关", "--role", "operate", "--organisation", "1", "--organisation", "A", "--for", "90d")
    done = run("token", "--config", config(tmp_path, tokens=keys), *arguments)
    assert done.stderr == ""
    key = build_key(TokenKey(algorithm="HS256", secret=SECRET, issuer="us", audience="storewatch"))
    user_of_token = verify_token([key], done.stdout.strip())
    assert (user_of_token.name, user_of_token.role) == ("网关", "operate")
    assert user_of_token.visibility.organisations == frozenset({"1", "A"})
    assert user_of_token.session == jwt.decode(done.stdout.strip(), options={"verify_signature": False})["jti"]


def test_the_token_command_fails_without_an_hs256_secret(tmp_path: Path) -> None:
    done = run("token", "x", "--config", config(tmp_path, tokens=[]))
    assert done.returncode == 2
    assert done.stderr.startswith("access: the settings have no HS256 secret")


def test_no_repr_contains_a_secret(tmp_path: Path) -> None:
    settings = load(config(tmp_path), {})[0]
    restricted = settings.restricted
    assert restricted is not None
    parts = (settings, restricted, restricted.users, restricted.tokens, restricted.session)
    text = " ".join(map(repr, (*parts, build_key(restricted.tokens[0]))))
    assert "planted" not in text
    assert "argon2id" not in text
