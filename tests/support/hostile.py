"""Sends malformed inputs to a server. Runs as a separate process, so that it does not delay other clients.

    python -m tests.support.hostile PORT INPUTS [INPUTS_PER_SECOND]

The program prints the number of inputs of each kind as JSON.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tests.support.bare_server import BINARY, CLOSE, TEXT, UPGRADE, Raw, frame

SOCKETS = 50
SEED = 20_261_122
HANG_S = 30.0  # if the server leaves a malformed connection open for longer, it has failed
PATIENCE_S = 0.02  # maximum time to wait for the server before the next input
WEBSOCKET = "EIO=4&transport=websocket"
GONE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)

GOOD = (
    '42["orgs"]', '421["storehouses",1]', '422["register",{"store_house_id":1,"cursor":0}]', '423["overview"]',
    '424["queryEnvs",{"store_house_id":1,"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}]',
    '425["queryAlarms",{"store_house_id":1,"data_minute":10}]', '451-["register",{"_placeholder":true,"num":0}]',
    '461-7[{"_placeholder":true,"num":0}]', "430[1]", "41", "40", '40/other,{"token":"x"}', "3", "1", "2probe", "5",
)  # fmt: skip
SPOILS = ("", '"', "[", "}", "\x1e", "9", "é", ",")
BINARIES = ('451-["orgs",{"_placeholder":true,"num":0}]', '4564-["orgs"]', '45-["orgs"]', "459999-")
REQUESTS = (
    b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n" * 500,
    b"GET /socket.io/ HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    b"POST /socket.io/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    b"POST /socket.io/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 3000 + b"\r\n", b"GET / HTTP/1.1\r\n : \r\n\r\n",
    b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nHost: \xff\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling&sid=%00 HTTP/1.1\r\nHost: h\r\nCookie: " + b";" * 4000 + b"\r\n\r\n",
)  # fmt: skip


class Attacker:
    """Makes one attack after another, each on a new socket.

    `sent` contains the number of sent inputs of each kind.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.sent: Counter[str] = Counter()
        self._port = port
        self._dice = random.Random(seed)
        self._left: list[Raw] = []
        self._attacks: list[tuple[str, Callable[[], Awaitable[int]]]] = [
            ("malformed packets", self._packets),
            ("huge and nested payloads", self._payloads),
            ("binary", self._binary),
            ("floods", self._flood),
            ("broken frames", self._frames),
            ("malformed requests", self._request),
            ("half-open handshakes", self._half_open),
            ("slow posts", self._slow_post),
        ]

    async def run(self, inputs: int, per_second: float) -> None:
        """Send at least `inputs` inputs, and at most `per_second` inputs per second."""
        while self.sent.total() < inputs:
            kind, attack = self._dice.choice(self._attacks)
            before = self.sent.total()
            try:
                async with asyncio.timeout(HANG_S):
                    self.sent[kind] += await attack()
            except GONE:
                self.sent[kind] += 1
            await asyncio.sleep((self.sent.total() - before) / per_second)
        for raw in self._left:
            raw.close()

    async def _packets(self) -> int:
        raw = await self._somewhere()
        for count in range(1, 20):
            await raw.say(self._spoilt(self._dice.choice(GOOD)))
            if await self._is_over(raw):
                return count
        raw.close()
        return 20

    def _spoilt(self, packet: str) -> str:
        letters = list(packet)
        for _ in range(self._dice.randint(1, 4)):
            index = self._dice.randrange(len(letters) + 1)
            letters[index : index + self._dice.randint(0, 2)] = self._dice.choice(SPOILS)
        return "".join(letters)

    async def _payloads(self) -> int:
        deep = self._dice.randint(10, 30_000)
        bodies = (
            "[" * deep + "]" * deep, '{"a":' * (deep // 3) + "1" + "}" * (deep // 3), "9" * deep, f"1e{deep}",
            '"' + "x" * 60_000 + '"', '"\\ud800"', json.dumps({str(n): n for n in range(3000)}), "[" * deep,
            '{"store_house_id":{"$ne":null}}', "-" * deep, '"' + "\\u0000" * 5000 + '"', '"' + "x" * 70_000 + '"',
        )  # fmt: skip
        raw = await self._joined()
        for body in self._dice.sample(bodies, 4):
            await raw.say(f'427["{self._dice.choice(["register", "orgs", "saveRules", "queryEnvs"])}",{body}]')
        await self._is_over(raw)
        raw.close()
        return 4

    async def _binary(self) -> int:
        raw = await self._joined()
        await raw.say(self._dice.choice(BINARIES))
        for count in range(1, 8):
            await raw.say(self._dice.randbytes(self._dice.choice([0, 1, 100, 60_000])))
            if await self._is_over(raw):
                return count + 1
        raw.close()
        return 9

    async def _flood(self) -> int:
        raw = await self._joined()
        packet = frame(TEXT, self._dice.choice(['42["orgs"]', '42["x"]', '421["register"]', "40/x", "43[]", "3"]))
        await raw.send(packet * 100)
        await self._is_over(raw)
        raw.close()
        return 100

    async def _frames(self) -> int:
        raw = await self._somewhere()
        dice = self._dice
        await raw.send(
            dice.choice(
                [
                    dice.randbytes(dice.randint(1, 300)),
                    frame(TEXT, "4" * 100_000),
                    frame(TEXT, b"4\xff\xfe"),
                    frame(BINARY, b"", flags=0xC0),
                    frame(CLOSE, b"x" * 200),
                    frame(0, "4"),
                    frame(TEXT, "4", flags=0) * 20,
                    b"\x81\x05hello",
                    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
                    frame(9, b"x") * 200,
                ]
            )
        )
        if not await self._is_over(raw):
            self._leave(raw)
        return 1

    async def _request(self) -> int:
        raw = await self._connect()
        await raw.send(self._dice.choice([*REQUESTS, self._dice.randbytes(300)]))
        if not await self._is_over(raw):
            self._leave(raw)
        return 1

    async def _half_open(self) -> int:
        raw = await self._connect()
        whole = f"GET /socket.io/?{WEBSOCKET} HTTP/1.1\r\nHost: h\r\n".encode()
        await raw.send(whole[: self._dice.randrange(len(whole))])
        self._leave(raw)
        return 1

    async def _slow_post(self) -> int:
        raw = await self._connect()
        sid = "nobody"
        with suppress(ValueError, IndexError):
            sid = json.loads((await raw.ask("GET", "EIO=4&transport=polling")).body[1:])["sid"]
        line = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1"
        await raw.send(f"{line}\r\nHost: h\r\nContent-Length: 50000\r\n\r\n4".encode())
        self._leave(raw)
        return 1

    async def _connect(self) -> Raw:
        return Raw(*await asyncio.open_connection("127.0.0.1", self._port))

    async def _somewhere(self) -> Raw:
        """Open a websocket. In 70 % of the calls, also connect to the namespace."""
        return await self._joined() if self._dice.random() < 0.7 else await self._websocket()

    async def _websocket(self) -> Raw:
        raw = await self._connect()
        await raw.send_request("GET", WEBSOCKET, b"", UPGRADE)
        await raw.head()
        await raw.text()
        return raw

    async def _joined(self) -> Raw:
        raw = await self._websocket()
        await raw.say("40")
        await raw.text()
        return raw

    async def _is_over(self, raw: Raw) -> bool:
        """Return whether the server closes the connection within `PATIENCE_S`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await raw.is_closed()
        except TimeoutError:
            return False

    def _leave(self, raw: Raw) -> None:
        """Leave this connection open. If more than 20 connections are open, close the oldest one."""
        self._left.append(raw)
        if len(self._left) > 20:
            self._left.pop(0).close()


async def attack(port: int, inputs: int, per_second: float) -> dict[str, int]:
    """Run several attackers, which together send at least `inputs` inputs. Return the number of inputs of each kind."""
    attackers = [Attacker(port, SEED + number) for number in range(SOCKETS)]
    await asyncio.gather(*(attacker.run(inputs // SOCKETS, per_second / SOCKETS) for attacker in attackers))
    sent: Counter[str] = Counter()
    for attacker in attackers:
        sent.update(attacker.sent)
    return dict(sent)


def main(port: str, inputs: str, per_second: str = "1e9") -> None:
    """Run the attack and print the counts."""
    sent: Any = asyncio.run(attack(int(port), int(inputs), float(per_second)))
    print(json.dumps(sent))


if __name__ == "__main__":
    main(*sys.argv[1:])
