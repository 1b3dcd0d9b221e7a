"""Our session against an SMSC written by others: the npm package `smpp`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from sms_bridge.smpp.pdu import CommandStatus, DeliverSm
from sms_bridge.smpp.session import BindRefused, Session, SmscConfig
from sms_bridge.smpp.text import Reassembler, encode_segments, inbound_segment
from tests.support.npm import HANDSET, SHORTCODE, UCS_2, NpmSmsc, needs_npm

CNIC = "۶۱۱۰۱-۰۰۰۰۰۰۰-۱"
REPLY = "خبردار! 61101-0000000-1 سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔"

pytestmark = needs_npm


async def test_a_text_in_urdu_digits_is_read_and_the_reply_is_read_at_the_other_side(smsc: NpmSmsc) -> None:
    texts: asyncio.Queue[tuple[str, str, str | None]] = asyncio.Queue()
    async with bound(smsc, texts) as session:
        smsc.deliver(data_coding=UCS_2, message=CNIC)
        assert await smsc.event() == {"event": "deliver_sm_resp", "status": 0}
        assert texts.get_nowait() == (HANDSET, SHORTCODE, CNIC)

        segments = encode_segments(REPLY, reference=300)
        assert len(segments) == 2
        ids = [await session.submit(source=SHORTCODE, destination=HANDSET, segment=segment) for segment in segments]
        assert ids == ["npm-1", "npm-2"]
        assert await smsc.event() == {
            "event": "text",
            "source": SHORTCODE,
            "destination": HANDSET[1:],
            "ton": 1,
            "data_coding": UCS_2,
            "segments": 2,
            "text": REPLY,
        }
    assert await smsc.event() == {"event": "unbound"}


@pytest.mark.parametrize("text", ["61101-0000000-1 @£Δ€[]", "۶۱ 😀", "hello"])
async def test_the_same_text_means_the_same_octets_on_both_sides(smsc: NpmSmsc, text: str) -> None:
    texts: asyncio.Queue[tuple[str, str, str | None]] = asyncio.Queue()
    segment = encode_segments(text, 1)[0]
    async with bound(smsc, texts) as session:
        smsc.deliver(data_coding=segment.data_coding, message=text)
        assert await smsc.event() == {"event": "deliver_sm_resp", "status": 0}
        assert texts.get_nowait() == (HANDSET, SHORTCODE, text)
        await session.submit(source=SHORTCODE, destination=HANDSET, segment=segment)
        assert (await smsc.event())["text"] == text
    assert await smsc.event() == {"event": "unbound"}


async def test_a_text_in_two_parts_is_joined(smsc: NpmSmsc) -> None:
    texts: asyncio.Queue[tuple[str, str, str | None]] = asyncio.Queue()
    async with bound(smsc, texts):
        for part, message in ((2, "۰۰۰-۱"), (1, "۶۱۱۰۱-۰۰۰۰")):
            smsc.deliver(data_coding=UCS_2, udh=f"050003cc02{part:02x}", message=message)
            assert await smsc.event() == {"event": "deliver_sm_resp", "status": 0}
        assert texts.get_nowait() == (HANDSET, SHORTCODE, None)
        assert texts.get_nowait() == (HANDSET, SHORTCODE, CNIC)
    assert await smsc.event() == {"event": "unbound"}


async def test_a_wrong_password_is_refused(smsc: NpmSmsc) -> None:
    port = (await smsc.event())["port"]
    with pytest.raises(BindRefused) as refused:
        await connect_and_leave(SmscConfig("127.0.0.1", port, "sms-7000", "wrong"))
    assert refused.value.status == CommandStatus.ESME_RBINDFAIL


async def connect_and_leave(config: SmscConfig) -> None:
    async def on_deliver(_: DeliverSm) -> CommandStatus:
        return CommandStatus.ESME_ROK

    async with Session.connect(config, on_deliver):
        pass


@asynccontextmanager
async def bound(smsc: NpmSmsc, texts: asyncio.Queue[tuple[str, str, str | None]]) -> AsyncGenerator[Session, None]:
    """A session with the SMSC, which puts into `texts` what each delivered message said or completed."""
    reassembler = Reassembler()

    async def on_deliver(message: DeliverSm) -> CommandStatus:
        text = reassembler.add(inbound_segment(message))
        texts.put_nowait((message.source, message.destination, text))
        return CommandStatus.ESME_ROK

    port = (await smsc.event())["port"]
    async with Session.connect(SmscConfig("127.0.0.1", port, "sms-7000", "secret"), on_deliver) as session:
        assert await smsc.event() == {"event": "bound", "interface_version": 0x34}
        yield session
