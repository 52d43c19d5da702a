"""`python -m access password` and `token`: what they print lets somebody in."""

import subprocess
import sys
from pathlib import Path

import jwt
import yaml

from access.passwords import Passwords
from access.tokens import key, read
from settings import TokenKey, load
from tests.credentials import PASSWORD, SECRET, access, user
from tests.serving import ROOT, clean_environment


def run(*arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """`python -m access ARGUMENTS`."""
    command = [sys.executable, "-m", "access", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environment(), input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def config(folder: Path, **more: object) -> str:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"access": access(user("li"), **more)}), encoding="utf-8")
    return str(path)


async def test_a_password_becomes_a_hash_that_it_fits() -> None:
    done = run("password", typed=f"{PASSWORD}\n")
    assert (done.returncode, done.stderr) == (0, "")
    passwords = Passwords()
    assert await passwords.fit(done.stdout.strip(), PASSWORD)
    assert not await passwords.fit(done.stdout.strip(), PASSWORD + " ")
    assert not await passwords.fit(None, "")
    assert done.stdout != run("password", typed=f"{PASSWORD}\n").stdout
    passwords.stop()


def test_a_password_that_is_too_short_is_refused() -> None:
    done = run("password", typed="1234567\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "access: a password has at least 8 characters\n"


def test_a_token_is_one_that_the_server_believes(tmp_path: Path) -> None:
    keys = [{"algorithm": "HS256", "secret": SECRET, "issuer": "us", "audience": "storewatch"}]
    arguments = ("网关", "--role", "operate", "--organisation", "1", "--organisation", "A", "--for", "90d")
    done = run("token", "--config", config(tmp_path, tokens=keys), *arguments)
    assert done.stderr == ""
    found = read(
        [key(TokenKey(algorithm="HS256", secret=SECRET, issuer="us", audience="storewatch"))], done.stdout.strip()
    )
    assert (found.name, found.role) == ("网关", "operate")
    assert found.visibility.organisations == frozenset({"1", "A"})
    assert found.session == jwt.decode(done.stdout.strip(), options={"verify_signature": False})["jti"]


def test_without_a_secret_there_is_no_token(tmp_path: Path) -> None:
    done = run("token", "x", "--config", config(tmp_path, tokens=[]))
    assert done.returncode == 2
    assert done.stderr.startswith("access: the settings have no HS256 secret")


def test_no_secret_is_in_any_repr(tmp_path: Path) -> None:
    found = load(config(tmp_path), {})[0]
    access_ = found.restricted
    assert access_ is not None
    shown = f"{found!r} {access_!r} {access_.users!r} {access_.tokens!r} {access_.session!r} {key(access_.tokens[0])!r}"
    assert "planted" not in shown
    assert "argon2id" not in shown
