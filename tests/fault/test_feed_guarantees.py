"""The feed's promises, while what keeps them is killed, paused, cut off, compacted and restored; a checker judges."""

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from nsor_client import AsyncClient, FailedPrecondition
from tests.support import certificates
from tests.support.fault_proxy import FaultProxy
from tests.support.feed_checker import BEGINNING, EPOCH_CHANGED, History, Write, check
from tests.support.feed_load import Recorder
from tests.support.fragile_hub import FragileHub
from tests.support.people import fresh_offender

PAUSE_SECONDS = 2
"""Longer than PostgreSQL lets a paused sequencer keep its lock."""

SILENCE_SECONDS = 90
"""Longer than any fault lasts, on a slow machine: by then a watcher has a line again, and a bookmark."""

COMPACT = """
    WITH dropped AS (DELETE FROM feed_event WHERE committed_at < to_timestamp(%s) - interval '1 ms' RETURNING outbox_id)
    UPDATE feed_head SET compacted = greatest(compacted, (SELECT max(outbox_id) FROM dropped))
    RETURNING (SELECT count(*) FROM dropped)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FragileHub]:
    with FragileHub(tmp_path / "state") as hub:
        yield hub


@dataclass(frozen=True)
class Run:
    """The size of a run; it ends when there were so many events, and each of the faults so many times.

    Attributes:
        bulk: how many import row by row besides: many events at little cost.
    """

    events: int
    writers: int
    watchers: int
    faults: Sequence[str]
    rounds: int = 1
    bulk: int = 0


NETWORK = ("cut", "refuse", "stall", "delay")
PROCESSES = ("kill_worker", "pause_worker", "kill_database", "pause_database")
SHORT = Run(events=500, writers=4, watchers=6, faults=("cut", "kill_worker", "stall", "compact"))
MEDIUM = Run(events=5_000, writers=6, watchers=12, faults=(*NETWORK, *PROCESSES, "compact"), bulk=2)
LONG = Run(events=100_000, writers=8, watchers=20, faults=MEDIUM.faults, rounds=6, bulk=8)


async def test_no_watcher_misses_anything_whatever_breaks(hub: FragileHub) -> None:
    await run(hub, SHORT)


@pytest.mark.fault
@pytest.mark.timeout(600)
async def test_no_watcher_misses_anything_whatever_breaks_at_length(hub: FragileHub) -> None:
    await run(hub, MEDIUM)


@pytest.fixture
def time_enough(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("runs with --long, up to an hour")


@pytest.mark.fault
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("time_enough")
async def test_no_watcher_misses_anything_in_the_long_run(hub: FragileHub) -> None:
    await run(hub, LONG)


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_what_a_restore_has_lost_is_never_taken_for_what_came_since(hub: FragileHub) -> None:
    """Everybody goes on as if nothing was: watchers with tokens, writers with retries, workers with their data."""
    length = replace(SHORT, faults=())
    before = await run(hub, replace(length, events=300))
    hub.back_up()
    lost = await run(hub, replace(length, events=600), before.writes)
    offender, request_id = fresh_offender(), str(uuid4())
    async with hub.async_client("punjab-police") as police:
        written = await police.create_offender(offender, request_id=request_id)
        hub.restore()

        # As many events as were lost and more, so that the numbers of the lost ones are given again.
        tokens = [stream.reached for stream in lost.streams]
        after = await run(hub, replace(length, events=1200), before.writes, tokens[-length.watchers :])

        assert EPOCH_CHANGED in {stream.refused for stream in after.streams}
        assert EPOCH_CHANGED not in {stream.refused for stream in [*before.streams, *lost.streams]}
        with pytest.raises(FailedPrecondition, match="restored"):
            await police.check_cnic(offender.person.cnic, at_least_revision=written.revision)
        again = await police.create_offender(offender, request_id=request_id)
        assert again.offender.name != written.offender.name, "it is simply new"
        assert again == await police.create_offender(offender, request_id=request_id)


async def run(
    hub: FragileHub, length: Run, writes: Sequence[Write] = (), tokens: Sequence[str] = (BEGINNING, "")
) -> History:
    """Writes, watches and makes trouble, all at once, and has the checker judge what was seen.

    Args:
        writes: all that are in the register already.
        tokens: those that watchers hold.
    """
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # shown when the test fails
    recorder = Recorder(writes)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        for_watchers, for_writers = [await stack.enter_async_context(FaultProxy(hub.target)) for _ in range(2)]
        trouble = Trouble(hub, [for_watchers, for_writers], recorder, random.Random(seed))

        async def node(target: str) -> AsyncClient:
            _, credentials = certificates.new_node(hub)
            return await stack.enter_async_context(AsyncClient(target, credentials))

        def enough() -> bool:
            return recorder.events >= length.events and trouble.over

        # A beginning, so that every revision that the feed names is one of an event.
        await recorder.write_one(await node(hub.target))
        async with asyncio.TaskGroup() as watching:
            watching.create_task(recorder.read_all(await node(hub.target)))
            for number in range(length.watchers):
                name, client = f"watcher {number}", await node(for_watchers.target)
                chance, pause = random.Random(f"{seed}/{name}"), 0 if number % 4 else 0.1
                after = tokens[number % len(tokens)]
                watching.create_task(recorder.watch(name, client, chance, after=after, pause=pause))
            async with asyncio.TaskGroup() as writing:
                clients = [await node(for_writers.target) for _ in range(length.writers)]
                for number, client in enumerate(clients):
                    writing.create_task(recorder.write(client, random.Random(f"{seed}/{number}"), enough))
                for _ in range(length.bulk):
                    # Nodes of their own, since writes of one node share transactions, and so events.
                    writing.create_task(recorder.import_row_by_row(await node(for_writers.target), enough))
                writing.create_task(trouble.make(length))
            if "compact" in length.faults:
                # Whoever comes from so long ago takes a snapshot, or the rest of what a worker has in memory.
                late = recorder.watch("late", await node(hub.target), random.Random(seed), after=BEGINNING)
                watching.create_task(late)
            # Watchers take one now and then, by lot.
            await recorder.snapshot("at the end", await node(hub.target))
            recorder.finish()
    history = recorder.history(dropped=hub.sql("SELECT min(seq) - 1 FROM feed_event")[0][0])
    print(f"{recorder.events} events, {len(history.writes)} writes, {len(history.streams)} streams, ", end="")
    print(f"{len(history.snapshots)} snapshots, {time.monotonic() - began:.0f} s; {' '.join(trouble.made)}")
    assert check(history, SILENCE_SECONDS) == []
    [(effects,)] = hub.sql("SELECT (SELECT count(*) FROM offender_revision) + (SELECT count(*) FROM notice)")
    assert effects == len(history.writes), "each write took effect once, however often it was sent"
    # So that it was a test: watchers have left and resumed; those at a broken line resume within a stream.
    assert len(history.streams) > length.watchers
    return history


class Trouble:
    """Breaks what the hub is made of and the lines to it, one at a time.

    Attributes:
        made: what was done.
        over: whether all was done.
    """

    def __init__(
        self, hub: FragileHub, proxies: Sequence[FaultProxy], recorder: Recorder, chance: random.Random
    ) -> None:
        self.made: list[str] = []
        self.over = False
        self._hub = hub
        self._proxies = proxies
        self._recorder = recorder
        self._chance = chance

    async def make(self, length: Run) -> None:
        """Makes every kind of trouble, in any order, round after round."""
        try:
            for _ in range(length.rounds):
                for kind in self._chance.sample(length.faults, len(length.faults)):
                    await asyncio.sleep(self._chance.uniform(0.1, 1))
                    await getattr(self, f"_{kind}")()
                    self.made.append(kind)
        finally:
            self.over = True

    async def _cut(self) -> None:
        for proxy in self._proxies:
            proxy.cut()

    async def _refuse(self) -> None:
        for proxy in self._proxies:
            proxy.refusing = True
            proxy.cut()
        await asyncio.sleep(self._chance.uniform(0.5, 3))
        for proxy in self._proxies:
            proxy.refusing = False

    async def _stall(self) -> None:
        for proxy in self._proxies:
            proxy.stall()
        await asyncio.sleep(PAUSE_SECONDS)
        for proxy in self._proxies:
            if self._chance.random() < 0.5:
                proxy.cut()  # what was swallowed never comes
            proxy.flow()

    async def _delay(self) -> None:
        for proxy in self._proxies:
            proxy.delay = 0.2
        await asyncio.sleep(PAUSE_SECONDS)
        for proxy in self._proxies:
            proxy.delay = 0

    async def _kill_worker(self) -> None:
        (await self._a_worker()).kill()

    async def _pause_worker(self) -> None:
        worker = await self._a_worker()
        worker.suspend()
        await asyncio.sleep(PAUSE_SECONDS)
        worker.resume()

    async def _a_worker(self) -> psutil.Process:
        """One of two, so that one remains; the supervisor starts a killed one less and less often."""
        while len(workers := self._hub.serving_workers()) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)
        return self._chance.choice(workers)

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._hub.postgres.kill)

    async def _pause_database(self) -> None:
        with self._hub.database_standing_still():
            await asyncio.sleep(PAUSE_SECONDS)

    async def _compact(self) -> None:
        """Drops what the one who reads all has; the hub itself goes by age, which could drop more."""
        while True:
            await asyncio.sleep(0.1)
            try:
                if self._hub.sql(COMPACT, self._recorder.latest) != [(0,)]:
                    return
            except psycopg.OperationalError:
                pass  # the fault before is not over
