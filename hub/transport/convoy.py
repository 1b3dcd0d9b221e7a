"""Calls that go on together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_LONGEST_SECONDS = 0.012
_LOOK_SECONDS = 0.1
_MOST = 64
# Of a core: from the first on calls wait for each other, and as long as they may from the second.
_BUSY = 0.5
_FULL = 0.9


class Convoy(Generic[T]):
    """Takes calls through their first stages side by side, and lets them go on together.

    A call that goes by itself finds the processor's caches full of something else, and takes half as much time again as
    one that follows its like (docs/performance.md). So in a busy process calls wait for each other, the longer the
    busier it is, 12 ms at most. To a process that is less busy than half a core, each goes when it comes.

    Args:
        stages: each is done to all before the next one begins. What one raises ends the way of that call alone.
        used: processor time that this process has used, in seconds.
    """

    def __init__(self, *stages: Callable[[T], None], used: Callable[[], float] = time.process_time) -> None:
        self._stages = stages
        self._used = used
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._due = float("-inf")
        self._rest = 0.0
        self._looked = (float("-inf"), 0.0)

    async def join(self, call: T) -> None:
        """Returns when a call has been through the stages.

        Raises:
            Exception: what a stage raised for this call.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_at(max(self._due, loop.time()), self._depart)
        passed: asyncio.Future[None] = loop.create_future()
        self._waiting.append((call, passed))
        await passed

    def _depart(self) -> None:
        loop = asyncio.get_running_loop()
        going, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        if self._waiting:  # after others on the loop have had their turn
            loop.call_soon(self._depart)
        try:
            for stage in self._stages:
                _pass(stage, going)
            for _, passed in going:
                if not passed.done():
                    passed.set_result(None)
        finally:  # nobody waits for ever, nor goes on without having passed
            for _, passed in going:
                if not passed.done():
                    passed.set_exception(RuntimeError("the stages of a convoy were broken off"))
        self._look(loop.time())
        self._due = loop.time() + self._rest

    def _look(self, now: float) -> None:
        """Finds out how busy this process is, ten times a second."""
        then, used_then = self._looked
        if now - then < _LOOK_SECONDS:
            return
        used = self._used()
        busy = (used - used_then) / (now - then)
        self._rest = _LONGEST_SECONDS * min(max(busy - _BUSY, 0) / (_FULL - _BUSY), 1)
        self._looked = (now, used)


def _pass(stage: Callable[[T], None], going: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
    for call, passed in going:
        if not passed.done():  # neither failed before nor given up by its caller
            try:
                stage(call)
            except Exception as error:  # whatever it is, it is this call's
                passed.set_exception(error)
