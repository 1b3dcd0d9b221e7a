"""Rows of a stream, gathered into batches that are worth a transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

T = TypeVar("T")

_LIMIT = 100


async def batches(rows: AsyncIterator[T], key: Callable[[T], str]) -> AsyncIterator[list[T]]:
    """Gathers what has arrived, up to 100 rows, without waiting for more; no key stands in a batch twice.

    While a batch is worked on, the next one gathers: a slow sender gets small batches at once, a fast one large ones.

    Raises:
        Exception: what ended `rows`, once the rows before it were given.
    """
    queue: asyncio.Queue[T | Exception | None] = asyncio.Queue(_LIMIT)

    async def read() -> None:
        try:
            async for row in rows:
                await queue.put(row)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    reader = asyncio.create_task(read())
    try:
        batch: dict[str, T] = {}
        while True:
            if batch and (queue.empty() or len(batch) == _LIMIT):
                yield list(batch.values())
                batch = {}
            row = await queue.get()
            if row is None or isinstance(row, Exception) or key(row) in batch:
                if batch:
                    yield list(batch.values())
                batch = {}
            if isinstance(row, Exception):
                raise row
            if row is None:
                return
            batch[key(row)] = row
    finally:
        reader.cancel()
        await asyncio.wait({reader})
