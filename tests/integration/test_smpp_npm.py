"""Our session against an SMSC written by others: the npm package `smpp`."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sms_bridge.smpp.pdu import CommandStatus, DeliverSm
from sms_bridge.smpp.session import BindRefused, Session, SmscConfig
from sms_bridge.smpp.text import Reassembler, encode_segments, inbound_segment

PATIENCE = 30.0
HANDSET, SHORTCODE = "+923000000001", "7000"
CNIC = "۶۱۱۰۱-۰۰۰۰۰۰۰-۱"
REPLY = "خبردار! 61101-0000000-1 سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔"
UCS_2 = 8
FROM_HANDSET = {"source_addr": HANDSET[1:], "source_addr_ton": 1, "destination_addr": SHORTCODE}

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]


class NpmSmsc:
    """The other process: orders in, events out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def event(self) -> dict[str, Any]:
        assert self._process.stdout
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self._process.stdout.readline())

    def deliver(self, **order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(FROM_HANDSET | order).encode() + b"\n")


@pytest.fixture(scope="module")
def smsc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the SMSC with its packages, as the lock file has them."""
    source = Path(__file__).parents[1] / "support" / "npm_smsc"
    folder = tmp_path_factory.mktemp("npm") / "smsc"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
async def smsc(smsc_folder: Path) -> AsyncGenerator[NpmSmsc, None]:
    process = await asyncio.create_subprocess_exec(
        "node", "smsc.js", cwd=smsc_folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield NpmSmsc(process)
    assert process.stdin
    process.stdin.close()
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0


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
