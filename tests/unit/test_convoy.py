"""Who goes with whom, on clocks that the test moves."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hub.transport.convoy import Convoy

Run = Callable[[Callable[["World"], Coroutine[Any, Any, None]]], None]


class World:
    """A process whose steady clock, and whose use of the processor, the test decides.

    Attributes:
        passed: what the stages were given, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.used = 0.0
        self.passed: list[tuple[str, str]] = []
        self.convoy = Convoy(self._first, self._second, used=lambda: self.used)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    def _first(self, call: str) -> None:
        self.passed.append(("first", call))
        if call.startswith("bad"):
            raise ValueError(call)
        if call == "broken":
            raise StopIteration  # which no future takes

    def _second(self, call: str) -> None:
        self.passed.append(("second", call))

    async def begin(self, *calls: str) -> list[asyncio.Task[None]]:
        """Calls that have come, and gone as far as they can."""
        tasks = [asyncio.create_task(self.convoy.join(call)) for call in calls]
        await self.settle()
        return tasks

    async def settle(self) -> None:
        """Returns when all that can go on has gone on."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def be_busy(self, share: float) -> None:
        """The convoy learns of what part of a core this process uses."""
        await self.begin("before")
        self.now += 1
        self.used += share
        await self.begin("after")
        self.passed.clear()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def tell() -> None:
            await story(World(monkeypatch))

        asyncio.run(tell())

    return run


def test_in_a_process_at_rest_nobody_waits(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(0.4)
        for call in ("a", "b", "c"):
            [task] = await world.begin(call)
            assert task.done()

    run(story)


@pytest.mark.parametrize(("share", "wait"), [(0.6, 0.003), (0.9, 0.012), (1.5, 0.012)])
def test_in_a_busy_process_calls_wait_for_each_other(run: Run, share: float, wait: float) -> None:
    async def story(world: World) -> None:
        await world.be_busy(share)
        tasks = await world.begin("a")
        world.now += wait * 0.9
        tasks += await world.begin("b")
        assert not any(task.done() for task in tasks)
        world.now += wait * 0.2
        await world.settle()
        assert all(task.done() for task in tasks)
        assert world.passed == [("first", "a"), ("first", "b"), ("second", "a"), ("second", "b")]

    run(story)


def test_who_comes_long_after_the_last_ones_does_not_wait(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(1)
        world.now += 0.013
        [task] = await world.begin("a")
        assert task.done()

    run(story)


def test_what_a_stage_raises_is_of_one_call_alone(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(1)
        good, bad, other = await world.begin("good", "bad", "other")
        world.now += 0.013
        await world.settle()
        assert good.exception() is None
        assert other.exception() is None
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert ("second", "bad") not in world.passed

    run(story)


def test_who_gives_up_while_waiting_holds_nobody_up_and_passes_no_stage(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(1)
        gone, stays = await world.begin("gone", "stays")
        gone.cancel()
        world.now += 0.013
        await world.settle()
        assert gone.cancelled()
        assert stays.done()
        assert world.passed == [("first", "stays"), ("second", "stays")]

    run(story)


def test_of_very_many_some_go_after_others_on_the_loop(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(1)
        tasks = await world.begin(*map(str, range(150)))
        world.now += 0.013
        await world.settle()
        assert all(task.done() for task in tasks)
        kinds = "".join(stage[0] for stage, _ in world.passed)
        assert kinds == "f" * 64 + "s" * 64 + "f" * 64 + "s" * 64 + "f" * 22 + "s" * 22

    run(story)


def test_where_stages_are_broken_off_nobody_goes_on_and_nobody_waits_for_ever(run: Run) -> None:
    async def story(world: World) -> None:
        await world.be_busy(1)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        tasks = await world.begin("a", "broken", "c")
        world.now += 0.013
        await world.settle()
        assert [type(task.exception()) for task in tasks] == [RuntimeError] * 3
        [later] = await world.begin("d")
        world.now += 0.013
        await world.settle()
        assert later.exception() is None

    run(story)
