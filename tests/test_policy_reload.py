"""A changed access policy applies to new and to existing connections, without a restart of the server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from access import policy_reload
from access.access_denied import AccessDenied
from access.authenticator import Authenticator
from access.policy_reload import PolicyReload, load_policy
from common.clock import now
from common.file_watch import FileWatch
from record.audit import Entry
from tests.support.clients import Client, ConnectRefused, connected, new
from tests.support.credentials import HASH, SECRET, SESSION_SECRET, access, token, user
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.sites import site


def write(path: Path, settings: dict[str, Any] | str | None) -> None:
    """Write these settings to the file. Delete the file if `settings` is None."""
    if settings is None:
        path.unlink()
    else:
        text = settings if isinstance(settings, str) else yaml.safe_dump(settings, allow_unicode=True)
        path.write_text(text, encoding="utf-8")


LONE_SURROGATE = f'access: {{users: [], session: {{secret: "\\ud800{SESSION_SECRET}"}}}}'
INVALID = ["access: {users: [", "access: {usres: []}", None, "access: &again {users: [*again]}", LONE_SURROGATE]
"""Contents of the settings file that the server cannot use. None means that the file is missing.

The last two contents are valid YAML: a list that contains itself, and a secret with a lone surrogate.
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    write(path, {"access": access(user("li", "operate", storehouses=[7]))})
    return path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[FileWatch]:
    """Make the server check the settings file every 20 ms. Return a list to which each check is added."""
    checked: list[FileWatch] = []

    def check(watch: FileWatch) -> bool:
        checked.append(watch)
        return real(watch)

    real = FileWatch.check
    monkeypatch.setattr(FileWatch, "check", check)
    monkeypatch.setattr(policy_reload, "CHECK_INTERVAL_S", 0.02)
    return checked


@asynccontextmanager
async def reloading(config: Path, entries: list[Entry]) -> AsyncIterator[Authenticator]:
    """An authenticator with a running policy reload.

    The first check always reloads the policy, because the file may have changed since start-up.
    """
    authenticator = Authenticator(load_policy(str(config)), now)
    task = asyncio.create_task(PolicyReload(authenticator, str(config), entries.append).run())
    try:
        await until(lambda: authenticator.revision == 1)
        yield authenticator
    finally:
        task.cancel()
        authenticator.stop()


@pytest.mark.slow
async def test_a_change_applies_and_is_audited_without_secrets(config: Path) -> None:
    entries: list[Entry] = []
    async with reloading(config, entries) as authenticator:
        li = await authenticator.authenticate_connection({"HTTP_AUTHORIZATION": f"Bearer {token('li')}"})
        assert authenticator.revalidate(li) is li
        write(config, {"access": access(user("li", "configure"), revoked=["li"])})
        await until(lambda: authenticator.revision == 2)
        with pytest.raises(AccessDenied, match="has been revoked"):
            authenticator.revalidate(li)
    (entry,) = entries
    assert entry.action == "access_changed"
    changed: Any = entry
    assert changed.before["users"][0] | {"proof": ""} == {
        "name": "li",
        "role": "operate",
        "organisations": None,
        "storehouses": ["7"],
        "proof": "",
    }
    assert (changed.after["users"][0]["role"], changed.after["revoked"]) == ("configure", ["li"])
    for secret in (SECRET, SESSION_SECRET, HASH):
        assert secret not in repr(entry)


async def test_a_file_with_errors_changes_nothing_and_is_logged_once(
    config: Path, checks: list[FileWatch], caplog: pytest.LogCaptureFixture
) -> None:
    entries: list[Entry] = []
    async with reloading(config, entries) as authenticator:
        for number, invalid in enumerate(INVALID, 1):
            write(config, invalid)
            await until(lambda number=number: len(caplog.records) == number)  # type: ignore[misc]
            checks.clear()
            await until(lambda: len(checks) > 5)
        write(config, {"access": access(user("li", "operate", storehouses=[7]))})
        await until(lambda: authenticator.revision == 2)
        assert (await authenticator.authenticate_connection({}, {"token": token()})).name == "gateway"
        assert entries == []
        write(config, {"access": access(user("wang"))})
        await until(lambda: entries)
        assert authenticator.revision == 3
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == len(INVALID)
    assert all("the old one stays in force" in record.getMessage() for record in errors)


@pytest.mark.slow
async def test_the_environment_overrides_a_reloaded_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOREWATCH_ACCESS__REVOKED", "gateway, other")
    async with reloading(config, []) as authenticator:
        write(config, {"access": access(user("wang"))})
        await until(lambda: authenticator.revision == 2)
        with pytest.raises(AccessDenied, match="the access of gateway has been revoked"):
            await authenticator.authenticate_connection({}, {"token": token()})


@pytest.mark.slow
async def test_revoked_and_expired_clients_get_the_reason(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    settings = {"host": "127.0.0.1", "database": where}
    with site(where):
        async with serve(settings | {"access": access(user("li"))}) as server:
            async with connected("python", server.url, auth={"token": token(jti="7")}) as client:
                assert (await client.call("orgs"))["ok"]
                write(server.config, settings | {"access": access(user("li"), revoked=["7"])})
                assert (await client.next("ended"))["code"] == "revoked"
                await client.disconnected.wait()
                assert client.reason == "server disconnect"
            async with connected_until_expiry(server.url) as client:
                assert (await client.next("ended"))["code"] == "expired"
                await client.disconnected.wait()
                assert client.reason == "server disconnect"


@asynccontextmanager
async def connected_until_expiry(url: str) -> AsyncIterator[Client]:
    """Connect a client with a token that expires soon.

    On a slow machine, the token may expire before the client is connected. In this case, try again with a token whose
    lifetime is four times as long.
    """
    for lasts in (3, 12, 48):
        client = new("node4")
        try:
            await client.connect(url, ("websocket",), {"token": token(lasts=lasts)})
        except ConnectRefused:
            continue
        else:
            yield client
            return
        finally:
            await client.close()
