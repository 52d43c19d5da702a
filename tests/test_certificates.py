"""Tests of TLS over raw sockets.

The server presents the right certificate, also after the certificate files have changed.
"""

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


async def shown_certificate(server: Bare) -> str:
    """Return the name on the certificate that a new connection gets."""
    raw = await server.connect()
    raw.close()
    return raw.certificate


async def wait_for_certificate(server: Bare, name: str) -> None:
    async with asyncio.timeout(HANG):
        while await shown_certificate(server) != name:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(CHECK_INTERVAL_S)


async def test_websocket_and_polling_work_over_tls(tmp_path: Path) -> None:
    async with bare(certificate=certificate(tmp_path)) as server:
        raw = await server.joined()
        await raw.say('421["message-with-ack","好"]')
        assert await raw.text() == '431["好"]'
        session = await server.open()
        assert (await session.post("40")).status == 200
        assert raw.certificate == "first"


async def test_a_replaced_certificate_is_used_for_new_connections_only(
    tmp_path: Path,
) -> None:
    async with bare(certificate=certificate(tmp_path)) as server:
        old = await server.joined()
        for name in ("second", "third"):
            pem.make(name).write(tmp_path)
            await wait_for_certificate(server, name)
        await old.say('421["message-with-ack"]')
        assert await old.text() == "431[]"
        assert old.certificate == "first"


async def test_an_unusable_certificate_is_logged_once_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "transport")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    async with bare(certificate=certificate(first)) as server:
        for number, broken in enumerate(("", "nonsense", pem.make("other").certificate), 1):
            (first / "certificate.pem").write_text(broken, encoding="ascii")
            await until(lambda: len(caplog.records) == number, HANG)  # noqa: B023 - awaited in the same iteration
            assert await shown_certificate(server) == "first"
        (first / "key.pem").rename(second)
        await until(lambda: len(caplog.records) == 4, HANG)
        pem.make("mended").write(first)
        await wait_for_certificate(server, "mended")
        assert len(caplog.records) == 4
    assert "PRIVATE" not in caplog.text


async def test_replacing_one_file_before_the_other_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The test calls reload_if_changed itself, so that the result does not depend on the speed of the machine.
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


async def test_an_unfinished_or_invalid_handshake_closes_the_connection(tmp_path: Path) -> None:
    async with bare(certificate=certificate(tmp_path), request_timeout_s=0.1) as server:
        before = server.resources()
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            raw = Raw(*await asyncio.open_connection("127.0.0.1", server.port))
            await raw.send(said)
            assert await raw.is_closed()
        assert server.sio.rejections["slow"] >= 1
        await server.settled(before)


def test_a_key_with_a_password_is_refused_without_a_prompt(tmp_path: Path) -> None:
    files = pem.make("first", BestAvailableEncryption(b"planted")).write(tmp_path)
    with pytest.raises(OSError, match=r".") as refused:
        transport.Certificate(files["certificate"], files["key"])
    assert "planted" not in str(refused.value)


@pytest.mark.slow
async def test_the_server_uses_https_with_the_configured_certificate(serve: Serve, tmp_path: Path) -> None:
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


@pytest.mark.slow
async def test_a_running_server_presents_a_replaced_certificate(serve: Serve, tmp_path: Path) -> None:
    files = pem.make("first").write(tmp_path)
    async with serve({"database": {"path": str(tmp_path / "own.db")}, "tls": files}) as server:

        async def connect() -> Raw:
            return Raw(*await asyncio.open_connection("127.0.0.1", server.port, ssl=pem.believing_anybody()))

        old = await connect()
        await old.send_request("GET", "EIO=4&transport=websocket", b"", UPGRADE)
        await old.head()
        await old.text()
        await old.say("40")
        await old.text()
        pem.make("second").write(tmp_path)
        async with asyncio.timeout(HANG):
            while True:
                new_connection = await connect()
                new_connection.close()
                if new_connection.certificate == "second":
                    break
                await asyncio.sleep(CHECK_INTERVAL_S)
        await old.say('421["whoami"]')
        while not (told := await old.text()).startswith("431"):
            assert told.startswith("42")
        assert old.certificate == "first"
