"""A small SMSC with phones, for the demo, the command line and the tests.

It stores and forwards as a real one does: what a client does not acknowledge is delivered again. It lives in
memory and sends no delivery receipts.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Final, Self

from sms_bridge.smpp.link import Link, SessionClosed, SmppError, Unanswered
from sms_bridge.smpp.pdu import (
    Bind,
    BindReceiver,
    BindTransmitter,
    CommandStatus,
    DeliverSm,
    Request,
    Response,
    SubmitSm,
    SubmitSmResp,
    response_to,
)
from sms_bridge.smpp.text import (
    Reassembler,
    Segment,
    UnreadableText,
    encode_segments,
    inbound_segment,
    outbound_message,
)

LOOPBACK: Final = "127.0.0.1"
MAX_UNREAD: Final = 100
"""Texts that a phone keeps until they are read."""


class DeliveryRefused(SmppError):
    """The client refused a message for good."""

    def __init__(self, status: CommandStatus) -> None:
        super().__init__(f"the client refused the message: {status.name}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A text that reached a phone, and the number of messages that carried it."""

    text: str = field(repr=False)
    segments: int


class Phone:
    """A handset, made by `Smsc.phone`: sends texts, and joins the parts of those that come."""

    def __init__(self, smsc: Smsc, number: str) -> None:
        self._smsc = smsc
        self._number = number
        self._references = count(1)
        self._reassembler = Reassembler()
        self._unread: asyncio.Queue[Reply] = asyncio.Queue(MAX_UNREAD)

    async def text(self, destination: str, text: str) -> None:
        """Send a text; returns when a client has acknowledged all its parts, else as `Smsc.forward`."""
        for segment in encode_segments(text, next(self._references)):
            await self._smsc.forward(self._number, destination, segment)

    async def next_reply(self, timeout: float = 10.0) -> Reply:
        """The next text that came; `TimeoutError` after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            return await self._unread.get()

    def forget_unread(self) -> None:
        """Throw away the texts that came and were not read."""
        while not self._unread.empty():
            self._unread.get_nowait()

    def receive(self, message: SubmitSm) -> CommandStatus:
        """Take one message from the network."""
        if self._unread.full():
            return CommandStatus.ESME_RMSGQFUL
        try:
            segment = inbound_segment(message)
            text = self._reassembler.add(segment)
        except UnreadableText:
            return CommandStatus.ESME_RSUBMITFAIL
        if text is not None:
            self._unread.put_nowait(Reply(text, segment.total))
        return CommandStatus.ESME_ROK


class Smsc:
    """The message centre. Texts to a number that has no `Phone` are accepted and lost."""

    def __init__(self, system_id: str, password: str, retry_delay: float, validity: float) -> None:
        self._credentials = f"{system_id}\0{password}".encode()
        self._retry_delay = retry_delay
        self._validity = validity
        self._phones: dict[str, Phone] = {}
        self._message_ids = count(1)
        self._turns = count()
        self._receivers: list[Link] = []
        self._has_receiver = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        system_id: str,
        password: str,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        retry_delay: float = 1.0,
        validity: float = 60.0,
    ) -> AsyncGenerator[Self, None]:
        """Listen for clients on `port` (0: any free one, then in `.port`) until left.

        What was not acknowledged is delivered again after `retry_delay` seconds, up to `validity` seconds.
        """
        smsc = cls(system_id, password, retry_delay, validity)
        async with _listen(smsc._serve, host, port, tls) as (smsc.port, smsc._connections):
            yield smsc

    def phone(self, number: str) -> Phone:
        """The phone with this number, the same at each call."""
        return self._phones.setdefault(number, Phone(self, number))

    async def deliver(self, source: str, destination: str, text: str) -> None:
        """Deliver a text as the phone `source` would; see `Phone.text`."""
        await self.phone(source).text(destination, text)

    async def forward(self, source: str, destination: str, segment: Segment) -> None:
        """Deliver one message to a bound client, again and again until it is acknowledged.

        Raises:
            DeliveryRefused: the client answered that it will never take it.
            TimeoutError: no client took it within its validity.
        """
        message = outbound_message(DeliverSm, source, destination, segment)
        async with asyncio.timeout(self._validity):
            while True:
                await self._has_receiver.wait()
                receiver = self._receivers[next(self._turns) % len(self._receivers)]
                try:
                    status = (await receiver.request(message)).command_status
                except (SessionClosed, Unanswered):
                    status = CommandStatus.ESME_RX_T_APPN
                if status == CommandStatus.ESME_ROK:
                    return
                if not status.is_temporary:
                    raise DeliveryRefused(status)
                await asyncio.sleep(self._retry_delay)

    async def cut(self) -> None:
        """Cut the line to every client, as an outage does: without a word."""
        connections = set(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bound: Bind | None = None

        async def handle(request: Request) -> Response:
            nonlocal bound
            if isinstance(request, Bind):
                status = CommandStatus.ESME_RALYBND if bound else self._check(request)
                if status == CommandStatus.ESME_ROK:
                    bound = request
                    self._bind(link, request)
                return response_to(request, status)
            if isinstance(request, SubmitSm) and bound and not isinstance(bound, BindReceiver):
                return self._submit(request)
            return response_to(request, CommandStatus.ESME_RINVBNDSTS)

        async with Link(
            reader,
            writer,
            handle,
            temporary_error=CommandStatus.ESME_RTHROTTLED,
            enquire_link_interval=30.0,
            response_timeout=10.0,
        ) as link:
            try:
                await link.ended()
            finally:
                self._unbind(link)

    def _check(self, bind: Bind) -> CommandStatus:
        credentials = f"{bind.system_id}\0{bind.password}".encode()
        is_right = hmac.compare_digest(credentials, self._credentials)
        return CommandStatus.ESME_ROK if is_right else CommandStatus.ESME_RBINDFAIL

    def _bind(self, link: Link, bind: Bind) -> None:
        if not isinstance(bind, BindTransmitter):
            self._receivers.append(link)
            self._has_receiver.set()

    def _unbind(self, link: Link) -> None:
        self._receivers = [receiver for receiver in self._receivers if receiver is not link]
        if not self._receivers:
            self._has_receiver.clear()

    def _submit(self, message: SubmitSm) -> Response:
        phone = self._phones.get(message.destination)
        status = phone.receive(message) if phone else CommandStatus.ESME_ROK
        if status != CommandStatus.ESME_ROK:
            return response_to(message, status)
        return SubmitSmResp(sequence_number=message.sequence_number, message_id=f"{next(self._message_ids):08x}")


@asynccontextmanager
async def serve_control(smsc: Smsc, port: int = 0) -> AsyncGenerator[int, None]:
    """Let another process of this machine text as a phone (`text_once`); gives the port.

    One line of JSON asks: source, destination, text, and the seconds to wait `within`; one line answers: text
    and segments, or the error.
    """

    async def reply_to(source: str, destination: str, text: str, within: float) -> dict[str, Any]:
        phone = smsc.phone(source)
        phone.forget_unread()
        try:
            async with asyncio.timeout(within):
                await phone.text(destination, text)
                return asdict(await phone.next_reply(within))
        except TimeoutError:
            return {"error": "timeout"}
        except DeliveryRefused as refused:
            return {"error": "refused", "status": refused.status}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            result = await reply_to(**json.loads(await reader.readline()))
        except (ValueError, TypeError) as error:
            result = {"error": type(error).__name__}
        try:
            await _write_line(writer, result)
        finally:
            await _close(writer)

    async with _listen(serve, LOOPBACK, port) as (bound_port, _):
        yield bound_port


async def text_once(
    host: str,
    port: int,
    source: str,
    destination: str,
    text: str,
    timeout: float,
) -> Reply:
    """Send one text as a phone of the simulator behind this control port, and return the first reply.

    Raises:
        TimeoutError: no reply within `timeout` seconds.
        DeliveryRefused: the client refused the text.
        OSError: no simulator is there, or it left.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        order = {"source": source, "destination": destination, "text": text, "within": timeout}
        await _write_line(writer, order)
        line = await reader.readline()
    finally:
        await _close(writer)
    match json.loads(line or "{}"):
        case {"text": str(reply), "segments": int(segments)}:
            return Reply(reply, segments)
        case {"error": "timeout"}:
            raise TimeoutError("no reply")
        case {"error": "refused", "status": int(status)}:
            raise DeliveryRefused(CommandStatus(status))
        case _:
            raise ConnectionError("the simulator did not understand, or left")


async def _write_line(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def _listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[int, set[asyncio.Task[None]]], None]:
    """Serve connections until left; gives the port and the tasks of the open connections."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(serve(reader, writer))
        connections.add(connection)
        connection.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
