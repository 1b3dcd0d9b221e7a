"""The feed's promises, while those who keep them are killed and paused: recorded, and judged by a checker."""

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from nsor_client import AsyncClient
from tests.support import certificates
from tests.support.feed_checker import check
from tests.support.feed_load import Recorder
from tests.support.fragile_hub import FragileHub

PAUSE_SECONDS = 2
"""Longer than PostgreSQL lets a paused sequencer keep its lock."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FragileHub]:
    with FragileHub(tmp_path / "state") as hub:
        yield hub


@dataclass(frozen=True)
class Run:
    """The size of a run; it ends when there were so many events and so many faults."""

    events: int
    writers: int
    watchers: int
    faults: int
    kill_database: bool


SHORT = Run(events=1_500, writers=4, watchers=6, faults=3, kill_database=False)
LONG = Run(events=100_000, writers=8, watchers=20, faults=50, kill_database=True)


async def test_no_watcher_misses_anything_whatever_is_killed(hub: FragileHub) -> None:
    await run(hub, SHORT)


@pytest.fixture
def time_enough(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("runs with --long, up to an hour")


@pytest.mark.fault
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("time_enough")
async def test_no_watcher_misses_anything_in_the_long_run(hub: FragileHub) -> None:
    await run(hub, LONG)


async def run(hub: FragileHub, length: Run) -> None:
    """Writes, watches and makes trouble, all at once, and has the checker judge what was seen."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # shown when the test fails
    recorder, trouble = Recorder(), Trouble(hub, random.Random(seed))

    def enough() -> bool:
        return recorder.events >= length.events and trouble.made >= length.faults

    async with AsyncExitStack() as stack:

        async def node() -> AsyncClient:
            _, credentials = certificates.new_node(hub)
            return await stack.enter_async_context(AsyncClient(hub.target, credentials))

        # A beginning, so that every revision that the feed names is one of an event.
        await recorder.write_one(await node())
        async with asyncio.TaskGroup() as watching:
            for number in range(length.watchers):
                name = f"watcher {number}"
                watching.create_task(recorder.watch(name, await node(), random.Random(f"{seed}/{name}")))
            async with asyncio.TaskGroup() as writing:
                for number in range(length.writers):
                    client = await node()
                    writing.create_task(recorder.write(client, random.Random(f"{seed}/{number}"), enough))
                    for _ in range(3 if length is LONG else 0):
                        writing.create_task(recorder.import_row_by_row(client, enough))
                writing.create_task(trouble.make(enough, also_database=length.kill_database))
            await recorder.finish(await node())
    history = recorder.history
    assert check(history) == []
    # So that it was a test: every watcher was cut off or left, and resumed.
    assert all(sum(stream.watcher == f"watcher {n}" for stream in history.streams) > 1 for n in range(length.watchers))


class Trouble:
    """Kills and pauses what the hub is made of, again and again.

    Attributes:
        made: how often.
    """

    def __init__(self, hub: FragileHub, chance: random.Random) -> None:
        self.made = 0
        self._hub = hub
        self._chance = chance

    async def make(self, enough: Callable[[], bool], *, also_database: bool) -> None:
        """Makes trouble, one at a time."""
        kinds = [self._kill, self._kill, self._pause, *([self._kill_database] if also_database else [])]
        while not enough():
            workers = self._hub.serving_workers()
            if len(workers) == 2:
                await self._chance.choice(kinds)(self._chance.choice(workers))
                self.made += 1
            await asyncio.sleep(self._chance.uniform(0.1, 1))

    async def _kill(self, worker: psutil.Process) -> None:
        worker.kill()

    async def _pause(self, worker: psutil.Process) -> None:
        worker.suspend()
        await asyncio.sleep(PAUSE_SECONDS)
        worker.resume()

    async def _kill_database(self, worker: psutil.Process) -> None:
        await asyncio.to_thread(self._hub.postgres.kill)
