"""A change of the settings counts without a restart, for who comes and for who is there."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from access import policy_reload as following_module
from access.access_denied import AccessDenied
from access.authenticator import Authenticator
from access.policy_reload import PolicyReload, read
from common.clock import now
from common.file_watch import FileWatch
from record.audit import Entry
from tests.clients import AccessDenied as NotLetIn
from tests.clients import Client, connected, new
from tests.credentials import HASH, SECRET, SESSION_SECRET, access, token, user
from tests.serving import Serve
from tests.serving_inside import until
from tests.sites import site


def write(path: Path, settings: dict[str, Any] | str | None) -> None:
    """Let the file say this; None: let there be none."""
    if settings is None:
        path.unlink()
    else:
        text = settings if isinstance(settings, str) else yaml.safe_dump(settings, allow_unicode=True)
        path.write_text(text, encoding="utf-8")


HALF = f'access: {{users: [], session: {{secret: "\\ud800{SESSION_SECRET}"}}}}'
WRONG = ["access: {users: [", "access: {usres: []}", None, "access: &again {users: [*again]}", HALF]
"""None: no file. The last two are good YAML, and nothing that anybody could use."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    write(path, {"access": access(user("li", "operate", storehouses=[7]))})
    return path


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[FileWatch]:
    """The looks at the file, which come fast."""
    found: list[FileWatch] = []

    def look(file: FileWatch) -> bool:
        found.append(file)
        return real(file)

    real = FileWatch.look
    monkeypatch.setattr(FileWatch, "look", look)
    monkeypatch.setattr(following_module, "LOOK_S", 0.02)
    return found


@asynccontextmanager
async def following(config: Path, notes: list[Entry]) -> AsyncIterator[Authenticator]:
    """A gate that has read the settings once since the start, as it always does."""
    authenticator = Authenticator(read(str(config)), now)
    task = asyncio.create_task(PolicyReload(authenticator, str(config), notes.append).run())
    try:
        await until(lambda: authenticator.revision == 1)
        yield authenticator
    finally:
        task.cancel()
        authenticator.stop()


async def test_a_change_counts_and_is_noted_without_a_secret(config: Path) -> None:
    notes: list[Entry] = []
    async with following(config, notes) as authenticator:
        li = await authenticator.admit({"HTTP_AUTHORIZATION": f"Bearer {token('li')}"})
        assert authenticator.revalidate(li) is li
        write(config, {"access": access(user("li", "configure"), revoked=["li"])})
        await until(lambda: authenticator.revision == 2)
        with pytest.raises(AccessDenied, match="may not come in any more"):
            authenticator.revalidate(li)
    (note,) = notes
    assert note.action == "access_changed"
    told: Any = note
    assert told.before["users"][0] | {"proof": ""} == {
        "name": "li",
        "role": "operate",
        "organisations": None,
        "storehouses": ["7"],
        "proof": "",
    }
    assert (told.after["users"][0]["role"], told.after["revoked"]) == ("configure", ["li"])
    for secret in (SECRET, SESSION_SECRET, HASH):
        assert secret not in repr(note)


async def test_a_file_that_is_wrong_changes_nothing_and_is_told_of_once(
    config: Path, looks: list[FileWatch], caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[Entry] = []
    async with following(config, notes) as authenticator:
        for number, wrong in enumerate(WRONG, 1):
            write(config, wrong)
            await until(lambda number=number: len(caplog.records) == number)  # type: ignore[misc]
            looks.clear()
            await until(lambda: len(looks) > 5)
        write(config, {"access": access(user("li", "operate", storehouses=[7]))})
        await until(lambda: authenticator.revision == 2)
        assert (await authenticator.admit({}, {"token": token()})).name == "gateway"
        assert notes == []
        write(config, {"access": access(user("wang"))})
        await until(lambda: notes)
        assert authenticator.revision == 3
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == len(WRONG)
    assert all("stays as it was" in record.getMessage() for record in errors)


async def test_what_the_environment_says_still_counts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOREWATCH_ACCESS__REVOKED", "gateway, other")
    async with following(config, []) as authenticator:
        write(config, {"access": access(user("wang"))})
        await until(lambda: authenticator.revision == 2)
        with pytest.raises(AccessDenied, match="gateway may not come in any more"):
            await authenticator.admit({}, {"token": token()})


async def test_who_is_there_hears_why_they_must_go(serve: Serve, tmp_path: Path) -> None:
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
            async with connected_for_a_while(server.url) as client:
                assert (await client.next("ended"))["code"] == "expired"
                await client.disconnected.wait()
                assert client.reason == "server disconnect"


@asynccontextmanager
async def connected_for_a_while(url: str) -> AsyncIterator[Client]:
    """A client whose token ends soon, yet not before a slow machine has connected it."""
    for lasts in (3, 12, 48):
        client = new("node4")
        try:
            await client.connect(url, ("websocket",), {"token": token(lasts=lasts)})
        except NotLetIn:
            continue
        else:
            yield client
            return
        finally:
            await client.close()
