"""Group commit: many accesses, few transactions."""

import asyncio
from collections.abc import Sequence

from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused
from hub.domain.ports import Database

_BATCH = 500
_WAITING = 5000


class AuditWriter:
    """Writes audit entries; `append` returns when its entry is durable.

    While one transaction commits, the entries that arrive gather for the next: each waits for two commits at most, and
    the database sees as few transactions as it can keep up with.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: asyncio.Queue[tuple[AuditEntry, asyncio.Future[None]]] = asyncio.Queue(_WAITING)

    async def append(self, entry: AuditEntry) -> None:
        """Returns once the entry is durable.

        Raises:
            Refused: DATABASE_UNAVAILABLE; HUB_UNAVAILABLE when too many entries wait.
        """
        written = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((entry, written))
        except asyncio.QueueFull:
            raise Refused(Reason.HUB_UNAVAILABLE, "the hub is overloaded; retry later") from None
        await written

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            error = await self._write([entry for entry, _ in batch])
            for _, written in batch:
                # A caller that went away has cancelled its future; its entry is written all the same.
                if written.done():
                    continue
                if error:
                    written.set_exception(error)
                else:
                    written.set_result(None)

    async def _write(self, entries: Sequence[AuditEntry]) -> Exception | None:
        try:
            async with self._database.transaction() as tx:
                await tx.append_audit(entries)
        except Exception as error:  # whatever it is, those who wait must get it, and the next batch its chance
            return error
        return None
