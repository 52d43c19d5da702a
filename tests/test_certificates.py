"""TLS at the level of bytes: whose certificate is shown, also once its files have changed."""

import asyncio
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

import transport
from tests.support import pem
from tests.support.bare_server import HANG, UPGRADE, Bare, Raw, bare
from tests.support.serving import Serve
from tests.support.serving_inside import until

CHECK_INTERVAL_S = 0.02
POLLING = "EIO=4&transport=polling"


def certificate(folder: Path) -> transport.Certificate:
    files = pem.make("first").write(folder)
    return transport.Certificate(files["certificate"], files["key"], CHECK_INTERVAL_S)


async def shown(server: Bare) -> str:
    """The name on the certificate that who comes now is shown."""
    raw = await server.connect()
    raw.close()
    return raw.certificate


async def becomes(server: Bare, name: str) -> None:
    async with asyncio.timeout(HANG):
        while await shown(server) != name:  # noqa: ASYNC110 - it is asked, and tells nobody
            await asyncio.sleep(CHECK_INTERVAL_S)


async def test_everything_goes_over_tls_as_without(tmp_path: Path) -> None:
    async with bare(certificate=certificate(tmp_path)) as server:
        raw = await server.joined()
        await raw.say('421["message-with-ack","好"]')
        assert await raw.text() == '431["好"]'
        session = await server.open()
        assert (await session.post("40")).status == 200
        assert raw.certificate == "first"


async def test_who_comes_after_the_files_were_replaced_gets_the_new_certificate_and_who_is_there_stays(
    tmp_path: Path,
) -> None:
    async with bare(certificate=certificate(tmp_path)) as server:
        stays = await server.joined()
        for name in ("second", "third"):
            pem.make(name).write(tmp_path)
            await becomes(server, name)
        await stays.say('421["message-with-ack"]')
        assert await stays.text() == "431[]"
        assert stays.certificate == "first"


async def test_a_new_certificate_that_cannot_be_used_is_logged_once_and_the_one_before_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "transport")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    async with bare(certificate=certificate(first)) as server:
        for number, broken in enumerate(("", "nonsense", pem.make("other").certificate), 1):
            (first / "certificate.pem").write_text(broken, encoding="ascii")
            await until(lambda: len(caplog.records) == number, HANG)  # noqa: B023 - it is awaited here
            assert await shown(server) == "first"
        (first / "key.pem").rename(second)
        await until(lambda: len(caplog.records) == 4, HANG)
        pem.make("mended").write(first)
        await becomes(server, "mended")
        assert len(caplog.records) == 4
    assert "PRIVATE" not in caplog.text


async def test_one_file_that_is_replaced_before_the_other_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Checked by hand: how soon the second follows must not depend on the machine.
    reloaded = certificate(tmp_path)
    before = reloaded.context
    for _ in range(3):
        reloaded.reload_if_changed()
    assert reloaded.context is before
    new = pem.make("second")
    for text, name in ((new.certificate, "certificate.pem"), (new.key, "key.pem")):
        (tmp_path / name).write_text(text, encoding="ascii")
        reloaded.reload_if_changed()
    assert reloaded.context is before
    reloaded.reload_if_changed()
    assert reloaded.context is not before
    assert not caplog.records


async def test_who_never_finishes_the_handshake_or_speaks_no_tls_is_closed(tmp_path: Path) -> None:
    async with bare(certificate=certificate(tmp_path), request_timeout_s=0.1) as server:
        before = server.resources()
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            raw = Raw(*await asyncio.open_connection("127.0.0.1", server.port))
            await raw.send(said)
            assert await raw.is_closed()
        assert server.sio.rejections["slow"] >= 1
        await server.settled(before)


def test_a_key_that_wants_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    files = pem.make("first", BestAvailableEncryption(b"planted")).write(tmp_path)
    with pytest.raises(OSError, match=r".") as refused:
        transport.Certificate(files["certificate"], files["key"])
    assert "planted" not in str(refused.value)


async def test_the_whole_server_speaks_https_with_the_files_of_the_settings(serve: Serve, tmp_path: Path) -> None:
    files = pem.make("first").write(tmp_path)
    async with serve({"database": {"path": str(tmp_path / "own.db")}, "tls": files}) as server:
        assert server.url.startswith("https://")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=pem.believing_anybody())
        for path in ("", "nowhere", "healthz", f"socket.io/?{POLLING}", "socket.io/"):
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "\r\nStrict-Transport-Security: max-age=" in head
            size = int(head.split("Content-Length: ")[1].split("\r\n")[0])
            await reader.readexactly(size)
        writer.close()


async def test_the_whole_server_shows_a_new_certificate_to_who_comes_and_keeps_who_is_there(
    serve: Serve, tmp_path: Path
) -> None:
    files = pem.make("first").write(tmp_path)
    async with serve({"database": {"path": str(tmp_path / "own.db")}, "tls": files}) as server:

        async def connect() -> Raw:
            return Raw(*await asyncio.open_connection("127.0.0.1", server.port, ssl=pem.believing_anybody()))

        stays = await connect()
        await stays.send_request("GET", "EIO=4&transport=websocket", b"", UPGRADE)
        await stays.head()
        await stays.text()
        await stays.say("40")
        await stays.text()
        pem.make("second").write(tmp_path)
        async with asyncio.timeout(HANG):
            while True:
                comes = await connect()
                comes.close()
                if comes.certificate == "second":
                    break
                await asyncio.sleep(CHECK_INTERVAL_S)
        await stays.say('421["whoami"]')
        while not (told := await stays.text()).startswith("431"):
            assert told.startswith("42")
        assert stays.certificate == "first"
