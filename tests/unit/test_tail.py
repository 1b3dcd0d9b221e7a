"""How old a worker takes its data for, when clocks are set and the feed stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from hub.domain.feed import BEGINNING, Head
from hub.feed.tail import Tail

START = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = UUID(int=1)


class Register:
    """An empty register on a database whose clock can be set; a feed that can stand still; and a steady clock."""

    def __init__(self) -> None:
        self.now, self.steady = START, 1000.0
        self.as_of = START - timedelta(seconds=0.2)
        self.stalled = False
        self.looked = asyncio.Event()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.steady += seconds

    async def head(self) -> Head:
        self.looked.set()
        return Head(EPOCH, BEGINNING, self.as_of, age=self.now - self.as_of, waiting=False)

    async def sequence(self) -> int:
        if not self.stalled:
            self.as_of = self.now
        return 0

    async def checked_records(self) -> AsyncIterator[Any]:
        for records in ():
            yield records

    async def looked_at(self) -> None:
        """Returns after the tail has looked anew."""
        for _ in range(3):  # the first can have been under way, and one round can look twice
            self.looked.clear()
            await self.looked.wait()


@asynccontextmanager
async def tail_of(register: Register) -> AsyncIterator[Tail]:
    store: Any = register
    tail = Tail(store, lambda _: None, lambda: register.steady)
    index: Any = NoIndex()
    await tail.start(index)
    following = asyncio.create_task(tail.run())
    await register.looked_at()
    yield tail
    following.cancel()
    await asyncio.wait({following})


class NoIndex:
    def clear(self) -> None:
        pass

    def load(self, records: Any) -> None:
        pass


@pytest.mark.parametrize("set_back", [1, 3, 7.9, 8, 8.5, 3600])
async def test_a_clock_that_is_set_back_makes_no_data_younger(set_back: float) -> None:
    register = Register()
    async with tail_of(register) as tail:
        assert tail.age() <= 0.5
        register.stalled = True
        register.pass_time(8)
        await register.looked_at()
        assert tail.age() >= 8
        register.now -= timedelta(seconds=set_back)
        for waited in range(10):
            await register.looked_at()
            assert tail.age() >= 8 + waited
            register.pass_time(1)
        register.stalled = False
        await register.looked_at()
        assert tail.age() <= 0.5, "and it recovers by itself"


async def test_a_worker_that_begins_takes_no_sign_of_life_from_before() -> None:
    """It cannot know by which clock that time was told."""
    register = Register()
    register.stalled = True
    async with tail_of(register) as tail:
        assert tail.age() == float("inf")
        register.stalled = False
        await register.looked_at()
        assert tail.age() <= 0.5
