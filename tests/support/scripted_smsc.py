"""An SMSC of which the test decides every answer; what a well-behaved one does is `sms_bridge.simulator`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Self

from sms_bridge.smpp.pdu import (
    CommandStatus,
    DeliverSm,
    DeliverSmResp,
    Pdu,
    Request,
    SubmitSm,
    decode,
    encode,
    frame_length,
    response_to,
)


class ScriptedSmsc:
    """Lets every client bind, one at a time, and keeps what it submits.

    Each submit_sm is answered with the next of `statuses`, then with ESME_ROK; None stands for a line that breaks
    before the answer.
    """

    def __init__(self) -> None:
        self.port = 0
        self.statuses: deque[CommandStatus | None] = deque()
        self.submitted: asyncio.Queue[SubmitSm] = asyncio.Queue()
        self._client: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._acknowledged: asyncio.Queue[CommandStatus] = asyncio.Queue()
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def serve(cls) -> AsyncGenerator[Self]:
        """Listen on a free port until left."""
        smsc = cls()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            smsc._connections.add(asyncio.create_task(smsc._serve(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        smsc.port = server.sockets[0].getsockname()[1]
        try:
            yield smsc
        finally:
            server.close()
            for connection in smsc._connections:
                connection.cancel()
            await asyncio.gather(*smsc._connections, return_exceptions=True)

    async def deliver(self, message: DeliverSm, *, cut: bool = False) -> CommandStatus:
        """Deliver once to the bound client, and return its answer; then, with `cut`, break the line."""
        client = await self._client.get()
        client.write(encode(message))
        status = await self._acknowledged.get()
        if cut:
            client.transport.abort()
        else:
            self._client.put_nowait(client)
        return status

    async def deliver_and_leave(self, messages: Iterable[DeliverSm]) -> None:
        """Deliver to the bound client, and close the line without waiting for any answer."""
        client = await self._client.get()
        client.writelines(encode(message) for message in messages)
        client.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    start = await reader.readexactly(4)
                    pdu = decode(start + await reader.readexactly(frame_length(start) - len(start)))
                    if not self._answer(pdu, writer):
                        break
        finally:
            writer.transport.abort()

    def _answer(self, pdu: Pdu, writer: asyncio.StreamWriter) -> bool:
        status: CommandStatus | None = CommandStatus.ESME_ROK
        if isinstance(pdu, DeliverSmResp) and not writer.is_closing():
            self._acknowledged.put_nowait(pdu.command_status)
        if isinstance(pdu, SubmitSm):
            self.submitted.put_nowait(pdu)
            status = self.statuses.popleft() if self.statuses else status
        if isinstance(pdu, Request) and status is not None:
            writer.write(encode(response_to(pdu, status)))
            if type(pdu).__name__.startswith("Bind"):
                while not self._client.empty():
                    self._client.get_nowait()
                self._client.put_nowait(writer)
        return status is not None
