"""The promises of a check, while workers are killed, the database stands still, the feed stalls; a checker judges."""

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest

from nsor.common.v1.officer_pb2 import PURPOSE_INVESTIGATION, OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest, CheckCnicResponse, Outcome
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceStub
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, Offender
from nsor_client import AsyncClient
from tests.support import certificates
from tests.support.feed_load import acknowledged
from tests.support.fragile_hub import FragileHub
from tests.support.lookup_checker import HIT, NO_RECORD, Answer, Change, check
from tests.support.people import fresh_offender
from tests.support.waiting import eventually

BOUND = 1.0
"""Seconds after which data is stale, in these tests."""

STALL_SECONDS = 2.5
"""Long enough for that, and for the database to let go of who holds a lock for longer."""

CALL_SECONDS = 1.5
"""Short, so that those who wait for a revision while the feed stalls go on asking."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FragileHub]:
    environment = {"NSOR_FRESHNESS_BOUND": str(BOUND), "NSOR_NODE_CHECKS_PER_SECOND": "0"}
    with FragileHub(tmp_path / "state", environment=environment) as hub:
        yield hub


@dataclass
class Load:
    """Writers and readers, and what they saw.

    Attributes:
        refused: calls that had no answer.
        stale: those that were told CANNOT_ANSWER.
    """

    hub: FragileHub

    def __post_init__(self) -> None:
        self.changes: dict[str, list[Change]] = {}
        self.answers: list[Answer] = []
        self.officers: dict[str, str] = {}
        self.refused = self.stale = 0
        self.over = False
        self._people: deque[str] = deque(maxlen=12)
        self._revisions: deque[tuple[str, Change | Answer]] = deque(maxlen=30)

    async def write(self, police: AsyncClient, court: AsyncClient, chance: random.Random) -> None:
        """Enters people, and has each acquitted a while later."""
        held: list[Offender] = []
        while not self.over:
            offender, request_id = fresh_offender(), str(uuid4())
            cnic = offender.person.cnic
            self.changes[cnic] = []
            self._people.append(cnic)
            began = time.time()
            entered = await acknowledged(lambda o=offender, r=request_id: police.create_offender(o, request_id=r))
            self._changed(cnic, HIT, began, entered.revision)
            held.append(entered.offender)
            if len(held) > 3:
                record, request_id = held.pop(chance.randrange(len(held))), str(uuid4())
                today, began = datetime.now(UTC).date().isoformat(), time.time()
                lifted = await acknowledged(
                    lambda o=record, r=request_id, day=today: court.record_court_event(
                        o, 1, COURT_EVENT_SET_ASIDE, day, "Order 1/2026", request_id=r
                    )
                )
                self._changed(record.person.cnic, NO_RECORD, began, lifted.revision)
            await asyncio.sleep(chance.uniform(0, 0.1))

    def _changed(self, cnic: str, outcome: str, began: float, revision: str) -> None:
        done = self.changes[cnic]
        done.append(Change(cnic, len(done) + 1, outcome, began, time.time()))
        self._revisions.append((revision, done[-1]))

    async def read(self, name: str, line: grpc.aio.Channel, chance: random.Random) -> None:
        """Checks those who were written of lately; now and then not older than something that was seen."""
        service, number = LookupServiceStub(line), 0
        while not self.over:
            if not self._people:
                await asyncio.sleep(0.01)
                continue
            number += 1
            token, seen = chance.choice(self._revisions) if self._revisions and chance.random() < 0.5 else ("", None)
            officer = OfficerContext(officer_id=f"{name}-{number}", purpose=PURPOSE_INVESTIGATION, fir_number="1/2026")
            person = chance.choice(self._people)
            request = CheckCnicRequest(cnic=person, officer=officer, at_least_revision=token)
            began = time.time()
            try:
                response = await service.CheckCnic(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                self.refused += 1
                await asyncio.sleep(0.05)
                continue
            self._answered(officer.officer_id, person, response, began, seen)

    def _answered(
        self, officer: str, person: str, response: CheckCnicResponse, began: float, seen: Change | Answer | None
    ) -> None:
        outcome = Outcome.Name(response.outcome).removeprefix("OUTCOME_")
        self.officers[officer] = outcome
        if outcome == "CANNOT_ANSWER":
            self.stale += 1
            return
        as_of = response.as_of_time.ToNanoseconds() / 1e9
        answer = Answer(person, outcome, as_of, began, time.time(), seen)
        self.answers.append(answer)
        self._revisions.append((response.revision, replace(answer, after=None)))


@pytest.mark.slow
async def test_no_answer_is_older_than_it_says_whatever_breaks(hub: FragileHub) -> None:
    await run(hub, ["kill_worker", "stall_feed"], readers=6, writers=2)


@pytest.mark.fault
@pytest.mark.timeout(600)
async def test_no_answer_is_older_than_it_says_whatever_breaks_at_length(hub: FragileHub) -> None:
    await run(hub, ["kill_worker", "stall_feed", "pause_database", "kill_database"] * 3, readers=16, writers=4)


async def run(hub: FragileHub, faults: list[str], *, readers: int, writers: int) -> None:
    """Writes, checks and makes trouble, all at once, and has the checker judge."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # shown when the test fails
    chance, load = random.Random(seed), Load(hub)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        court = await stack.enter_async_context(hub.async_client("lahore-high-court"))
        for number in range(writers):
            _, known = certificates.new_node(hub)
            police = await stack.enter_async_context(AsyncClient(hub.target, known))
            group.create_task(load.write(police, court, random.Random(f"{seed}/w{number}")))
        for number in range(readers):
            # Without retries, so that each call leaves at most one audit entry.
            _, known = certificates.new_node(hub)
            options = [("grpc.enable_retries", 0)]
            line = grpc.aio.secure_channel(hub.target, known.channel_credentials(), options)
            await stack.enter_async_context(line)
            group.create_task(load.read(f"r{number}", line, random.Random(f"{seed}/r{number}")))
        for fault in chance.sample(faults, len(faults)):
            await asyncio.sleep(chance.uniform(1, 2))
            await TROUBLE[fault](hub)
        seen = len(load.answers)
        async with asyncio.timeout(60):
            while len(load.answers) < seen + 200:  # noqa: ASYNC110 - it resumes by itself
                await asyncio.sleep(0.1)
        load.over = True
    changes = sum(map(len, load.changes.values()))
    print(f"{len(load.answers)} answers, {load.refused} refused, {load.stale} stale, {changes} changes")
    assert check(load.changes, load.answers, BOUND) == []
    assert {answer.outcome for answer in load.answers} == {HIT, NO_RECORD}
    assert load.stale, "so that it was a test"
    audited = dict(hub.sql(AUDITED))
    assert {officer: audited.get(officer) for officer in load.officers} == {
        officer: [outcome] for officer, outcome in load.officers.items()
    }, "each answer has its one audit entry"
    assert max(map(len, audited.values())) == 1


AUDITED = """
    SELECT officer_id, array_agg(decision) FROM audit_entry WHERE method LIKE '%%/CheckCnic' GROUP BY officer_id
"""


async def kill_worker(hub: FragileHub) -> None:
    """One of two, so that one remains."""
    while len(workers := hub.serving_workers()) < 2:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.1)
    workers[0].kill()


async def stall_feed(hub: FragileHub) -> None:
    """Nobody can sequence while another holds the head of the feed."""
    with await asyncio.to_thread(eventually, partial(_connected, hub)) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT FROM feed_head FOR UPDATE")
        await asyncio.sleep(STALL_SECONDS)
        connection.rollback()


def _connected(hub: FragileHub) -> "psycopg.Connection[tuple[Any, ...]] | None":
    with suppress(psycopg.OperationalError):  # it was killed a moment ago, and recovers
        return hub.connect()
    return None


async def pause_database(hub: FragileHub) -> None:
    """All of PostgreSQL stands still."""
    with hub.database_standing_still():
        await asyncio.sleep(STALL_SECONDS)


async def kill_database(hub: FragileHub) -> None:
    """The supervisor starts it again."""
    await asyncio.to_thread(hub.postgres.kill)


TROUBLE = {each.__name__: each for each in (kill_worker, stall_feed, pause_database, kill_database)}
