"""The feed's tables: from what was committed, in any order, to one gap-free sequence.

A sequence number taken while a transaction runs is no order of commits: a reader of the highest number so far would
skip those committed later with a lower one. So a writer only leaves an outbox row; afterwards a sequencer, one at a
time by the lock on the head row, gives numbers to what it sees. Rows of one record keep their order, since each
write takes its outbox id while it holds the record's lock.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import LiteralString
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.feed import Change, Event, Head, IndexedOffender
from hub.store.database import PostgresDatabase
from hub.store.tables import feed_event, notice, offender
from hub.store.transaction import open_notice_row, open_row, select_current, select_notices, select_versions
from hub.store.vault import Vault

_SEQUENCE_LIMIT = 1000

_HEAD: LiteralString = """
    SELECT epoch, seq, as_of, clock_timestamp(), EXISTS (SELECT FROM outbox) FROM feed_head
"""
_LOCK_HEAD = text("SELECT seq, clock_timestamp() AS now FROM feed_head FOR UPDATE SKIP LOCKED")
_MOVE = text("""
    WITH moved AS (
        DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT :limit) RETURNING id, changes
    )
    INSERT INTO feed_event (seq, outbox_id, changes, committed_at)
    SELECT :seq + row_number() OVER (ORDER BY id), id, changes, :now FROM moved
""")
_ADVANCE = text("UPDATE feed_head SET seq = :seq, as_of = :as_of")


class FeedStore:
    """Reads and sequences the feed."""

    def __init__(self, database: PostgresDatabase, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def head(self) -> Head:
        """How far the feed is sequenced, and whether something waits to be."""
        epoch, seq, as_of, now, waiting = await self._database.peek(_HEAD)
        return Head(epoch, seq, as_of, age=now - as_of, waiting=waiting)

    async def sequence(self) -> int:
        """Moves what is committed from the outbox to the feed, unless another process is at it.

        Returns the number of events moved. Afterwards the head's `as_of` is a time before which every commit is in
        the feed: the clock is read before the outbox, so whatever was committed until then was seen.
        """
        async with self._database.connection() as connection:
            head = (await connection.execute(_LOCK_HEAD)).one_or_none()
            if head is None:
                return 0
            parameters = {"limit": _SEQUENCE_LIMIT, "seq": head.seq, "now": head.now}
            moved = (await connection.execute(_MOVE, parameters)).rowcount
            if moved == _SEQUENCE_LIMIT:
                # More may wait, so only the order is known yet, not the time.
                await connection.execute(text("UPDATE feed_head SET seq = :seq"), {"seq": head.seq + moved})
            else:
                await connection.execute(_ADVANCE, {"seq": head.seq + moved, "as_of": head.now})
        return moved

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Events after a number, in order, with the records as each event left them."""
        query = select(feed_event).where(feed_event.c.seq > after).order_by(feed_event.c.seq).limit(limit)
        async with self._database.connection() as connection:
            rows = (await connection.execute(query)).all()
            keys = [(kind, UUID(id), version) for row in rows for kind, id, version in row.changes]
            records = await self._records(connection, keys)
        return [
            Event(
                seq=row.seq,
                write=row.outbox_id,
                committed_at=row.committed_at,
                changes=tuple(records[kind, UUID(id), version] for kind, id, version in row.changes),
            )
            for row in rows
        ]

    async def seq_of_write(self, write: int) -> int | None:
        """The number that the event of a write got; None while it is not sequenced."""
        query = select(feed_event.c.seq).where(feed_event.c.outbox_id == write)
        async with self._database.connection() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def snapshot(self) -> AsyncIterator[Sequence[IndexedOffender]]:
        """Every record as it is now, in batches, with its blind index."""
        query = select_current().add_columns(offender.c.cnic_index)
        async with self._database.connection() as connection:
            result = await connection.stream(query.execution_options(yield_per=2000))
            async for rows in result.partitions():
                yield [IndexedOffender(row.cnic_index, open_row(self._vault, row)) for row in rows]

    async def _records(
        self, connection: AsyncConnection, keys: Collection[tuple[str, UUID, int]]
    ) -> dict[tuple[str, UUID, int], Change]:
        records: dict[tuple[str, UUID, int], Change] = {}
        if versions := [(id, version) for kind, id, version in keys if kind == "offender"]:
            query = select_versions(versions).add_columns(offender.c.cnic_index)
            for row in await connection.execute(query):
                records["offender", row.id, row.version] = IndexedOffender(row.cnic_index, open_row(self._vault, row))
        if ids := [id for kind, id, _ in keys if kind == "notice"]:
            for row in await connection.execute(select_notices().where(notice.c.id.in_(ids))):
                records["notice", row.id, 1] = open_notice_row(self._vault, row)
        return records
