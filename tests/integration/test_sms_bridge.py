"""The SMS bridge between a real SMPP session and a real gRPC connection."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nsor.lookup.v1 import lookup_service_pb2 as lookup
from nsor.registry.v1 import offender_pb2 as registry
from nsor_client import AsyncClient, Credentials, NsorError
from sms_bridge import replies
from sms_bridge.bridge import Bridge, Settings
from sms_bridge.journal import Journal
from sms_bridge.replies import reply_for
from sms_bridge.simulator import Phone, Smsc
from sms_bridge.smpp.pdu import CommandStatus, DeliverSm, SubmitSm
from sms_bridge.smpp.session import SmscConfig
from sms_bridge.smpp.text import UCS_2, Reassembler, Segment, inbound_segment
from sms_bridge.telemetry import Telemetry
from tests.support.fake_lookup import Authority, Context, FakeLookup
from tests.support.scripted_smsc import ScriptedSmsc

SYSTEM_ID, PASSWORD = "nsor", "secret"
PHONE = "+920000000001"
CONVICT, CONVICT_URDU = "61101-0000000-1", "۶۱۱۰۱-۰۰۰۰۰۰۰-۱"
MASKED = "61101-*****00-1"
AS_OF = Timestamp(seconds=1_780_000_000)
PERSON = lookup.DisclosedPerson(
    full_name="Test Person",
    full_name_ur="آزمائشی شخص",
    guardian_name="Test Guardian",
    guardian_name_ur="آزمائشی سرپرست",
    guardian_relation=registry.GUARDIAN_RELATION_FATHER,
    sex=registry.SEX_MALE,
)
PERSONAL = (PHONE.removeprefix("+"), CONVICT, CONVICT_URDU, "Test Person", "Test Guardian", "آزمائشی", "خبردار")
OK = CommandStatus.ESME_ROK

HIT = lookup.CheckCnicResponse(outcome=lookup.OUTCOME_HIT, as_of_time=AS_OF, masked_cnic=MASKED, person=PERSON)
NO_RECORD = lookup.CheckCnicResponse(outcome=lookup.OUTCOME_NO_RECORD, as_of_time=AS_OF, masked_cnic=MASKED)
INVALID = lookup.CheckCnicResponse(outcome=lookup.OUTCOME_INVALID_CNIC)
CANNOT_ANSWER = lookup.CheckCnicResponse(outcome=lookup.OUTCOME_CANNOT_ANSWER, masked_cnic=MASKED)
FROM_A_LATER_CONTRACT = lookup.CheckCnicResponse(outcome=99, as_of_time=AS_OF)  # type: ignore[arg-type]


class WatchedClient(AsyncClient):
    """The client, telling when a call of it failed."""

    failed: asyncio.Event

    async def check_cnic(self, *args: Any, **kwargs: Any) -> lookup.CheckCnicResponse:
        try:
            return await super().check_cnic(*args, **kwargs)
        except NsorError:
            self.failed.set()
            raise


@dataclass
class House:
    """A hub, an SMSC and what a bridge between them needs."""

    authority: Authority
    hub: FakeLookup
    smsc: Smsc | ScriptedSmsc
    folder: Path
    settings: Settings = field(default_factory=Settings)
    telemetry: Telemetry | None = None
    tracer_provider: TracerProvider | None = None
    limit: int = 1000
    hub_failed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def phone(self) -> Phone:
        assert isinstance(self.smsc, Smsc)
        return self.smsc.phone(PHONE)

    @property
    def journal_file(self) -> Path:
        return self.folder / "journal" / "file"

    @asynccontextmanager
    async def bridge(self, stop: asyncio.Event | None = None) -> AsyncGenerator[Bridge]:
        """A bridge that runs while inside, and is stopped as by SIGTERM, or earlier by `stop`."""
        stop = stop or asyncio.Event()
        self.journal_file.parent.mkdir(exist_ok=True)
        credentials = Credentials.from_dir(self.folder / "node")
        config = SmscConfig("127.0.0.1", self.smsc.port, SYSTEM_ID, PASSWORD)
        async with (
            WatchedClient(self.hub.target, credentials, tracer_provider=self.tracer_provider) as client,
            Journal.open(self.journal_file, limit=self.limit) as journal,
            asyncio.TaskGroup() as tasks,
        ):
            client.failed = self.hub_failed
            bridge = Bridge(self.settings, journal, client, self.telemetry)
            running = tasks.create_task(bridge.run(config, stop))
            try:
                yield bridge
            finally:
                stop.set()
                await running

    async def counters(self) -> dict[str, int]:
        async with Journal.open(self.journal_file) as journal:
            assert await journal.unfinished() == []
            return await journal.counters()


def answering(answer: lookup.CheckCnicResponse) -> Callable[[str, Context], Awaitable[lookup.CheckCnicResponse]]:
    async def give(text: str, context: Context) -> lookup.CheckCnicResponse:
        return answer

    return give


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    authority = Authority()
    authority.enrol(tmp_path / "node")
    hub = FakeLookup(answering(HIT))
    async with hub.serve(authority), Smsc.serve(SYSTEM_ID, PASSWORD, retry_delay=0.05) as smsc:
        yield House(authority, hub, smsc, tmp_path)


@pytest.fixture
async def house_without_hub(tmp_path: Path) -> AsyncGenerator[House]:
    authority = Authority()
    authority.enrol(tmp_path / "node")
    hub = FakeLookup(answering(HIT))
    async with hub.serve(authority):
        pass  # only to learn a port
    async with Smsc.serve(SYSTEM_ID, PASSWORD, retry_delay=0.05) as smsc:
        yield House(authority, hub, smsc, tmp_path)


@pytest.fixture
async def smsc() -> AsyncGenerator[ScriptedSmsc]:
    async with ScriptedSmsc.serve() as smsc:
        yield smsc


@pytest.fixture
async def scripted(tmp_path: Path, smsc: ScriptedSmsc) -> AsyncGenerator[House]:
    """A house with an SMSC that does what the test says."""
    authority = Authority()
    authority.enrol(tmp_path / "node")
    hub = FakeLookup(answering(HIT))
    async with hub.serve(authority):
        yield House(authority, hub, smsc, tmp_path)


@pytest.fixture(autouse=True)
def nothing_personal_is_logged(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for personal in PERSONAL:
        assert personal not in caplog.text


async def ask(house: House, text: str = CONVICT) -> str:
    await house.phone.text("7000", text)
    return (await house.phone.next_reply()).text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HIT, "خبردار! آزمائشی شخص ولد آزمائشی سرپرست سزا یافتہ مجرم ہے۔"),
        (NO_RECORD, "یہ نیک چلنی کا سرٹیفکیٹ نہیں ہے۔"),
        (INVALID, "نمبر درست نہیں۔"),
        (CANNOT_ANSWER, "اس وقت جواب دینا ممکن نہیں۔"),
        (FROM_A_LATER_CONTRACT, "اس وقت جواب دینا ممکن نہیں۔"),
    ],
    ids=["hit", "no record", "invalid", "cannot answer", "unknown"],
)
async def test_each_answer_of_the_hub_becomes_its_reply(
    house: House, answer: lookup.CheckCnicResponse, words: str
) -> None:
    house.hub.answer = answering(answer)
    async with house.bridge():
        reply = await ask(house)
    assert words in reply
    assert reply == reply_for(answer)
    assert house.hub.asked == [CONVICT]


def without_urdu(person: lookup.DisclosedPerson) -> None:
    person.full_name_ur = person.guardian_name_ur = ""


def third_gender(person: lookup.DisclosedPerson) -> None:
    person.sex = registry.SEX_X


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_urdu, "خبردار! Test Person ولد Test Guardian سزا یافتہ مجرم ہے۔"),
        (third_gender, "خبردار! آزمائشی شخص (والد کا نام آزمائشی سرپرست) سزا یافتہ مجرم ہے۔"),
    ],
)
async def test_a_hit_names_the_person_as_the_record_does(
    house: House, change: Callable[[lookup.DisclosedPerson], None], words: str
) -> None:
    answer = lookup.CheckCnicResponse()
    answer.CopyFrom(HIT)
    change(answer.person)
    house.hub.answer = answering(answer)
    async with house.bridge():
        assert words in await ask(house)


async def test_a_hit_without_a_name_names_nobody(house: House) -> None:
    answer = lookup.CheckCnicResponse(outcome=lookup.OUTCOME_HIT, masked_cnic=MASKED)
    house.hub.answer = answering(answer)
    async with house.bridge():
        assert "خبردار! اس شناختی کارڈ کا حامل سزا یافتہ مجرم ہے۔" in await ask(house)


@pytest.mark.parametrize("text", [CONVICT_URDU, f"کیا یہ نمبر ٹھیک ہے؟ {CONVICT_URDU} " * 5])
async def test_the_hub_reads_the_text_as_it_was_typed_however_many_messages_it_took(house: House, text: str) -> None:
    async with house.bridge():
        await house.phone.text("7000", text)
        reply = await house.phone.next_reply()
    assert house.hub.asked == [text]
    assert reply.text == reply_for(HIT)
    assert reply.segments == 2


@pytest.mark.parametrize(
    "segment",
    [Segment(4, 0, b"\x00\x01\x02"), Segment(UCS_2, 0, b"\xd8\x00"), Segment(0, 0x40, b"\xff"), Segment(0, 0, b"  ")],
    ids=["binary", "half a character", "broken header", "blank"],
)
async def test_what_cannot_be_read_gets_a_reply_and_bothers_nobody(house: House, segment: Segment) -> None:
    async with house.bridge():
        await house.smsc.forward(PHONE, "7000", segment)
        assert (await house.phone.next_reply()).text == replies.INVALID_CNIC
    assert house.hub.asked == []


async def test_a_text_that_the_hub_finds_too_long_is_no_number(house: House) -> None:
    async def refuse(text: str, context: Context) -> lookup.CheckCnicResponse:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too long")

    house.hub.answer = refuse
    async with house.bridge():
        assert await ask(house, "1" * 2500) == replies.INVALID_CNIC


@pytest.mark.parametrize("source", ["7000", "+7000", "BANK"])
async def test_what_no_handset_sent_is_taken_and_not_answered(house: House, source: str) -> None:
    async with house.bridge():
        await house.smsc.phone(source).text("7000", CONVICT)
        await ask(house)
    assert house.hub.asked == [CONVICT]
    assert await house.counters() == {"hit": 1}


async def test_a_delivery_receipt_is_taken_and_not_answered(house: House) -> None:
    async with house.bridge():
        await house.smsc.forward(PHONE, "7000", Segment(0, 0x04, b"id:1 stat:DELIVRD"))
        await ask(house)
    assert await house.counters() == {"hit": 1}


async def test_the_same_question_again_is_answered_again(house: House) -> None:
    async with house.bridge():
        house.hub.answer = answering(NO_RECORD)
        assert await ask(house) == reply_for(NO_RECORD)
        house.hub.answer = answering(HIT)
        assert await ask(house) == reply_for(HIT)
    assert await house.counters() == {"no_record": 1, "hit": 1}


async def test_a_hub_that_is_down_is_asked_until_it_answers(house_without_hub: House) -> None:
    house = house_without_hub
    async with house.bridge():
        await house.phone.text("7000", CONVICT)
        await house.hub_failed.wait()
        async with house.hub.serve(house.authority):
            assert (await house.phone.next_reply(30)).text == reply_for(HIT)
    assert await house.counters() == {"hit": 1}


async def test_a_hub_that_stays_down_is_never_taken_for_no_record(house_without_hub: House) -> None:
    house = house_without_hub
    house.settings = Settings(hub_patience=0.0)
    async with house.bridge():
        assert await ask(house) == replies.CANNOT_ANSWER.format(number="")
    assert await house.counters() == {"cannot_answer": 1}


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED]
)
async def test_a_hub_that_refuses_us_is_not_asked_again(house: House, code: grpc.StatusCode) -> None:
    async def refuse(text: str, context: Context) -> lookup.CheckCnicResponse:
        await context.abort(code, "no")

    house.hub.answer = refuse
    async with house.bridge():
        assert await ask(house) == replies.CANNOT_ANSWER.format(number="")
    assert len(house.hub.asked) == 1


async def test_the_hub_can_tell_phones_apart_but_not_who_they_are(house: House) -> None:
    for _ in range(2):
        async with house.bridge():
            for phone in (PHONE, PHONE, "+923009999999"):
                assert isinstance(house.smsc, Smsc)
                await house.smsc.phone(phone).text("7000", CONVICT)
                await house.smsc.phone(phone).next_reply(30)
    first, again, other, *later = house.hub.end_users
    assert first == again != other
    assert {len(end_user) for end_user in (first, other)} == {16}
    assert not {first, other} & set(later), "a key of its own at each start"


async def test_a_phone_that_asks_too_often_is_told_at_once_to_ask_later(house: House) -> None:
    async def refuse(text: str, context: Context) -> lookup.CheckCnicResponse:
        retry = RetryInfo()
        retry.retry_delay.FromSeconds(3600)
        status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="too often")
        status.details.add().Pack(retry)
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    house.hub.answer = refuse
    async with house.bridge():
        assert await ask(house) == replies.CANNOT_ANSWER.format(number="")
    assert len(house.hub.asked) == 1


async def test_a_hub_that_hangs_is_given_up_in_time(house: House) -> None:
    async def hang(text: str, context: Context) -> lookup.CheckCnicResponse:
        await asyncio.Event().wait()
        raise AssertionError

    house.hub.answer = hang
    house.settings = Settings(hub_timeout=0.1, hub_patience=0.0)
    async with house.bridge():
        assert await ask(house) == replies.CANNOT_ANSWER.format(number="")


def message(text: str = CONVICT) -> DeliverSm:
    return DeliverSm(
        sequence_number=1,
        source_addr_ton=1,
        source_addr=PHONE.removeprefix("+"),
        destination_addr="7000",
        short_message=text.encode("ascii"),
    )


async def next_reply(smsc: ScriptedSmsc) -> list[SubmitSm]:
    """The submit_sm of the next reply, with those that were made again."""
    submits = [await smsc.submitted.get()]
    while submits[-1].short_message[4] != submits[-1].short_message[5]:  # total and part, in the header
        submits.append(await smsc.submitted.get())
    return submits


def parts(submits: list[SubmitSm]) -> list[int]:
    return [submit.short_message[5] for submit in submits]


def text_of(submits: list[SubmitSm]) -> str:
    reassembler = Reassembler()
    texts = [reassembler.add(inbound_segment(submit)) for submit in submits]
    assert submits[-1].destination == PHONE
    assert submits[-1].source == "7000"
    return texts[-1] or ""


async def test_a_redelivery_after_a_broken_session_is_answered_once(scripted: House, smsc: ScriptedSmsc) -> None:
    hub, go_on = scripted.hub, asyncio.Event()

    async def wait(text: str, context: Context) -> lookup.CheckCnicResponse:
        await go_on.wait()
        return HIT

    hub.answer = wait
    async with scripted.bridge():
        assert await smsc.deliver(message(), cut=True) == OK  # it acknowledged, but who knows
        assert await smsc.deliver(message()) == OK
        go_on.set()
        first = await next_reply(smsc)
        hub.answer = answering(NO_RECORD)
        assert await smsc.deliver(message()) == OK
        second = await next_reply(smsc)
    assert [text_of(first), text_of(second)] == [reply_for(HIT), reply_for(NO_RECORD)]
    assert first[0].short_message[3] != second[0].short_message[3]  # references, by which a handset joins parts
    assert hub.asked == [CONVICT] * 2
    assert await scripted.counters() == {"hit": 1, "no_record": 1}


async def test_deliveries_that_a_breaking_session_interrupts_are_all_answered_once(
    scripted: House, smsc: ScriptedSmsc
) -> None:
    texts = [f"question {number:02}" for number in range(50)]
    async with scripted.bridge():
        await smsc.deliver_and_leave([message(text) for text in texts])
        for text in texts:
            assert await smsc.deliver(message(text)) == OK
        for _ in texts:
            await next_reply(smsc)
    assert sorted(scripted.hub.asked) == texts
    assert await scripted.counters() == {"hit": len(texts)}


@pytest.mark.parametrize("trouble", [CommandStatus.ESME_RTHROTTLED, CommandStatus.ESME_RMSGQFUL, None])
async def test_a_segment_that_the_smsc_may_not_have_is_submitted_again(
    scripted: House, smsc: ScriptedSmsc, trouble: CommandStatus | None
) -> None:
    smsc.statuses.extend([OK, trouble])
    async with scripted.bridge():
        await smsc.deliver(message())
        submits = await next_reply(smsc)
        again = await smsc.submitted.get()
    assert parts([*submits, again]) == [1, 2, 2]
    assert again.short_message == submits[-1].short_message
    assert text_of(submits) == reply_for(HIT)
    assert scripted.hub.asked == [CONVICT]
    assert await scripted.counters() == {"hit": 1}


async def test_after_a_restart_only_the_rest_of_a_reply_is_submitted(scripted: House, smsc: ScriptedSmsc) -> None:
    smsc.statuses.extend([OK, *[CommandStatus.ESME_RTHROTTLED] * 1000])
    scripted.settings = Settings(stop_patience=0.0)
    async with scripted.bridge():
        await smsc.deliver(message())
        submits = await next_reply(smsc)
    smsc.statuses.clear()
    while not smsc.submitted.empty():
        smsc.submitted.get_nowait()
    scripted.settings = Settings()
    scripted.hub.answer = answering(NO_RECORD)
    async with scripted.bridge():
        rest = await smsc.submitted.get()
    assert smsc.submitted.empty()
    assert rest.short_message == submits[1].short_message
    assert text_of([submits[0], rest]) == reply_for(HIT)
    assert scripted.hub.asked == [CONVICT]
    assert await scripted.counters() == {"hit": 1}


async def test_a_reply_that_the_smsc_refuses_is_given_up_alone(scripted: House, smsc: ScriptedSmsc) -> None:
    smsc.statuses.append(CommandStatus.ESME_RINVDSTADR)
    async with scripted.bridge():
        await smsc.deliver(message())
        assert parts([await smsc.submitted.get()]) == [1]
        await smsc.deliver(message())
        assert parts(await next_reply(smsc)) == [1, 2]
    assert await scripted.counters() == {"given_up.refused": 1, "hit": 1}


async def test_a_reply_that_the_smsc_never_takes_is_given_up_in_time(scripted: House, smsc: ScriptedSmsc) -> None:
    smsc.statuses.extend([CommandStatus.ESME_RTHROTTLED] * 1000)
    scripted.settings = Settings(submit_patience=0.2)
    async with scripted.bridge():
        await smsc.deliver(message())
        await smsc.submitted.get()
    assert await scripted.counters() == {"given_up.expired": 1}


async def test_a_full_journal_leaves_the_message_with_the_smsc(scripted: House, smsc: ScriptedSmsc) -> None:
    go_on = asyncio.Event()

    async def wait(text: str, context: Context) -> lookup.CheckCnicResponse:
        await go_on.wait()
        return HIT

    scripted.hub.answer = wait
    scripted.limit = 1
    async with scripted.bridge():
        assert await smsc.deliver(message()) == OK
        assert await smsc.deliver(message()) == CommandStatus.ESME_RMSGQFUL
        go_on.set()
        await next_reply(smsc)
        while await smsc.deliver(message()) == CommandStatus.ESME_RMSGQFUL:
            pass  # the reply was submitted; that it was may not be on disk yet
        await next_reply(smsc)
    assert await scripted.counters() == {"hit": 2}


async def test_replies_keep_to_the_pace_that_the_operator_allows(scripted: House, smsc: ScriptedSmsc) -> None:
    scripted.settings = Settings(submits_per_second=20)
    async with scripted.bridge():
        for _ in range(3):
            await smsc.deliver(message())
        await smsc.submitted.get()
        started_at = time.monotonic()
        for _ in range(5):
            await smsc.submitted.get()
        # Five more, each 50 ms after the last; the first may have come late by one.
        assert time.monotonic() - started_at > 4 * 0.05


async def test_told_to_stop_it_finishes_what_it_has_and_takes_no_more(scripted: House, smsc: ScriptedSmsc) -> None:
    go_on = asyncio.Event()

    async def wait(text: str, context: Context) -> lookup.CheckCnicResponse:
        await go_on.wait()
        return HIT

    async def after_the_stop() -> None:
        await scripted.hub.was_asked.wait()
        stopping.set()
        assert await smsc.deliver(message()) == CommandStatus.ESME_RX_T_APPN
        go_on.set()
        assert parts(await next_reply(smsc)) == [1, 2]

    scripted.hub.answer = wait
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, scripted.bridge(stopping):
        assert await smsc.deliver(message()) == OK
        await tasks.create_task(after_the_stop())
    assert await scripted.counters() == {"hit": 1}


async def test_what_could_not_be_finished_waits_for_the_next_start(house_without_hub: House) -> None:
    house = house_without_hub
    house.settings = Settings(stop_patience=0.0)
    async with house.bridge():
        await house.phone.text("7000", CONVICT)
    house.settings = Settings()
    async with house.hub.serve(house.authority), house.bridge():
        assert (await house.phone.next_reply()).text == reply_for(HIT)
    assert await house.counters() == {"hit": 1}


async def test_nothing_personal_remains_once_the_reply_is_sent(house: House) -> None:
    async with house.bridge():
        await ask(house)
    async with Journal.open(house.journal_file) as journal:
        await journal.tidy()
    held = b"".join(file.read_bytes() for file in house.journal_file.parent.iterdir())
    assert held
    for personal in PERSONAL:
        assert personal.encode() not in held


async def test_one_trace_leads_from_the_sms_to_the_hub_and_names_nobody(house: House) -> None:
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    house.tracer_provider = TracerProvider()
    house.tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    house.telemetry = Telemetry(house.tracer_provider, MeterProvider([metrics]))
    async with house.bridge():
        await ask(house)
    by_name = {span.name: span for span in spans.get_finished_spans()}
    received, conversation = by_name["sms receive"], by_name["sms conversation"]
    call, submit = by_name["nsor.lookup.v1.LookupService/CheckCnic"], by_name["sms submit"]
    assert received.parent is None
    assert [span.parent.span_id for span in (conversation, call, submit) if span.parent] == [
        received.context.span_id,
        conversation.context.span_id,
        conversation.context.span_id,
    ]
    trace_id = f"{received.context.trace_id:032x}"
    assert house.hub.metadata[0]["traceparent"].startswith(f"00-{trace_id}-{call.context.span_id:016x}-")
    figures = json.loads(metrics.get_metrics_data().to_json())["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    points = {figure["name"]: figure["data"]["data_points"] for figure in figures}
    assert points["nsor.sms.queue"][0]["value"] == 0
    assert points["nsor.sms.conversations"][0]["value"] == 1
    assert points["nsor.sms.conversations"][0]["attributes"] == {"nsor.outcome": "hit", "nsor.sms.end": "done"}
    told = json.dumps([[json.loads(span.to_json()) for span in spans.get_finished_spans()], figures])
    for personal in PERSONAL:
        assert personal not in told


# The command


@asynccontextmanager
async def command(*arguments: str, **environment: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A command that runs, from when it says that it is ready until it is terminated."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sms_bridge", *arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        while not (json.loads(line := await process.stderr.readline())["message"]).startswith("ready: "):
            assert line
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, said = await process.communicate()
        for personal in PERSONAL:
            assert personal.encode() not in said


async def output(*arguments: str) -> tuple[int | None, str, str]:
    """What a command that ends by itself returned and said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sms_bridge", *arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1", "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def run_arguments(house: House, smsc_port: int) -> list[str]:
    password_file = house.folder / "password"
    password_file.write_text(f"{PASSWORD}\n")
    return [
        *("run", "--smsc-host", "127.0.0.1", "--smsc-port", str(smsc_port), "--system-id", SYSTEM_ID),
        *("--password-file", str(password_file), "--node", str(house.folder / "node")),
        *("--target", house.hub.target, "--journal", str(house.folder / "journal.db")),
        *("--ready-file", str(house.folder / "ready.json")),
    ]


async def test_killed_with_a_message_in_hand_the_command_answers_it_after_a_restart(house: House) -> None:
    async def hang(text: str, context: Context) -> lookup.CheckCnicResponse:
        await asyncio.Event().wait()
        raise AssertionError

    house.hub.answer = hang
    arguments = run_arguments(house, house.smsc.port)
    async with command(*arguments) as process:
        await house.phone.text("7000", CONVICT)
        await house.hub.was_asked.wait()
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    house.hub.answer = answering(HIT)
    async with command(*arguments) as process:
        assert (await house.phone.next_reply(30)).text == reply_for(HIT)
        process.terminate()
        assert await process.wait() == 0
    assert house.hub.asked == [CONVICT] * 2


@pytest.mark.fault
async def test_killed_again_and_again_it_leaves_no_phone_without_a_reply(house: House) -> None:
    phones = [house.smsc.phone(f"+9200000001{number:02}") for number in range(60)]
    arguments = run_arguments(house, house.smsc.port)
    async with asyncio.TaskGroup() as tasks:
        for phone in phones:
            tasks.create_task(phone.text("7000", CONVICT))
        for kill_at in (5, 20, 35):
            async with command(*arguments) as process:
                while len(house.hub.asked) < kill_at:
                    house.hub.was_asked.clear()
                    await house.hub.was_asked.wait()
                process.kill()
        async with command(*arguments):
            for phone in phones:
                assert (await phone.next_reply(30)).text == reply_for(HIT)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Where OpenTelemetry's exporter delivers."""

    def __init__(self) -> None:
        self.received: list[trace_service_pb2.ExportTraceServiceRequest] = []

    async def Export(self, request: Any, context: Any) -> Any:
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def collector() -> AsyncGenerator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield collector, f"http://127.0.0.1:{port}"
    await server.stop(grace=None)


async def test_the_commands_do_the_whole_job_together(house: House, collector: tuple[Collector, str]) -> None:
    collected, endpoint = collector
    ready_file = house.folder / "simulator" / "ready.json"
    arguments = run_arguments(house, 0)
    async with command(
        *("simulator", "--system-id", SYSTEM_ID, "--port", "0", "--control-port", "0"),
        *("--password-file", str(house.folder / "password"), "--ready-file", str(ready_file)),
    ) as simulator:
        ready = json.loads(ready_file.read_text())
        control = f"127.0.0.1:{ready['control_port']}"
        environment = {"NSOR_SMS_SMSC_PORT": str(ready["smsc_port"]), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        arguments = [word for word in arguments if word not in ("--smsc-port", "0")]
        async with command(*arguments, **environment) as bridge:
            assert json.loads((house.folder / "ready.json").read_text()) == {
                "smsc": f"127.0.0.1:{ready['smsc_port']}",
                "shortcode": "7000",
            }
            assert await output("text", CONVICT_URDU, "--control", control) == (0, reply_for(HIT) + "\n", "")
            code, out, _ = await output("text", CONVICT, "--control", control, "--from", PHONE, "--json")
            result = json.loads(out)
            assert (code, result["reply"], result["segments"]) == (0, reply_for(HIT), 2)
            bridge.send_signal(signal.SIGINT)
            assert await bridge.wait() == 0
        code, _, error = await output("text", CONVICT, "--control", control, "--timeout", "0.1")
        assert (code, error) == (3, "error: no reply within 0.1 s: is the bridge running?\n")
        simulator.terminate()
        assert await simulator.wait() == 0
    assert house.hub.asked == [CONVICT_URDU, CONVICT]
    exported = str(collected.received)
    assert "sms conversation" in exported
    assert "nsor-sms-bridge" in exported
    for personal in PERSONAL:
        assert personal not in exported
    code, _, error = await output("text", CONVICT, "--control", control)
    assert (code, error) == (1, f"error: no simulator answers at {control}\n")


async def test_what_is_set_up_wrongly_is_said_in_a_line(house: House) -> None:
    folder, arguments = house.folder, run_arguments(house, house.smsc.port)
    (folder / "long").write_text("longer than eight")
    (folder / "empty").mkdir()
    no_hub = "error: the target of a hub is HOST:PORT, for example 127.0.0.1:7443"
    cases = [
        ("--target", "nowhere", 1, no_hub),
        ("--journal", f"{folder}/long", 1, f"error: {folder}/long is no journal"),
        ("--password-file", f"{folder}/long", 1, "error: SMPP cannot carry these credentials: ESME_RINVPASWD"),
        ("--node", f"{folder}/empty", 1, f"error: cannot read {folder}/empty/cert.pem: No such file or directory"),
        ("--ready-file", f"{folder}/long/ready", 1, f"error: cannot write {folder}/long/ready: Not a directory"),
        ("--node", f"{folder}/missing", 2, "does not exist"),
    ]

    async def said(option: str, value: str) -> tuple[int | None, str]:
        at = arguments.index(option) + 1
        code, _, error = await output(*arguments[:at], value, *arguments[at + 1 :])
        return code, error

    results = await asyncio.gather(*(said(option, value) for option, value, *_ in cases))
    for (_, _, code, words), (returned, error) in zip(cases, results, strict=True):
        assert returned == code
        assert words in error
        assert code == 2 or error.count("\n") == 1
