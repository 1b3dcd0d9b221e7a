"""A line that can be broken: a TCP proxy in front of a hub."""

import asyncio
from contextlib import suppress
from typing import Self


class FaultProxy:
    """Passes lines on to a target, and does to them what networks do. Use as an async context manager.

    Args:
        target: HOST:PORT.

    Attributes:
        refusing: whether new lines are closed at once.
        delay: seconds for which everything is held back, in both directions.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._lines: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.refusing = False
        self.delay = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.refusing = True  # for what was accepted already
        self.cut()
        self.flow()
        if self._lines:
            await asyncio.wait(set(self._lines))

    @property
    def target(self) -> str:
        """HOST:PORT of the proxy itself."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    @property
    def lines(self) -> int:
        """How many lines are open."""
        return len(self._lines)

    def cut(self) -> None:
        """Ends every open line at once, in the middle of whatever it carries."""
        for ends in self._lines.values():
            for end in ends:
                end.transport.abort()

    def stall(self) -> None:
        """Swallows everything from now on, in both directions; lines stay open, also new ones."""
        self._flowing.clear()

    def flow(self) -> None:
        """Ends `stall`: what was swallowed comes late."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line
        ends = self._lines[line] = [writer]
        try:
            if self.refusing:
                return
            to_target = await asyncio.open_connection(self._host, self._port)
            ends.append(to_target[1])
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, to_target[1]))
                both.create_task(self._pass(to_target[0], writer))
        except* (OSError, _Ended):
            pass
        finally:
            for end in self._lines.pop(line):
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        raise _Ended


class _Ended(Exception):
    """One side has ended the line, and so ends the other direction too."""
