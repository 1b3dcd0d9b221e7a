"""One SMPP connection, the same at either end: framing, numbering, answers, keep-alive, an end with a reason.

`Session` (the ESME) and the simulator (the SMSC) stand on it. Source: SMPP 3.4 §3.2, §4.2, §4.3 and §4.11.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final, Self

from sms_bridge.smpp.pdu import (
    CommandStatus,
    EnquireLink,
    GenericNack,
    Pdu,
    PduError,
    Request,
    Response,
    Unbind,
    answers,
    decode,
    encode,
    frame_length,
    response_to,
)

MAX_HANDLED: Final = 256
"""Requests of the peer handled at once; further ones are refused for now, and the peer tries again."""

_MAX_SEQUENCE_NUMBER: Final = 0x7FFF_FFFF
_log = logging.getLogger(__name__)


class EndReason(StrEnum):
    """Why a connection ended."""

    LEFT = "we left"
    PEER_UNBOUND = "the peer unbound"
    PEER_CLOSED = "the peer closed the line"
    LINE_LOST = "the line was lost"
    SILENT = "the peer fell silent"
    MALFORMED = "the peer sent an impossible command_length"


class SmppError(Exception):
    """What an SMPP session can fail with; never carries numbers or texts."""


class SessionClosed(SmppError):
    """The session has ended; the request was not sent."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(f"the SMPP session has ended: {reason}")
        self.reason = reason


class Unanswered(SmppError):
    """The request was sent and no response came: whether it took effect is not known."""


class Link:
    """A connection in use, as an async context manager that closes it.

    Args:
        reader, writer: the open connection.
        handle: answers a request of the peer; called at most `MAX_HANDLED` times at once, each for at most
            `response_timeout`. Where it raises or is late, the answer is `temporary_error`.
        temporary_error: the status that makes the peer try again later.
        enquire_link_interval: seconds of silence after which the peer is asked whether it lives.
        response_timeout: seconds to wait for a response.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handle: Callable[[Request], Awaitable[Response]],
        *,
        temporary_error: CommandStatus,
        enquire_link_interval: float,
        response_timeout: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._temporary_error = temporary_error
        self._enquire_link_interval = enquire_link_interval
        self._response_timeout = response_timeout
        self._sequence_number = 0
        self._waiting: dict[int, tuple[Request, asyncio.Future[Response | None]]] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._is_leaving = False
        self._heard_at = 0.0
        self._left: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self.reason: EndReason | None = None
        self.ignored_responses = 0
        """Responses that were unreadable or answered nothing that waited, for instance late ones."""

    async def __aenter__(self) -> Self:
        self._heard_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._left.done():
            self._left.set_result(EndReason.LEFT)
        await asyncio.wait({self._task})
        self._task.result()

    async def ended(self) -> EndReason:
        """Wait until the connection has ended, and say why."""
        await self._ended.wait()
        assert self.reason is not None
        return self.reason

    async def request(self, request: Request) -> Response:
        """Number a request, send it, and wait for its response, which may be a `GenericNack`.

        Raises:
            SessionClosed: the link had ended before; nothing was sent.
            Unanswered: no response within `response_timeout`, or before the link ended.
            PduError: the request cannot be encoded; nothing was sent.
        """
        if self.reason is not None:
            raise SessionClosed(self.reason)
        self._sequence_number = self._sequence_number % _MAX_SEQUENCE_NUMBER + 1
        numbered = replace(request, sequence_number=self._sequence_number)
        frame = encode(numbered)
        response = asyncio.get_running_loop().create_future()
        self._waiting[numbered.sequence_number] = (numbered, response)
        try:
            async with asyncio.timeout(self._response_timeout):
                await self._write(frame)
                received = await response
        except OSError:  # TimeoutError is one
            received = None
        finally:
            del self._waiting[numbered.sequence_number]
        if received is None:
            raise Unanswered("no response")
        return received

    async def unbind(self) -> None:
        """Take no more requests, finish those under way, say goodbye: two response timeouts at most."""
        self._is_leaving = True
        if self._handling:
            await asyncio.wait(self._handling, timeout=self._response_timeout)
        with suppress(SessionClosed, Unanswered):
            await self.request(Unbind())

    async def _run(self) -> None:
        reading = asyncio.create_task(self._read())
        asking = asyncio.create_task(self._keep_alive())
        ends = (reading, asking, self._left)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self.reason = next(end for end in ends if end.done()).result()
        finally:
            self.reason = self.reason or EndReason.LEFT
            tasks = (reading, asking, *self._handling)
            for task in tasks:
                task.cancel()
            for _, response in self._waiting.values():
                if not response.done():
                    response.set_result(None)
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
            self._ended.set()

    async def _read(self) -> EndReason:
        try:
            while True:
                start = await self._reader.readexactly(4)
                frame = start + await self._reader.readexactly(frame_length(start) - len(start))
                self._heard_at = asyncio.get_running_loop().time()
                try:
                    pdu = decode(frame)
                except PduError as error:
                    await self._refuse(error)
                    continue
                if isinstance(pdu, Response):
                    self._settle(pdu)
                elif isinstance(pdu, EnquireLink):
                    await self._send(response_to(pdu, CommandStatus.ESME_ROK))
                elif isinstance(pdu, Unbind):
                    await self._send(response_to(pdu, CommandStatus.ESME_ROK))
                    return EndReason.PEER_UNBOUND
                else:
                    assert isinstance(pdu, Request)
                    await self._start(pdu)
        except asyncio.IncompleteReadError:
            return EndReason.PEER_CLOSED
        except OSError:
            return EndReason.LINE_LOST
        except PduError as error:
            with suppress(OSError):
                await self._send(GenericNack(command_status=error.command_status))
            return EndReason.MALFORMED

    async def _keep_alive(self) -> EndReason:
        loop = asyncio.get_running_loop()
        while True:
            asked_at = loop.time()
            silence = asked_at - self._heard_at
            if silence < self._enquire_link_interval:
                await asyncio.sleep(self._enquire_link_interval - silence)
                continue
            with suppress(Unanswered):
                await self.request(EnquireLink())
            if self._heard_at < asked_at:
                return EndReason.SILENT

    def _settle(self, response: Response) -> None:
        request, future = self._waiting.get(response.sequence_number, (None, None))
        if request and future and answers(response, request) and not future.done():
            future.set_result(response)
        else:
            self.ignored_responses += 1

    async def _refuse(self, error: PduError) -> None:
        _log.warning("%s", error)
        if error.in_response:
            self.ignored_responses += 1
        else:
            await self._send(response_to(error, error.command_status))

    async def _start(self, request: Request) -> None:
        if self._is_leaving or len(self._handling) >= MAX_HANDLED:
            await self._send(response_to(request, self._temporary_error))
            return
        task = asyncio.create_task(self._answer(request))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        # A buffer full of requests is read without ever suspending; let the handlers run in between.
        await asyncio.sleep(0)

    async def _answer(self, request: Request) -> None:
        try:
            async with asyncio.timeout(self._response_timeout):
                response = await self._handle(request)
        except Exception as error:
            # The text of the error may hold personal data, its type cannot.
            _log.error("a request of the peer was not handled: %s", type(error).__name__)
            response = response_to(request, self._temporary_error)
        with suppress(OSError):
            await self._send(response)

    async def _send(self, pdu: Pdu) -> None:
        await self._write(encode(pdu))

    async def _write(self, frame: bytes) -> None:
        self._writer.write(frame)
        await self._writer.drain()

    async def _close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(self._response_timeout):
                await self._writer.wait_closed()
        except OSError:
            self._writer.transport.abort()
