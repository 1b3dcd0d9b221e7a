"""The proxy that breaks lines: each way of breaking is one."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.support.fault_proxy import FaultProxy


@pytest.fixture
async def proxy() -> AsyncGenerator[FaultProxy]:
    """In front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with FaultProxy(f"{host}:{port}") as proxy:
            yield proxy


class Caller:
    """A line through the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    async def __aenter__(self) -> "Caller":
        host, _, port = self._proxy.target.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """What comes next; empty when the line was ended."""
        try:
            async with asyncio.timeout(30):
                return await self._reader.read(1024)
        except ConnectionResetError:
            return b""

    async def says_back(self, data: bytes) -> bool:
        await self.send(data)
        return await self.receive() == data


async def test_it_passes_on_what_it_gets(proxy: FaultProxy) -> None:
    async with Caller(proxy) as one, Caller(proxy) as other:
        assert await one.says_back(b"one")
        assert await other.says_back(b"other")
        assert proxy.lines == 2


async def test_it_cuts_the_lines_that_are_open(proxy: FaultProxy) -> None:
    async with Caller(proxy) as old:
        assert await old.says_back(b"x")
        proxy.cut()
        assert await old.receive() == b""
        async with Caller(proxy) as new:
            assert await new.says_back(b"y")


async def test_it_refuses_new_lines_only(proxy: FaultProxy) -> None:
    async with Caller(proxy) as old:
        assert await old.says_back(b"x")
        proxy.refusing = True
        async with Caller(proxy) as new:
            assert await new.receive() == b""
        assert await old.says_back(b"y")


@pytest.mark.parametrize("cut", [False, True])
async def test_what_is_stalled_comes_late_or_never(proxy: FaultProxy, cut: bool) -> None:
    async with Caller(proxy) as old, Caller(proxy) as other:
        assert await old.says_back(b"x")
        proxy.stall()
        await old.send(b"late")
        await other.send(b"too")  # on a line that is new
        received = asyncio.create_task(old.receive())
        assert not (await asyncio.wait({received}, timeout=0.1))[0]
        if cut:
            proxy.cut()
        proxy.flow()
        assert await received == (b"" if cut else b"late")


async def test_it_holds_everything_back_for_a_while(proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    async with Caller(proxy) as caller:
        proxy.delay = 0.1
        began = loop.time()
        assert await caller.says_back(b"x")
        assert loop.time() - began >= 0.2  # there and back


async def test_who_hangs_up_is_hung_up_on(proxy: FaultProxy) -> None:
    async with Caller(proxy) as caller:
        assert await caller.says_back(b"x")
    async with asyncio.timeout(30):
        while proxy.lines:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
