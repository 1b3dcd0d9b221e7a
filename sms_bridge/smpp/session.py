"""A session with an operator's SMSC: bound as a transceiver, receiving and sending short messages."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Never, Self

from sms_bridge.smpp.link import EndReason, Link, SessionClosed, SmppError, Unanswered
from sms_bridge.smpp.pdu import (
    BindTransceiver,
    CommandStatus,
    DeliverSm,
    PduError,
    Request,
    Response,
    SubmitSm,
    SubmitSmResp,
    encode,
    response_to,
)
from sms_bridge.smpp.text import Segment, outbound_message

__all__ = [
    "BindRefused",
    "EndReason",
    "OnDeliver",
    "Session",
    "SessionClosed",
    "SmppError",
    "SmscConfig",
    "SubmitRefused",
    "SubmitUnknown",
    "maintain",
]

_log = logging.getLogger(__name__)

OnDeliver = Callable[[DeliverSm], Awaitable[CommandStatus]]
"""Takes a delivered message into safety, and then says how to answer it."""


class BindRefused(SmppError):
    """The SMSC did not let us in."""

    def __init__(self, status: CommandStatus) -> None:
        super().__init__(f"the SMSC refused the bind: {status.name}")
        self.status = status


class SubmitRefused(SmppError):
    """The SMSC did not take the message."""

    def __init__(self, status: CommandStatus) -> None:
        super().__init__(f"the SMSC refused the message: {status.name}")
        self.status = status


class SubmitUnknown(SmppError):
    """The message was sent and not answered: the SMSC may have taken it or not."""


@dataclass(frozen=True, slots=True)
class SmscConfig:
    """Where the SMSC is, and as whom we bind.

    `system_id` takes 15 characters, `password` 8 and `system_type` 12 (SMPP 3.4 §5.2.1-3), else `ValueError`.
    Times are in seconds; `response_timeout` also bounds connecting, and the handling of a delivered message.
    `window` is the number of submit_sm that may wait for their answers at once.
    """

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    tls: ssl.SSLContext | None = None
    enquire_link_interval: float = 30.0
    response_timeout: float = 10.0
    window: int = 10

    def __post_init__(self) -> None:
        try:
            encode(self.bind())
        except PduError as error:
            raise ValueError(f"SMPP cannot carry these credentials: {error.command_status.name}") from None

    def bind(self) -> BindTransceiver:
        """The request that opens the session."""
        return BindTransceiver(system_id=self.system_id, password=self.password, system_type=self.system_type)


class Session:
    """A bound session. Messages are delivered to `on_deliver` for as long as it is open.

    A delivered message is acknowledged with what `on_deliver` returns, and only then. Where it raises, takes
    longer than `response_timeout`, or too many are under way, the SMSC is told to retry (ESME_RX_T_APPN).
    Calls overlap, and no call holds up another, a submit, or an enquire_link of the SMSC.
    """

    def __init__(self, link: Link, window: int) -> None:
        self._link = link
        self._window = asyncio.Semaphore(window)

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: SmscConfig, on_deliver: OnDeliver) -> AsyncGenerator[Self, None]:
        """Connect and bind; on leaving, let the deliveries under way end, unbind and close.

        Raises:
            OSError: no connection (also `TimeoutError`, `ssl.SSLError`).
            BindRefused: the SMSC said no.
            SessionClosed: the SMSC closed the line, or did not answer the bind.
        """

        async def handle(request: Request) -> Response:
            if not isinstance(request, DeliverSm):
                return response_to(request, CommandStatus.ESME_RINVBNDSTS)
            return response_to(request, await on_deliver(request))

        async with asyncio.timeout(config.response_timeout):
            reader, writer = await asyncio.open_connection(config.host, config.port, ssl=config.tls)
        async with Link(
            reader,
            writer,
            handle,
            temporary_error=CommandStatus.ESME_RX_T_APPN,
            enquire_link_interval=config.enquire_link_interval,
            response_timeout=config.response_timeout,
        ) as link:
            try:
                response = await link.request(config.bind())
            except Unanswered:
                raise SessionClosed(link.reason or EndReason.SILENT) from None
            if response.command_status != CommandStatus.ESME_ROK:
                raise BindRefused(response.command_status)
            try:
                yield cls(link, config.window)
            finally:
                await link.unbind()

    async def submit(self, *, source: str, destination: str, segment: Segment, registered_delivery: int = 0) -> str:
        """Hand one message to the SMSC and return the id it gave; waits while the window is full.

        Numbers are as people write them: "+92…" is international, "7000" a shortcode.

        Raises:
            SubmitRefused: the SMSC did not take it; `status.is_temporary` says whether to try again.
            SubmitUnknown: it was sent, and no answer came; trying again may send it twice.
            SessionClosed: it was not sent.
            PduError: a number or the segment does not fit into the protocol; it was not sent.
        """
        message = outbound_message(SubmitSm, source, destination, segment, registered_delivery)
        async with self._window:
            try:
                response = await self._link.request(message)
            except Unanswered:
                raise SubmitUnknown("no answer to submit_sm") from None
        if response.command_status != CommandStatus.ESME_ROK:
            raise SubmitRefused(response.command_status)
        return response.message_id if isinstance(response, SubmitSmResp) else ""

    async def closed(self) -> EndReason:
        """Wait until the session has ended, by whichever side, and say why."""
        return await self._link.ended()

    @property
    def ignored_responses(self) -> int:
        """Responses of the SMSC that were late, unreadable, or answered nothing."""
        return self._link.ignored_responses


async def maintain(
    config: SmscConfig,
    on_deliver: OnDeliver,
    on_bound: Callable[[Session], Awaitable[None]],
    *,
    first_delay: float = 1.0,
    longest_delay: float = 60.0,
) -> Never:
    """Keep a session open for ever; cancel it to unbind and stop.

    `on_bound` is called with each new session and cancelled when that session ends; it may return before, and
    may let `SessionClosed` escape. Any other error of it ends everything, as an `ExceptionGroup`.

    Between two attempts it waits `first_delay` seconds, doubled each time up to `longest_delay`, less up to
    half of it at random, so that many bridges do not return at once; a session that held for `longest_delay`
    starts it anew.
    """
    loop = asyncio.get_running_loop()
    delay = first_delay
    while True:
        started_at = loop.time()
        try:
            async with Session.connect(config, on_deliver) as session:
                _log.info("bound to the SMSC at %s:%d", config.host, config.port)
                reason = await _serve(session, on_bound)
            _log.warning("the session with the SMSC ended: %s", reason)
        except (OSError, BindRefused, SessionClosed) as error:
            _log.warning("no session with the SMSC: %s", error)
        if loop.time() - started_at > longest_delay:
            delay = first_delay
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(2 * delay, longest_delay)


async def _serve(session: Session, on_bound: Callable[[Session], Awaitable[None]]) -> EndReason:
    async def work() -> None:
        with suppress(SessionClosed):
            await on_bound(session)

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work())
        reason = await session.closed()
        working.cancel()
    return reason
