"""Continuous vetting while workers are killed and the database is put back: no alert is lost, none comes twice."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psutil
import pytest

from nsor.lookup.v1.watch_list_pb2 import ALERT_KIND_ON_REGISTER, ALERT_KIND_SET_ASIDE
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, Offender
from nsor_client import AsyncClient, Client, NsorError, OutOfRange
from nsor_client.following import may_pass
from tests.support import certificates
from tests.support.fragile_hub import FragileHub
from tests.support.people import fresh_offender
from tests.support.vetting import alerts_until_now, teacher, told
from tests.support.waiting import eventually

T = TypeVar("T")

PEOPLE = 40
KILLS = 5


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FragileHub]:
    with FragileHub(tmp_path / "state") as hub:
        yield hub


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives in the end: it is made again, as the same request, until the hub answers it."""
    while True:
        try:
            return await call()
        except NsorError as error:
            if not may_pass(error):
                raise
            await asyncio.sleep(0.05)


class Follower:
    """Follows the alerts of a node from the beginning, over every cut.

    Attributes:
        seen: whom alerts were about and what they told, and how often.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._moved = asyncio.Event()
        self._end: float | None = None
        self.seen = Counter[tuple[str, int]]()

    async def run(self) -> None:
        """Until everything was told that was committed when `finish` was called."""
        async with aclosing(self._client.watch_alerts()) as responses:
            async for response in responses:
                self.seen.update(told(response.alerts))
                self._moved.set()
                self._moved = asyncio.Event()
                known = response.as_of_time.ToNanoseconds() / 1e9
                if self._end is not None and known > self._end:
                    return

    async def told(self, name: str, kind: int) -> None:
        """Returns when an alert was seen."""
        while (name, kind) not in self.seen:
            await self._moved.wait()

    def finish(self) -> None:
        """Lets it end."""
        self._end = time.time()


async def kill_workers(hub: FragileHub, chance: random.Random, rounds: Sequence[asyncio.Event]) -> None:
    """Kills a worker by SIGKILL in each round, shortly after the round began; in the last one all there are at once."""
    for began in rounds:
        while len(workers := hub.serving_workers()) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
        began.set()
        await asyncio.sleep(chance.uniform(0, 0.5))
        for worker in workers if began is rounds[-1] else [chance.choice(workers)]:
            with suppress(psutil.NoSuchProcess):
                worker.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_each_alert_comes_once_whoever_is_killed(hub: FragileHub) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    offenders, rounds = [fresh_offender() for _ in range(PEOPLE)], [asyncio.Event() for _ in range(KILLS)]
    _, credentials = certificates.new_node(hub, role="VETTING_AGENCY")
    async with (
        hub.async_client("punjab-police") as police,
        hub.async_client("lahore-high-court") as court,
        AsyncClient(hub.target, credentials) as school,
    ):
        follower = Follower(school)

        async def watch(some: Sequence[Offender]) -> list[str]:
            people, request_id = [teacher(offender.person.cnic) for offender in some], str(uuid4())
            added = await answered(lambda: school.add_watched_people(people, request_id=request_id))
            return list(added.watched_people)

        async def enter(offender: Offender) -> Offender:
            request_id = str(uuid4())
            return (await answered(lambda: police.create_offender(offender, request_id=request_id))).offender

        async def acquit(entered: Offender) -> None:
            request_id, order = str(uuid4()), (1, COURT_EVENT_SET_ASIDE, "2026-06-01", "Crl. Appeal 1/2026")
            await answered(lambda: court.record_court_event(entered, *order, request_id=request_id))

        async def live(number: int, offender: Offender) -> Counter[tuple[str, int]]:
            """Somebody is watched before or after being entered, and every other one is acquitted once that is told."""
            await rounds[number % KILLS].wait()
            await asyncio.sleep(chance.uniform(0, 0.5))
            if number % 4 < 2:
                [name], entered = await watch([offender]), await enter(offender)
            else:
                entered, [name] = await enter(offender), await watch([offender])
            await follower.told(name, ALERT_KIND_ON_REGISTER)
            if number % 2:
                await acquit(entered)
                return Counter({(name, ALERT_KIND_ON_REGISTER): 1, (name, ALERT_KIND_SET_ASIDE): 1})
            return Counter({(name, ALERT_KIND_ON_REGISTER): 1})

        async with asyncio.TaskGroup() as group:
            following = group.create_task(follower.run())
            killing = group.create_task(kill_workers(hub, chance, rounds))
            lives = [group.create_task(live(number, offender)) for number, offender in enumerate(offenders)]
            await asyncio.wait([killing, *lives])
            follower.finish()
            await following
    expected = sum((each.result() for each in lives), Counter[tuple[str, int]]())
    assert follower.seen == expected


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_after_a_restore_a_watcher_is_told_so_and_told_all_again(hub: FragileHub) -> None:
    _, credentials = certificates.new_node(hub, role="VETTING_AGENCY")
    kept, lost = fresh_offender(), fresh_offender()
    with hub.client("punjab-police") as police, Client(hub.target, credentials, timeout=60) as school:
        police.create_offender(kept)
        [of_kept] = school.add_watched_people([teacher(kept.person.cnic)]).watched_people
        hub.back_up()
        school.add_watched_people([teacher(lost.person.cnic)])
        police.create_offender(lost)
        alerts = alerts_until_now(school)
        assert len(alerts) == 2
        before = set(hub.workers())
        hub.restore()
        # Whoever holds the data of a register that was replaced ends, and another takes the place.
        eventually(lambda: len(set(hub.serving_workers()) - before) == 2, 60)

        with pytest.raises(OutOfRange, match="does not have this alert"):
            alerts_until_now(school, alerts[-1].name)
        police.create_offender(lost)
        again = school.add_watched_people([teacher(kept.person.cnic), teacher(lost.person.cnic)])
        assert (again.watched_people[0], again.added_count) == (of_kept, 1), "the roster brings back what was lost"
        assert sorted(told(alerts_until_now(school))) == sorted(
            (name, ALERT_KIND_ON_REGISTER) for name in again.watched_people
        )
