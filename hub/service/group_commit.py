"""Group commit: many callers, few transactions."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import Generic, TypeVar

from hub.domain.errors import Reason, Refused

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Commits what arrives together in one transaction.

    While one transaction is under way, what arrives gathers for the next: each item waits for two commits at most, and
    the database sees as few transactions as it can keep up with.

    Args:
        commit: writes items in one transaction and gives the result of each, in their order.
        batch: items in a transaction at most.
        waiting: items that may wait; beyond it, callers are refused.
    """

    def __init__(self, commit: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, batch: int, waiting: int) -> None:
        self._commit = commit
        self._batch = batch
        self._limit = waiting
        self._waiting: deque[tuple[T, asyncio.Future[R], Context]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The result of an item, once it is durable. What its caller no longer waits for is written all the same.

        Raises:
            Refused: HUB_UNAVAILABLE when too many items wait.
            Exception: what `commit` raises for this item.
        """
        if len(self._waiting) >= self._limit:
            raise Refused(Reason.HUB_UNAVAILABLE, "the hub is overloaded; retry later")
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result, copy_context()))
        if self._task is None:
            self._next()
        return await result

    def _next(self, _: object = None) -> None:
        self._task = None
        if self._waiting:
            # As a part of the first one's call, so that a trace leads to the transaction.
            self._task = asyncio.create_task(self._work(), context=self._waiting[0][2])
            self._task.add_done_callback(self._next)

    async def _work(self) -> None:
        size = min(self._batch, len(self._waiting))
        await self._settle([self._waiting.popleft()[:2] for _ in range(size)])

    async def _settle(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._commit([item for item, _ in batch])
        except Exception as error:  # whatever it is, those who wait must get it
            if len(batch) > 1 and not (isinstance(error, Refused) and error.reason is Reason.DATABASE_UNAVAILABLE):
                # Nobody is to suffer for another's item.
                for one in batch:
                    await self._settle([one])
                return
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
        else:
            for (_, result), value in zip(batch, results, strict=True):
                if not result.done():
                    result.set_result(value)
