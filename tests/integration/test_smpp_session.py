"""The SMPP session over real sockets: against the simulator, and against peers that misbehave."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
import trustme

from sms_bridge.simulator import (
    LOOPBACK,
    MAX_UNREAD,
    DeliveryRefused,
    Reply,
    Smsc,
    serve_control,
    text_once,
)
from sms_bridge.smpp.link import MAX_HANDLED
from sms_bridge.smpp.pdu import (
    BindTransceiver,
    CommandStatus,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Pdu,
    PduError,
    Request,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    decode,
    encode,
    frame_length,
    response_to,
)
from sms_bridge.smpp.session import (
    BindRefused,
    EndReason,
    OnDeliver,
    Session,
    SessionClosed,
    SmscConfig,
    SubmitRefused,
    SubmitUnknown,
    maintain,
)
from sms_bridge.smpp.text import GSM, Reassembler, Segment, encode_segments, inbound_segment

PATIENCE = 20.0
"""Seconds after which a test that would hang fails; nothing that passes comes near it."""

HANDSET, OTHER_HANDSET, SHORTCODE = "+923000000001", "+923000000002", "7000"
CNIC = "۶۱۱۰۱-۰۰۰۰۰۰۰-۱"
REPLY = "خبردار! 61101-0000000-1 سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔"
HELLO = Segment(GSM, 0, b"hello")
OK = CommandStatus.ESME_ROK


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncGenerator[None, None]:
    """What a test began has ended with it."""
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def accept(_: DeliverSm) -> CommandStatus:
    return OK


class Peer:
    """The far end of a session, played by the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> Pdu:
        async with asyncio.timeout(PATIENCE):
            start = await self._reader.readexactly(4)
            return decode(start + await self._reader.readexactly(frame_length(start) - 4))

    async def read_request(self) -> Request:
        request = await self.read()
        assert isinstance(request, Request)
        return request

    async def send(self, *pdus: Pdu | bytes) -> None:
        self._writer.writelines(encode(pdu) if isinstance(pdu, Pdu) else pdu for pdu in pdus)
        await self._writer.drain()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@asynccontextmanager
async def listening(
    **settings: Any,
) -> AsyncGenerator[tuple[SmscConfig, Callable[[], Awaitable[Peer]]], None]:
    """A port, the configuration that leads there, and a function that waits for the next peer."""
    arrived: asyncio.Queue[Peer] = asyncio.Queue()
    peers: list[Peer] = []

    def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(Peer(reader, writer))
        arrived.put_nowait(peers[-1])

    server = await asyncio.start_server(arrive, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield SmscConfig(LOOPBACK, port, "sms-7000", "secret", **settings), arrived.get
    finally:
        server.close()
        for peer in peers:
            await peer.close()
        await server.wait_closed()


@asynccontextmanager
async def bound(on_deliver: OnDeliver = accept, **settings: Any) -> AsyncGenerator[tuple[Session, Peer], None]:
    """A session, and the peer that let it bind; the peer leaves first, unless the test made it answer."""
    async with listening(**settings) as (config, next_peer):

        async def let_in() -> Peer:
            peer = await next_peer()
            await peer.send(response_to(await peer.read_request(), OK))
            return peer

        letting_in = asyncio.create_task(let_in())
        async with Session.connect(config, on_deliver) as session:
            peer = await letting_in
            try:
                yield session, peer
            finally:
                await peer.close()


async def ended(session: Session) -> EndReason:
    async with asyncio.timeout(PATIENCE):
        return await session.closed()


def submit(session: Session, segment: Segment = HELLO) -> asyncio.Task[str]:
    return asyncio.create_task(session.submit(source=SHORTCODE, destination=HANDSET, segment=segment))


def deliver(number: int, text: bytes = b"61101-0000000-1") -> DeliverSm:
    return DeliverSm(
        sequence_number=number,
        source_addr_ton=1,
        source_addr="923000000001",
        destination_addr=SHORTCODE,
        short_message=text,
    )


def acknowledged(number: int, status: CommandStatus = OK) -> DeliverSmResp:
    return DeliverSmResp(sequence_number=number, command_status=status)


def framed(command_id: int, sequence_number: int, body: bytes = b"") -> bytes:
    header = (16 + len(body), command_id, 0, sequence_number)
    return b"".join(number.to_bytes(4, "big") for number in header) + body


# Binding


async def test_binds_with_its_credentials() -> None:
    async with listening(system_type="VMS") as (config, next_peer):
        connecting = asyncio.create_task(connect_and_leave(config))
        peer = await next_peer()
        request = await peer.read_request()
        assert request == BindTransceiver(sequence_number=1, system_id="sms-7000", password="secret", system_type="VMS")
        await peer.send(response_to(request, OK))
        assert await peer.read() == Unbind(sequence_number=2)
        await peer.send(UnbindResp(sequence_number=2))
        assert await peer.is_closed()
        await connecting


async def connect_and_leave(config: SmscConfig) -> None:
    async with Session.connect(config, accept):
        pass


async def test_a_wrong_password_is_a_typed_error() -> None:
    async with Smsc.serve("sms-7000", "secret") as smsc:
        config = SmscConfig(LOOPBACK, smsc.port, "sms-7000", "wrong")
        with pytest.raises(BindRefused) as refused:
            await connect_and_leave(config)
        assert refused.value.status == CommandStatus.ESME_RBINDFAIL


@pytest.mark.parametrize("status", [CommandStatus.ESME_RALYBND, CommandStatus(0x0407)])
async def test_a_bind_answered_by_generic_nack_is_refused(status: CommandStatus) -> None:
    async with listening() as (config, next_peer):
        connecting = asyncio.create_task(connect_and_leave(config))
        peer = await next_peer()
        request = await peer.read()
        await peer.send(GenericNack(sequence_number=request.sequence_number, command_status=status))
        with pytest.raises(BindRefused) as refused:
            await connecting
        assert refused.value.status == status


async def test_a_peer_that_hangs_up_during_the_bind_is_a_typed_error() -> None:
    async with listening() as (config, next_peer):
        connecting = asyncio.create_task(connect_and_leave(config))
        peer = await next_peer()
        await peer.read()
        await peer.close()
        with pytest.raises(SessionClosed) as closed:
            await connecting
        assert closed.value.reason == EndReason.PEER_CLOSED


async def test_a_bind_that_is_never_answered_is_a_typed_error() -> None:
    async with listening(response_timeout=0.5) as (config, _):
        with pytest.raises(SessionClosed) as closed:
            await connect_and_leave(config)
        assert closed.value.reason == EndReason.SILENT


async def test_nobody_there_is_an_os_error() -> None:
    async with listening() as (config, _):
        pass
    with pytest.raises(OSError, match="Connect call failed"):
        await connect_and_leave(config)


@pytest.mark.parametrize(
    "credentials", [("a" * 16, "secret"), ("sms-7000", "p" * 9), ("sms-7000", "پاس"), ("a\0b", "secret")]
)
def test_credentials_that_smpp_cannot_carry_are_refused_without_being_shown(
    credentials: tuple[str, str],
) -> None:
    with pytest.raises(ValueError, match="ESME_RINV") as raised:
        SmscConfig(LOOPBACK, 2775, *credentials)
    assert credentials[1] not in str(raised.value)


def test_a_configuration_does_not_show_its_password() -> None:
    assert "hidden" not in repr(SmscConfig(LOOPBACK, 2775, "sms-7000", "hidden"))


# Messages to us


async def test_a_message_is_acknowledged_only_after_it_was_taken() -> None:
    taken = asyncio.Event()

    async def on_deliver(message: DeliverSm) -> CommandStatus:
        assert (message.source, message.destination, message.payload) == (HANDSET, SHORTCODE, b"hello")
        await taken.wait()
        return OK

    async with bound(on_deliver) as (_, peer):
        await peer.send(deliver(7, b"hello"), EnquireLink(sequence_number=8))
        assert await peer.read() == EnquireLinkResp(sequence_number=8)
        taken.set()
        assert await peer.read() == acknowledged(7)


@pytest.mark.parametrize("status", [CommandStatus.ESME_RMSGQFUL, CommandStatus.ESME_RX_R_APPN])
async def test_a_message_is_answered_with_the_status_that_the_bridge_gave(status: CommandStatus) -> None:
    async def on_deliver(_: DeliverSm) -> CommandStatus:
        return status

    async with bound(on_deliver) as (_, peer):
        await peer.send(deliver(7))
        assert await peer.read() == acknowledged(7, status)


async def test_a_message_that_could_not_be_taken_is_to_be_sent_again() -> None:
    async def on_deliver(_: DeliverSm) -> CommandStatus:
        raise OSError("disk full")

    async with bound(on_deliver) as (_, peer):
        await peer.send(deliver(7))
        assert await peer.read() == acknowledged(7, CommandStatus.ESME_RX_T_APPN)


async def test_a_message_that_is_not_taken_in_time_is_to_be_sent_again() -> None:
    async def on_deliver(_: DeliverSm) -> CommandStatus:
        await asyncio.Event().wait()
        return OK

    async with bound(on_deliver, response_timeout=0.5) as (_, peer):
        await peer.send(deliver(7))
        assert await peer.read() == acknowledged(7, CommandStatus.ESME_RX_T_APPN)


async def test_a_flood_of_messages_is_bounded_and_does_not_hold_up_enquire_link() -> None:
    may_go, flood = asyncio.Event(), 3 * MAX_HANDLED
    under_way = most_under_way = 0

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        nonlocal under_way, most_under_way
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        await may_go.wait()
        under_way -= 1
        return OK

    async with bound(on_deliver) as (_, peer):
        await peer.send(*(deliver(number) for number in range(1, flood + 1)), EnquireLink(sequence_number=9999))
        for number in range(MAX_HANDLED + 1, flood + 1):
            assert await peer.read() == acknowledged(number, CommandStatus.ESME_RX_T_APPN)
        assert await peer.read() == EnquireLinkResp(sequence_number=9999)
        may_go.set()
        answers = [await peer.read() for _ in range(MAX_HANDLED)]
        assert {answer.sequence_number for answer in answers} == set(range(1, MAX_HANDLED + 1))
        assert answers == [acknowledged(answer.sequence_number) for answer in answers]
    assert most_under_way == MAX_HANDLED


async def test_a_flood_of_messages_that_are_taken_at_once_is_taken_whole() -> None:
    async with bound() as (_, peer):
        await peer.send(*map(deliver, range(1, 2001)))
        assert [await peer.read() for _ in range(2000)] == [acknowledged(n) for n in range(1, 2001)]


async def test_what_cannot_be_read_is_refused_and_the_session_goes_on() -> None:
    async with bound() as (session, peer):
        too_long_address = framed(0x05, 5, b"\0\1\1" + b"9" * 40)
        await peer.send(too_long_address, framed(0x0103, 6), framed(0x8000_0103, 7))
        await peer.send(SubmitSm(sequence_number=8), deliver(9))
        assert await peer.read() == acknowledged(5, CommandStatus.ESME_RINVSRCADR)
        assert await peer.read() == GenericNack(sequence_number=6, command_status=CommandStatus.ESME_RINVCMDID)
        assert await peer.read() == SubmitSmResp(sequence_number=8, command_status=CommandStatus.ESME_RINVBNDSTS)
        assert await peer.read() == acknowledged(9)
        assert session.ignored_responses == 1


# Messages from us


async def test_a_submit_returns_the_id_that_the_smsc_gave() -> None:
    async with bound() as (session, peer):
        submitting = asyncio.create_task(
            session.submit(
                source=SHORTCODE,
                destination=HANDSET,
                segment=encode_segments(REPLY, reference=7)[1],
                registered_delivery=1,
            )
        )
        request = await peer.read()
        assert isinstance(request, SubmitSm)
        assert (request.source, request.destination) == (SHORTCODE, HANDSET)
        assert (request.source_addr_ton, request.dest_addr_ton, request.dest_addr_npi) == (0, 1, 1)
        assert (request.data_coding, request.esm_class, request.registered_delivery) == (8, 0x40, 1)
        assert request.short_message.startswith(bytes.fromhex("05 00 03 07 02 02"))
        await peer.send(SubmitSmResp(sequence_number=request.sequence_number, message_id="00ff"))
        assert await submitting == "00ff"


@pytest.mark.parametrize("status", [CommandStatus.ESME_RTHROTTLED, CommandStatus(0x0407)])
@pytest.mark.parametrize("kind", [SubmitSmResp, GenericNack])
async def test_a_refused_submit_is_a_typed_error(
    status: CommandStatus, kind: type[SubmitSmResp] | type[GenericNack]
) -> None:
    async with bound() as (session, peer):
        submitting = submit(session)
        sequence_number = (await peer.read()).sequence_number
        await peer.send(kind(sequence_number=sequence_number, command_status=status))
        with pytest.raises(SubmitRefused) as refused:
            await submitting
        assert refused.value.status == status
        assert refused.value.status.is_temporary is (status == CommandStatus.ESME_RTHROTTLED)


async def test_responses_find_their_requests_by_number_in_whatever_order() -> None:
    async with bound() as (session, peer):
        submitting = [submit(session) for _ in range(3)]
        numbers = [(await peer.read()).sequence_number for _ in submitting]
        await peer.send(*(SubmitSmResp(sequence_number=n, message_id=str(n)) for n in reversed(numbers)))
        assert await asyncio.gather(*submitting) == [str(number) for number in numbers]


async def test_responses_that_answer_nothing_are_ignored_and_counted() -> None:
    async with bound() as (session, peer):
        submitting = submit(session)
        number = (await peer.read()).sequence_number
        await peer.send(
            SubmitSmResp(sequence_number=number + 1, message_id="of another number"),
            EnquireLinkResp(sequence_number=number),
            GenericNack(sequence_number=0, command_status=CommandStatus.ESME_RINVCMDLEN),
            framed(0x8000_0004, number, b"no closing zero"),
            SubmitSmResp(sequence_number=number, message_id="right"),
            SubmitSmResp(sequence_number=number, message_id="again"),
            EnquireLink(sequence_number=1),
        )
        assert await submitting == "right"
        assert await peer.read() == EnquireLinkResp(sequence_number=1)
        assert session.ignored_responses == 5


async def test_a_submit_without_an_answer_is_unknown_and_frees_its_place() -> None:
    async with bound(window=1, response_timeout=0.5) as (session, peer):
        with pytest.raises(SubmitUnknown):
            await submit(session)
        late = (await peer.read()).sequence_number
        submitting = submit(session)
        number = (await peer.read()).sequence_number
        await peer.send(
            SubmitSmResp(sequence_number=late, message_id="late"),
            SubmitSmResp(sequence_number=number, message_id="in time"),
        )
        assert await submitting == "in time"
        assert session.ignored_responses == 1


async def test_a_line_lost_before_the_answer_leaves_the_submit_unknown_and_the_next_unsent() -> None:
    async with bound(window=1, response_timeout=3600) as (session, peer), asyncio.timeout(PATIENCE):
        submitting, waiting = submit(session), submit(session)
        await peer.read()
        await peer.close()
        with pytest.raises(SubmitUnknown):
            await submitting
        with pytest.raises(SessionClosed):
            await waiting
        assert await ended(session) == EndReason.PEER_CLOSED
        with pytest.raises(SessionClosed) as closed:
            await submit(session)
        assert closed.value.reason == EndReason.PEER_CLOSED


async def test_no_more_submits_than_the_window_wait_for_their_answers() -> None:
    async with bound(window=3) as (session, peer):
        submitting = [submit(session) for _ in range(5)]
        first = [(await peer.read()).sequence_number for _ in range(3)]
        await peer.send(EnquireLink(sequence_number=1))
        assert await peer.read() == EnquireLinkResp(sequence_number=1)
        await peer.send(SubmitSmResp(sequence_number=first[0], message_id="a"))
        fourth = (await peer.read()).sequence_number
        await peer.send(*(SubmitSmResp(sequence_number=n, message_id="b") for n in (*first[1:], fourth)))
        fifth = (await peer.read()).sequence_number
        await peer.send(SubmitSmResp(sequence_number=fifth, message_id="c"))
        assert await asyncio.gather(*submitting) == ["a", "b", "b", "b", "c"]
        assert not session._link._waiting  # pyright: ignore[reportPrivateUsage]


async def test_a_number_that_does_not_fit_is_not_sent() -> None:
    async with bound() as (session, peer):
        with pytest.raises(PduError, match="ESME_RINVDSTADR"):
            await session.submit(source=SHORTCODE, destination="+" + "9" * 21, segment=HELLO)
        await peer.send(EnquireLink(sequence_number=1))
        assert await peer.read() == EnquireLinkResp(sequence_number=1)


async def test_sequence_numbers_begin_anew_after_the_largest() -> None:
    async with bound() as (session, peer):
        session._link._sequence_number = 0x7FFF_FFFE  # pyright: ignore[reportPrivateUsage]
        for expected in (0x7FFF_FFFF, 1):
            submitting = submit(session)
            assert (await peer.read()).sequence_number == expected
            await peer.send(SubmitSmResp(sequence_number=expected, message_id="id"))
            await submitting


# The end of a session


@pytest.mark.parametrize("length", [0, 15, 65_537, 0xFFFF_FFFF])
async def test_an_impossible_length_is_answered_and_ends_the_session(length: int) -> None:
    async with bound() as (session, peer):
        await peer.send(length.to_bytes(4, "big") + b"GET / HTTP/1.1")
        assert await peer.read() == GenericNack(command_status=CommandStatus.ESME_RINVCMDLEN)
        assert await peer.is_closed()
        assert await ended(session) == EndReason.MALFORMED


async def test_half_a_pdu_and_then_silence_ends_the_session() -> None:
    async with bound(enquire_link_interval=0.05, response_timeout=0.5) as (session, peer):
        await peer.send(encode(deliver(7))[:20])
        assert await ended(session) == EndReason.SILENT
        assert isinstance(await peer.read(), EnquireLink)
        assert await peer.is_closed()


async def test_half_a_pdu_and_then_the_end_ends_the_session() -> None:
    async with bound() as (session, peer):
        await peer.send(encode(deliver(7))[:20])
        await peer.close()
        assert await ended(session) == EndReason.PEER_CLOSED


async def test_a_peer_that_answers_enquire_link_is_kept() -> None:
    async with bound(enquire_link_interval=0.01) as (session, peer):
        for _ in range(5):
            request = await peer.read_request()
            assert isinstance(request, EnquireLink)
            await peer.send(response_to(request, OK))
        submitting = submit(session)
        while not isinstance(request := await peer.read_request(), SubmitSm):
            await peer.send(response_to(request, OK))
        await peer.send(SubmitSmResp(sequence_number=request.sequence_number, message_id="id"))
        assert await submitting == "id"


async def test_a_peer_that_never_reads_does_not_fill_our_memory() -> None:
    async with bound(enquire_link_interval=0.2, response_timeout=0.5) as (session, peer):

        async def flood() -> None:
            asks = b"".join(encode(EnquireLink(sequence_number=number)) for number in range(10_000))
            with suppress(OSError):
                while True:
                    await peer.send(asks)

        # The kernel would hold megabytes for us first, and take seconds to fill.
        writer = session._link._writer  # pyright: ignore[reportPrivateUsage]
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        flooding = asyncio.create_task(flood())
        assert await ended(session) in (EndReason.SILENT, EndReason.LINE_LOST)
        await flooding


async def test_a_peer_that_unbinds_is_answered() -> None:
    async with bound() as (session, peer):
        await peer.send(Unbind(sequence_number=3))
        assert await peer.read() == UnbindResp(sequence_number=3)
        assert await peer.is_closed()
        assert await ended(session) == EndReason.PEER_UNBOUND


async def test_leaving_finishes_what_is_under_way_and_then_unbinds() -> None:
    may_go = asyncio.Event()

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        await may_go.wait()
        return OK

    async with listening() as (config, next_peer):
        leave = asyncio.Event()

        async def use() -> EndReason:
            async with Session.connect(config, on_deliver) as session:
                await leave.wait()
            return await session.closed()

        using = asyncio.create_task(use())
        peer = await next_peer()
        await peer.send(response_to(await peer.read_request(), OK), deliver(7), EnquireLink(sequence_number=8))
        assert await peer.read() == EnquireLinkResp(sequence_number=8)
        leave.set()
        await asyncio.sleep(0)
        await peer.send(deliver(9))
        assert await peer.read() == acknowledged(9, CommandStatus.ESME_RX_T_APPN)
        may_go.set()
        assert await peer.read() == acknowledged(7)
        unbind = await peer.read_request()
        assert isinstance(unbind, Unbind)
        await peer.send(response_to(unbind, OK))
        assert await peer.is_closed()
        assert await using == EndReason.LEFT


async def test_messages_under_way_when_the_line_is_lost_are_cancelled() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return OK

    async with bound(on_deliver) as (session, peer):
        await peer.send(deliver(7))
        await begun.wait()
        await peer.close()
        assert await ended(session) == EndReason.PEER_CLOSED
        assert cancelled.is_set()


# Keeping a session


async def test_a_lost_session_is_bound_again() -> None:
    async with listening() as (config, next_peer):
        sessions: asyncio.Queue[Session] = asyncio.Queue()
        keeping = asyncio.create_task(maintain(config, accept, sessions.put, first_delay=0.001))
        for _ in range(3):
            peer = await next_peer()
            await peer.send(response_to(await peer.read_request(), OK))
            session = await sessions.get()
            await peer.close()
            assert await ended(session) == EndReason.PEER_CLOSED
        await stop(keeping)


async def test_a_refused_or_impossible_bind_is_tried_again() -> None:
    async with listening() as (config, next_peer):
        bound_once = asyncio.Event()

        async def on_bound(_: Session) -> None:
            bound_once.set()

        keeping = asyncio.create_task(maintain(config, accept, on_bound, first_delay=0.001))
        peer = await next_peer()
        await peer.send(response_to(await peer.read_request(), CommandStatus.ESME_RALYBND))
        peer = await next_peer()
        await peer.close()
        peer = await next_peer()
        await peer.send(response_to(await peer.read_request(), OK))
        async with asyncio.timeout(PATIENCE):
            await bound_once.wait()
        await peer.close()
        await stop(keeping)


async def test_work_on_a_session_ends_with_it_and_may_run_into_its_end() -> None:
    async with listening() as (config, next_peer):
        ends: asyncio.Queue[str] = asyncio.Queue()

        async def on_bound(_: Session) -> None:
            if ends.empty():
                ends.put_nowait("first")
                raise SessionClosed(EndReason.PEER_CLOSED)
            try:
                await asyncio.Event().wait()
            finally:
                ends.put_nowait("cancelled")

        keeping = asyncio.create_task(maintain(config, accept, on_bound, first_delay=0.001))
        for _ in range(2):
            peer = await next_peer()
            await peer.send(response_to(await peer.read_request(), OK), EnquireLink(sequence_number=1))
            await peer.read()
            await peer.close()
        async with asyncio.timeout(PATIENCE):
            assert [await ends.get(), await ends.get()] == ["first", "cancelled"]
        await stop(keeping)


async def test_an_error_of_the_work_on_a_session_ends_everything() -> None:
    async def on_bound(_: Session) -> None:
        raise ZeroDivisionError

    async with Smsc.serve("sms-7000", "secret") as smsc:
        config = SmscConfig(LOOPBACK, smsc.port, "sms-7000", "secret")
        with pytest.raises(ExceptionGroup) as raised:
            await maintain(config, accept, on_bound)
        assert raised.group_contains(ZeroDivisionError)


async def stop(keeping: asyncio.Task[Any]) -> None:
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


# The simulator


class Bridge:
    """The least that answers texts: joins the parts, remembers the texts, and replies to each."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._references = count(1)
        self._reassembler = Reassembler()

    async def on_deliver(self, message: DeliverSm) -> CommandStatus:
        text = self._reassembler.add(inbound_segment(message))
        if text is not None:
            self.texts.put_nowait((message.source, text))
        return OK

    async def on_bound(self, session: Session) -> None:
        while True:
            number, _ = await self.texts.get()
            for segment in encode_segments(REPLY, next(self._references)):
                await session.submit(source=SHORTCODE, destination=number, segment=segment)


@asynccontextmanager
async def bridged(bridge: Bridge, smsc: Smsc) -> AsyncGenerator[None, None]:
    config = SmscConfig(LOOPBACK, smsc.port, "sms-7000", "secret")
    keeping = asyncio.create_task(maintain(config, bridge.on_deliver, bridge.on_bound, first_delay=0.001))
    try:
        yield
    finally:
        await stop(keeping)


async def test_a_phone_texts_urdu_digits_and_reads_the_reply() -> None:
    async with Smsc.serve("sms-7000", "secret") as smsc, bridged(Bridge(), smsc):
        phone = smsc.phone(HANDSET)
        await phone.text(SHORTCODE, CNIC)
        assert await phone.next_reply(PATIENCE) == Reply(REPLY, 2)


async def test_a_text_of_many_parts_arrives_whole() -> None:
    bridge = Bridge()
    async with Smsc.serve("sms-7000", "secret") as smsc, connected(bridge.on_deliver, smsc):
        await smsc.deliver(HANDSET, SHORTCODE, REPLY * 9)
        assert bridge.texts.get_nowait() == (HANDSET, REPLY * 9)


async def test_two_handsets_with_the_same_reference_never_mix() -> None:
    bridge = Bridge()
    texts = {HANDSET: "الف " * 50, OTHER_HANDSET: "بے " * 50}
    segments = {number: encode_segments(text, reference=7) for number, text in texts.items()}
    async with Smsc.serve("sms-7000", "secret") as smsc, connected(bridge.on_deliver, smsc):
        for first, second in zip(segments[HANDSET], reversed(segments[OTHER_HANDSET]), strict=False):
            await smsc.forward(HANDSET, SHORTCODE, first)
            await smsc.forward(OTHER_HANDSET, SHORTCODE, second)
        for rest in segments[HANDSET][len(segments[OTHER_HANDSET]) :]:
            await smsc.forward(HANDSET, SHORTCODE, rest)
        assert {bridge.texts.get_nowait() for _ in texts} == set(texts.items())


@asynccontextmanager
async def connected(
    on_deliver: OnDeliver, smsc: Smsc, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Session, None]:
    config = SmscConfig("localhost" if tls else LOOPBACK, smsc.port, "sms-7000", "secret", tls=tls)
    async with Session.connect(config, on_deliver) as session:
        yield session


async def test_what_is_not_acknowledged_is_delivered_again() -> None:
    attempts = 0

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("disk full")
        return OK if attempts == 3 else CommandStatus.ESME_RMSGQFUL

    async with Smsc.serve("sms-7000", "secret", retry_delay=0.001) as smsc, connected(on_deliver, smsc):
        await smsc.deliver(HANDSET, SHORTCODE, CNIC)
    assert attempts == 3


async def test_what_the_line_was_cut_over_is_delivered_again_to_the_next_session() -> None:
    begun, attempts = asyncio.Event(), 0
    bridge = Bridge()

    async def on_deliver(message: DeliverSm) -> CommandStatus:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            begun.set()
            await asyncio.Event().wait()
        return await bridge.on_deliver(message)

    async with Smsc.serve("sms-7000", "secret", retry_delay=0.001) as smsc:
        config = SmscConfig(LOOPBACK, smsc.port, "sms-7000", "secret")
        keeping = asyncio.create_task(maintain(config, on_deliver, bridge.on_bound, first_delay=0.001))
        phone = smsc.phone(HANDSET)
        texting = asyncio.create_task(phone.text(SHORTCODE, CNIC))
        await begun.wait()
        await smsc.cut()
        await texting
        assert await phone.next_reply(PATIENCE) == Reply(REPLY, 2)
        assert attempts == 2
        await stop(keeping)


async def test_what_is_refused_for_good_is_not_delivered_again() -> None:
    async def on_deliver(_: DeliverSm) -> CommandStatus:
        return CommandStatus.ESME_RX_R_APPN

    async with Smsc.serve("sms-7000", "secret") as smsc, connected(on_deliver, smsc):
        with pytest.raises(DeliveryRefused) as refused:
            await smsc.deliver(HANDSET, SHORTCODE, CNIC)
        assert refused.value.status == CommandStatus.ESME_RX_R_APPN


async def test_what_nobody_takes_expires() -> None:
    async with Smsc.serve("sms-7000", "secret", validity=0.01) as smsc:
        with pytest.raises(TimeoutError):
            await smsc.deliver(HANDSET, SHORTCODE, CNIC)


async def test_each_submit_gets_its_own_id_and_a_full_phone_takes_no_more() -> None:
    async with Smsc.serve("sms-7000", "secret") as smsc, connected(accept, smsc) as session:
        phone = smsc.phone(HANDSET)
        ids = {await submit(session) for _ in range(MAX_UNREAD)}
        assert len(ids) == MAX_UNREAD
        with pytest.raises(SubmitRefused) as refused:
            await submit(session)
        assert refused.value.status == CommandStatus.ESME_RMSGQFUL
        assert await phone.next_reply(PATIENCE) == Reply("hello", 1)
        await submit(session)


async def test_the_simulator_refuses_what_comes_before_the_bind_and_a_second_bind() -> None:
    async with Smsc.serve("sms-7000", "secret") as smsc:
        peer = Peer(*await asyncio.open_connection(LOOPBACK, smsc.port))
        bind = BindTransceiver(sequence_number=2, system_id="sms-7000", password="secret")
        await peer.send(SubmitSm(sequence_number=1), bind)
        first, second = await peer.read(), await peer.read()
        assert first == response_to(SubmitSm(sequence_number=1), CommandStatus.ESME_RINVBNDSTS)
        assert second == response_to(bind, OK)
        await peer.send(bind)
        assert await peer.read() == response_to(bind, CommandStatus.ESME_RALYBND)
        await peer.close()


async def test_another_process_can_text_through_the_control_port() -> None:
    async with (
        Smsc.serve("sms-7000", "secret") as smsc,
        bridged(Bridge(), smsc),
        serve_control(smsc) as port,
    ):
        for _ in range(2):
            reply = await text_once(LOOPBACK, port, HANDSET, SHORTCODE, CNIC, PATIENCE)
            assert reply == Reply(REPLY, 2)


async def test_a_text_through_the_control_port_is_not_answered_with_an_older_reply() -> None:
    sessions: list[Session] = []

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        await submit(sessions[0], Segment(GSM, 0, b"new"))
        return OK

    async with (
        Smsc.serve("sms-7000", "secret") as smsc,
        connected(on_deliver, smsc) as session,
        serve_control(smsc) as port,
    ):
        sessions.append(session)
        smsc.phone(HANDSET)
        await submit(session, Segment(GSM, 0, b"old"))
        assert await text_once(LOOPBACK, port, HANDSET, SHORTCODE, CNIC, PATIENCE) == Reply("new", 1)


async def test_a_text_through_the_control_port_may_get_no_reply_or_be_refused() -> None:
    status = OK

    async def on_deliver(_: DeliverSm) -> CommandStatus:
        return status

    async with (
        Smsc.serve("sms-7000", "secret") as smsc,
        connected(on_deliver, smsc),
        serve_control(smsc) as port,
    ):
        with pytest.raises(TimeoutError):
            await text_once(LOOPBACK, port, HANDSET, SHORTCODE, CNIC, 0.05)
        status = CommandStatus.ESME_RX_P_APPN
        with pytest.raises(DeliveryRefused) as refused:
            await text_once(LOOPBACK, port, HANDSET, SHORTCODE, CNIC, PATIENCE)
        assert refused.value.status == CommandStatus.ESME_RX_P_APPN


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b"[]\n", b'{"source": "1"}\n', b"x" * 100_000 + b"\n"])
async def test_nonsense_on_the_control_port_is_answered_and_hung_up_on(line: bytes) -> None:
    async with Smsc.serve("sms-7000", "secret") as smsc, serve_control(smsc) as port:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(line)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                assert b'"error"' in await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


# TLS


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def test_a_session_over_tls() -> None:
    authority, bridge = trustme.CA(), Bridge()
    async with (
        Smsc.serve("sms-7000", "secret", tls=server_context(authority)) as smsc,
        connected(bridge.on_deliver, smsc, client_context(authority)) as session,
    ):
        phone = smsc.phone(HANDSET)
        await phone.text(SHORTCODE, CNIC)
        assert bridge.texts.get_nowait() == (HANDSET, CNIC)
        await submit(session)
        assert await phone.next_reply(PATIENCE) == Reply("hello", 1)


async def test_an_smsc_with_a_certificate_of_another_authority_is_not_spoken_to() -> None:
    async with Smsc.serve("sms-7000", "secret", tls=server_context(trustme.CA())) as smsc:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected(accept, smsc, client_context(trustme.CA())):
                pass


# What is logged


async def test_no_log_line_holds_a_number_or_a_text(caplog: pytest.LogCaptureFixture) -> None:
    async def on_deliver(message: DeliverSm) -> CommandStatus:
        raise ValueError(f"{message.source} wrote {message.payload!r}")

    caplog.set_level(logging.DEBUG)
    async with bound(on_deliver) as (session, peer):
        await peer.send(deliver(7), framed(0x05, 8, b"\0\1\1" + b"923000000001" * 4))
        assert {(await peer.read()).sequence_number for _ in range(2)} == {7, 8}
        submitting = submit(session)
        number = (await peer.read()).sequence_number
        await peer.send(
            SubmitSmResp(sequence_number=number, command_status=CommandStatus.ESME_RINVDSTADR),
            EnquireLink(sequence_number=9),
        )
        with pytest.raises(SubmitRefused):
            await submitting
        await peer.read()
        await peer.send(b"\0\0\0\0")
        await ended(session)
    assert "ValueError" in caplog.text
    assert "ESME_RINVSRCADR" in caplog.text
    for hidden in ("23000000001", SHORTCODE, "61101", "secret"):
        assert hidden not in caplog.text
