"""The journal of the SMS bridge: what it holds after a crash, what it answers once, what it erases."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sms_bridge.journal import DOUBT, PATIENCE, Conversation, End, Journal, JournalError, JournalFull
from sms_bridge.smpp.text import GSM, UCS_2, InboundSegment

PHONE, OTHER_PHONE = "+920000000001", "+920000000002"
TEXT = "61101-0000000-1"
SEGMENT = InboundSegment(PHONE, "7000", GSM, TEXT.encode())
LONG_TEXT = "نمبر ۶۱۱۰۱-۰۰۰۰۰۰۰-۱"
PARTS = [
    # Cut inside a character, as handsets may.
    InboundSegment(PHONE, "7000", UCS_2, octets, reference=7, total=3, part=part)
    for part, octets in enumerate(
        (LONG_TEXT.encode("utf-16-be")[:9], LONG_TEXT.encode("utf-16-be")[9:21], LONG_TEXT.encode("utf-16-be")[21:]),
        start=1,
    )
]


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(tmp_path: Path, clock: Clock) -> AsyncGenerator[Journal]:
    async with Journal.open(tmp_path / "journal", clock=clock) as journal:
        yield journal


async def receive(journal: Journal, segment: InboundSegment = SEGMENT, session: str = "s1") -> Conversation | None:
    """Store a segment; return the conversation that began by it."""
    before = await journal.unfinished()
    await journal.receive(segment, session_id=session)
    begun = [conversation for conversation in await journal.unfinished() if conversation not in before]
    assert len(begun) <= 1
    return begun[0] if begun else None


async def begin(journal: Journal, segment: InboundSegment = SEGMENT, session: str = "s1") -> Conversation:
    conversation = await receive(journal, segment, session)
    assert conversation
    return conversation


async def finish(journal: Journal, conversation: Conversation, session: str = "s1") -> None:
    await journal.answered(conversation.id, outcome="hit", reply="جواب")
    await journal.finish(conversation.id, End.DONE, session_id=session)


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def modes(folder: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_a_conversation_is_found_again_as_far_as_it_came(tmp_path: Path, clock: Clock) -> None:
    async with Journal.open(tmp_path / "journal", clock=clock) as journal:
        await journal.receive(SEGMENT, session_id="s1", trace="00-1-1-01")
        (received,) = await journal.unfinished()
        other = await begin(journal, replace(SEGMENT, source=OTHER_PHONE))
        await journal.answered(received.id, outcome="hit", reply="جواب")
        await journal.submitted(received.id, 1)
    expected = Conversation(received.id, PHONE, clock.now, "00-1-1-01", "hit", "جواب", 1, TEXT)
    assert (other.reply, other.submitted, other.text) == ("", 0, TEXT)
    async with Journal.open(tmp_path / "journal") as journal:
        assert await journal.unfinished() == [expected, other]
        assert await journal.unfinished(limit=1) == [expected]
        assert await journal.unfinished(after=expected.id) == [other]
        assert await journal.unfinished(after=other.id) == []


async def test_a_delivery_that_is_cancelled_while_it_is_stored_is_not_forgotten(journal: Journal) -> None:
    storing = asyncio.create_task(journal.receive(SEGMENT, session_id="s1"))
    await asyncio.sleep(0)  # it is under way
    storing.cancel()
    (conversation,) = await journal.unfinished()
    assert conversation.text == TEXT
    assert storing.cancelled()
    assert await receive(journal, session="s2") is None


CHILD = """
import asyncio, sys
from pathlib import Path
from sms_bridge.journal import Journal
from sms_bridge.smpp.text import InboundSegment

async def main():
    async with Journal.open(Path(sys.argv[1])) as journal:
        for number in range(int(sys.argv[2])):
            segment = InboundSegment("+920000000001", "7000", 0, b"text %d" % number)
            await journal.receive(segment, session_id="before")
        print("stored", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def process_with_journal(path: Path, messages: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process that has stored messages, and is about to acknowledge them."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(path), str(messages)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert await process.stdout.readline() == b"stored\n"
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_killed_before_the_acknowledgement_it_answers_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with process_with_journal(path, messages=3) as process:
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    async with Journal.open(path) as journal:
        kept = await journal.unfinished()
        assert [conversation.text for conversation in kept] == ["text 0", "text 1", "text 2"]
        for number in range(3):  # the SMSC had no acknowledgement
            again = replace(SEGMENT, payload=b"text %d" % number)
            assert await receive(journal, again, session="after") is None
        assert await journal.unfinished() == kept


async def test_one_journal_serves_one_process(tmp_path: Path) -> None:
    async with process_with_journal(tmp_path / "journal", messages=1):
        with pytest.raises(JournalError, match="in use"):
            async with Journal.open(tmp_path / "journal"):
                pass


async def test_within_a_session_the_same_text_is_another_question(journal: Journal) -> None:
    first, second = await begin(journal), await begin(journal)
    assert first.id != second.id


async def test_a_redelivery_is_answered_once_also_after_the_reply(journal: Journal) -> None:
    await finish(journal, await begin(journal, session="s1"), session="s2")
    assert await receive(journal, session="s2") is None
    assert await begin(journal, session="s2")  # the phone asks again


async def test_each_redelivery_stands_for_one_delivery(journal: Journal) -> None:
    await begin(journal, session="s1")
    await begin(journal, session="s1")
    assert await receive(journal, session="s2") is None
    assert await receive(journal, session="s2") is None
    assert await begin(journal, session="s2")


async def test_a_reply_in_the_same_session_proves_the_acknowledgement(journal: Journal) -> None:
    await finish(journal, await begin(journal, session="s1"), session="s1")
    assert await begin(journal, session="s2")


async def test_a_text_of_another_phone_is_no_redelivery(journal: Journal) -> None:
    await begin(journal, session="s1")
    assert await begin(journal, replace(SEGMENT, source=OTHER_PHONE), session="s2")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
async def test_a_long_text_is_complete_with_its_last_part(journal: Journal, order: tuple[int, ...]) -> None:
    results = [await receive(journal, PARTS[part]) for part in order]
    assert results[:2] == [None, None]
    assert results[2]
    assert results[2].text == LONG_TEXT


async def test_parts_survive_a_restart_and_may_be_delivered_again(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal") as journal:
        assert await receive(journal, PARTS[0], "s1") is None
        assert await receive(journal, PARTS[0], "s1") is None
    async with Journal.open(tmp_path / "journal") as journal:
        assert await journal.unfinished() == []
        assert await receive(journal, PARTS[0], "s2") is None
        assert await receive(journal, PARTS[1], "s2") is None
        assert (await begin(journal, PARTS[2], "s2")).text == LONG_TEXT


async def test_two_phones_with_one_reference_are_not_mixed(journal: Journal) -> None:
    theirs = [replace(part, source=OTHER_PHONE) for part in PARTS]
    for part in (PARTS[0], theirs[1], PARTS[1], theirs[0]):
        assert await receive(journal, part) is None
    assert (await begin(journal, PARTS[2])).source == PHONE
    assert (await begin(journal, theirs[2])).source == OTHER_PHONE


async def test_two_texts_with_one_reference_are_not_mixed(journal: Journal) -> None:
    other = [replace(part, data_coding=GSM, payload=b"%d" % part.part) for part in PARTS]
    for part in (PARTS[0], PARTS[1], other[0], other[1]):
        assert await receive(journal, part) is None
    assert (await begin(journal, other[2])).text == "123"


async def test_a_text_that_stays_incomplete_is_answered_as_unreadable(journal: Journal, clock: Clock) -> None:
    await receive(journal, PARTS[0])
    clock.now += PATIENCE - 1
    await receive(journal, PARTS[1])
    clock.now += PATIENCE - 1
    assert await journal.tidy() == 0
    clock.now += 1
    assert await journal.tidy() == 1
    (conversation,) = await journal.unfinished()
    assert (conversation.source, conversation.text) == (PHONE, None)
    await finish(journal, conversation)
    assert await journal.tidy() == 0


async def test_octets_that_are_no_text_are_kept_as_unreadable(journal: Journal) -> None:
    assert (await begin(journal, replace(SEGMENT, data_coding=UCS_2, payload=b"\xd8\x00"))).text is None


async def test_a_full_journal_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal", limit=2) as journal:
        first = await begin(journal)
        await receive(journal, PARTS[0])
        with pytest.raises(JournalFull):
            await receive(journal, PARTS[1])
        await finish(journal, first)
        await receive(journal, PARTS[1])
        assert [await journal.unfinished(), await journal.counters()] == [[], {"hit": 1}]


async def test_of_a_finished_conversation_only_the_count_remains(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal") as journal:
        conversation = await begin(journal)
        assert TEXT.encode() in on_disk(tmp_path)
        await finish(journal, conversation)
        await journal.tidy()
        held = on_disk(tmp_path)
        assert await journal.counters() == {"hit": 1}
    for personal in (PHONE, TEXT, "جواب"):
        assert personal.encode() not in held


async def test_of_a_conversation_in_doubt_the_rest_goes_when_the_doubt_does(tmp_path: Path, clock: Clock) -> None:
    async with Journal.open(tmp_path / "journal", clock=clock) as journal:
        await finish(journal, await begin(journal, session="s1"), session="s2")
        clock.now += DOUBT - 1
        await journal.tidy()
        assert await journal.unfinished() == []
        assert "جواب".encode() not in on_disk(tmp_path)
        assert TEXT.encode() in on_disk(tmp_path)
        clock.now += 1
        await journal.tidy()
        assert TEXT.encode() not in on_disk(tmp_path)
        assert PHONE.encode() not in on_disk(tmp_path)
        assert await begin(journal, session="s3")


@pytest.mark.parametrize("end", [end for end in End if end is not End.DONE])
async def test_what_was_given_up_is_counted_by_its_reason(journal: Journal, end: End) -> None:
    for _ in range(2):
        conversation = await begin(journal)
        await journal.answered(conversation.id, outcome="hit", reply="جواب")
        await journal.finish(conversation.id, end, session_id="s1")
    assert await journal.counters() == {f"given_up.{end}": 2}


async def test_writes_at_the_same_time_are_all_kept(journal: Journal) -> None:
    segments = [replace(SEGMENT, payload=b"%d" % number) for number in range(200)]
    await asyncio.gather(*(journal.receive(segment, session_id="s1") for segment in segments))
    conversations = await journal.unfinished(limit=300)
    assert [conversation.text for conversation in conversations] == [str(number) for number in range(200)]


async def test_a_transaction_that_fails_stores_nothing_and_tells_all_who_share_it(journal: Journal) -> None:
    first = await begin(journal)
    broken = replace(SEGMENT, payload=None)  # type: ignore[arg-type]
    results = await asyncio.gather(
        *(journal.receive(segment, session_id="s1") for segment in (SEGMENT, broken, SEGMENT)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 3
    assert await journal.unfinished() == [first]
    second = await begin(journal)
    assert await journal.unfinished() == [first, second]


async def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal") as journal:
        await begin(journal)
        assert modes(tmp_path) == {0o600}


async def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and longer than the header of one" * 100)
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    for name in ("text", "other", "no/such/folder"):
        with pytest.raises(JournalError, match=name):
            async with Journal.open(tmp_path / name):
                pass


def test_nothing_personal_is_shown() -> None:
    conversation = Conversation(1, PHONE, 0.0, "", "hit", "جواب", 0, TEXT)
    for personal in (PHONE, TEXT, "جواب"):
        assert personal not in repr(conversation)
