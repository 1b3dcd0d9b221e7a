"""The feed's tables: from what was committed, in any order, to one gap-free sequence.

A sequence number taken while a transaction runs is no order of commits: a reader of the highest number so far would
skip those committed later with a lower one. So a writer only leaves an outbox row; afterwards a sequencer, one at a
time by the lock on the head row, gives numbers to what it sees. Rows of one record keep their order, since each
write takes its outbox id while it holds the record's lock.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import Violation, invalid
from hub.domain.feed import (
    Change,
    Event,
    FederationStatus,
    Head,
    IndexedOffender,
    Outbox,
    Place,
    Progress,
    Snapshot,
    first_changes,
)
from hub.domain.lookup import CheckedRecord
from hub.domain.node import NodeState, Role
from hub.domain.reconciliation import Found
from hub.domain.revision import compacted_revision, lost_revision
from hub.store.checked import checked_records
from hub.store.database import PostgresDatabase
from hub.store.tables import (
    feed_event,
    feed_head,
    node,
    node_outbox,
    node_progress,
    notice,
    offender,
    offender_revision,
    outbox,
    reconciliation,
)
from hub.store.transaction import (
    node_of,
    open_notice_row,
    open_row,
    select_current,
    select_nodes,
    select_notices,
    select_versions,
)
from hub.store.vault import Vault

_SEQUENCE_LIMIT = 1000
_COMPACT_LIMIT = 10_000
_SNAPSHOT_PART = 200
OUTBOXES_OF_A_NODE = 1000

_HEAD: LiteralString = """
    SELECT epoch, seq, coalesce((SELECT outbox_id FROM feed_event WHERE feed_event.seq = feed_head.seq), 0),
        as_of, clock_timestamp(), EXISTS (SELECT FROM outbox)
    FROM feed_head
"""
_HEAD_PLACE = text("""
    SELECT epoch, feed_head.seq, coalesce(outbox_id, 0) AS write, as_of FROM feed_head LEFT JOIN feed_event USING (seq)
""")
_LOCK_HEAD = text("SELECT seq, clock_timestamp() AS now FROM feed_head FOR UPDATE SKIP LOCKED")
_MOVE = text("""
    WITH moved AS (
        DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT :limit) RETURNING id, changes
    )
    INSERT INTO feed_event (seq, outbox_id, changes, committed_at)
    SELECT :seq + row_number() OVER (ORDER BY id), id, changes, (SELECT clock_timestamp()) FROM moved
""")
_FIND_WRITE = text("""
    SELECT (SELECT seq FROM feed_event WHERE outbox_id = :write) AS seq,
        EXISTS (SELECT FROM outbox WHERE id = :write) AS waiting,
        :write <= (SELECT compacted FROM feed_head) AS compacted
""")
_COMPACT = text("""
    WITH dropped AS (
        DELETE FROM feed_event WHERE seq IN (
            SELECT seq FROM feed_event
            WHERE committed_at < clock_timestamp() - :age AND seq < (SELECT seq FROM feed_head)
            ORDER BY seq LIMIT :limit
        ) RETURNING outbox_id
    )
    UPDATE feed_head SET compacted = greatest(compacted, (SELECT max(outbox_id) FROM dropped))
    RETURNING (SELECT count(*) FROM dropped)
""")
_KEEP_OUTBOX = text("""
    INSERT INTO node_outbox (node_id, outbox_id, complete_until)
    SELECT :node, :outbox, :until
    WHERE (SELECT count(*) FROM node_outbox WHERE node_id = :node AND outbox_id <> :outbox) < :most
    ON CONFLICT (node_id, outbox_id) DO UPDATE SET complete_until = excluded.complete_until
""")
_ADVANCE = text("UPDATE feed_head SET seq = :seq, as_of = :as_of")


class FeedStore:
    """Reads and sequences the feed."""

    def __init__(self, database: PostgresDatabase, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def head(self) -> Head:
        """How far the feed is sequenced, and whether something waits to be."""
        epoch, seq, write, as_of, now, waiting = await self._database.peek(_HEAD)
        return Head(epoch, Place(seq, write), as_of, age=now - as_of, waiting=waiting)

    async def sequence(self) -> int:
        """Moves what is committed from the outbox to the feed, unless another process is at it.

        Returns the number of events moved. Afterwards the head's `as_of` is a time before which every commit is in
        the feed: the clock is read before the outbox, so whatever was committed until then was seen. For the commit
        time of events it is read again, once, since some were committed in between.
        """
        async with self._database.connection() as connection:
            head = (await connection.execute(_LOCK_HEAD)).one_or_none()
            if head is None:
                return 0
            parameters = {"limit": _SEQUENCE_LIMIT, "seq": head.seq}
            moved = (await connection.execute(_MOVE, parameters)).rowcount
            if moved == _SEQUENCE_LIMIT:
                # More may wait, so only the order is known yet, not the time.
                await connection.execute(text("UPDATE feed_head SET seq = :seq"), {"seq": head.seq + moved})
            else:
                await connection.execute(_ADVANCE, {"seq": head.seq + moved, "as_of": head.now})
        return moved

    async def events(self, after: Place, limit: int) -> Sequence[Event]:
        """Events after a place, in order, with the records as each event left them.

        Args:
            limit: changes in all, unless the first event alone has more.

        Raises:
            Refused: REVISION_COMPACTED: the feed does not hold the place any more. REVISION_EPOCH_CHANGED: this feed
                never had it.
        """
        # From the event before the place: it must be there, and be the one that was meant.
        query = select(feed_event).where(feed_event.c.seq >= after.seq).order_by(feed_event.c.seq).limit(limit + 1)
        async with self._database.connection() as connection:
            found: Sequence[Any] = (await connection.execute(query)).all()
            if after.seq:
                _require_place(after, found)
                found = found[1:]
            elif found and found[0].seq != 1:
                raise compacted_revision()
            rows = first_changes(found, limit)
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
        """The number that the event of a write got; None while it is not sequenced.

        Raises:
            Refused: REVISION_COMPACTED: its event is not kept any more. REVISION_EPOCH_CHANGED: there is no such write.
        """
        if not write:
            return 0
        async with self._database.connection() as connection:
            row = (await connection.execute(_FIND_WRITE, {"write": write})).one()
        if row.seq is None and not row.waiting:
            raise compacted_revision() if row.compacted else lost_revision()
        return row.seq

    async def compact(self, older_than: timedelta) -> int:
        """Removes events from the beginning of the feed, some at a time. The newest event always stays.

        Returns the number removed.
        """
        async with self._database.connection() as connection:
            parameters = {"age": older_than, "limit": _COMPACT_LIMIT}
            return (await connection.execute(_COMPACT, parameters)).scalar_one()

    async def acknowledge(self, node_id: str, seq: int, at: datetime) -> None:
        """Keeps how far a node has applied the feed; never goes back, nor ahead of the feed."""
        known = func.least(seq, select(feed_head.c.seq).scalar_subquery())
        statement = insert(node_progress).values(node_id=node_id, seq=known, acknowledged_at=at)
        latest = statement.on_conflict_do_update(
            index_elements=[node_progress.c.node_id],
            set_={"seq": func.greatest(node_progress.c.seq, statement.excluded.seq), "acknowledged_at": at},
        )
        async with self._database.connection() as connection:
            await connection.execute(latest)

    async def keep_outbox(self, node_id: str, outbox: Outbox) -> None:
        """Keeps how far an outbox of a node has come, in place of what it reported before.

        Raises:
            Refused: INVALID_FIELD: the node has too many.
        """
        parameters = {"node": node_id, "outbox": outbox.id, "until": outbox.complete_until, "most": OUTBOXES_OF_A_NODE}
        async with self._database.connection() as connection:
            kept = (await connection.execute(_KEEP_OUTBOX, parameters)).rowcount
        if not kept:
            problem = f"must be one of {OUTBOXES_OF_A_NODE} of the node at most: close those that are not used"
            raise invalid(Violation("outbox_id", "TOO_MANY", problem))

    async def forget_outbox(self, node_id: str, outbox_id: UUID) -> None:
        """Forgets an outbox of a node."""
        mine = (node_outbox.c.node_id == node_id) & (node_outbox.c.outbox_id == outbox_id)
        async with self._database.connection() as connection:
            await connection.execute(delete(node_outbox).where(mine))

    async def status(self) -> FederationStatus:
        """How far the feed is; and, by its id, each node that told how far it is, or is a police node not revoked."""
        known = func.coalesce(node_progress.c.seq, 0)
        later = feed_event.alias()
        oldest = (
            select(later.c.committed_at).where(later.c.seq > known).order_by(later.c.seq).limit(1).scalar_subquery()
        )
        slowest = (
            select(node_outbox)
            .distinct(node_outbox.c.node_id)
            .order_by(node_outbox.c.node_id, node_outbox.c.complete_until)
            .subquery()
        )
        query = (
            select_nodes()
            .add_columns(
                known.label("seq"),
                feed_event.c.outbox_id,
                node_progress.c.acknowledged_at,
                func.coalesce(func.clock_timestamp() - oldest, timedelta(0)).label("behind"),
                reconciliation,
                slowest.c.outbox_id.label("slowest_outbox"),
                slowest.c.complete_until,
            )
            .outerjoin(node_progress)
            .outerjoin(feed_event, feed_event.c.seq == node_progress.c.seq)
            .outerjoin(reconciliation)
            .outerjoin(slowest, slowest.c.node_id == node.c.id)
            .where(
                or_(
                    node_progress.c.node_id.is_not(None),
                    reconciliation.c.node_id.is_not(None),
                    slowest.c.node_id.is_not(None),
                    and_(node.c.role == Role.POLICE, node.c.state != NodeState.REVOKED),
                )
            )
            .order_by(node.c.id)
        )
        async with self._database.connection() as connection:
            # Before the head, so that no node is ahead of it.
            rows = (await connection.execute(query)).all()
            head = (await connection.execute(_HEAD_PLACE)).one()
        nodes = [
            Progress(
                node_of(row),
                seq=row.seq,
                write=row.outbox_id if row.seq else 0,
                acknowledged_at=row.acknowledged_at,
                behind=row.behind,
                found=_found(row) if row.reconciled_at else None,
                slowest_outbox=Outbox(row.slowest_outbox, row.complete_until) if row.slowest_outbox else None,
            )
            for row in rows
        ]
        return FederationStatus(head.epoch, Place(head.seq, head.write), head.as_of, nodes)

    async def keep_found(self, node_id: str, found: Found) -> None:
        """Keeps what a node found when it compared registers, in place of what it found before."""
        statement = insert(reconciliation).values(
            node_id=node_id,
            records=found.records,
            only_at_hub=found.only_at_hub,
            only_at_node=found.only_at_node,
            reconciled_at=found.reconciled_at,
        )
        latest = statement.on_conflict_do_update(
            index_elements=[reconciliation.c.node_id], set_=dict(statement.excluded.items())
        )
        async with self._database.connection() as connection:
            await connection.execute(latest)

    async def snapshot_at_head(self, owner: str | None = None) -> AsyncIterator[Snapshot]:
        """The register exactly as it was at the head of the feed, in parts of up to 200 records or notices.

        What is committed but has no number yet is left out: the feed will bring it.

        Args:
            owner: of the records; without one all records come, and all notices after them.
        """
        async with self._database.connection() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            # A caller on a poor line may take this long over each part.
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '30s'"))
            head = (await connection.execute(_HEAD_PLACE)).one()
            waiting = (await connection.execute(select(outbox.c.changes))).scalars().all()
            changes = [(kind, UUID(id), version) for row in waiting for kind, id, version in row]
            # The version before the first that waits; 0 for a record that itself waits.
            before: dict[UUID, int] = {}
            for kind, id, version in changes:
                if kind == "offender":
                    before[id] = min(version - 1, before.get(id, version - 1))
            hidden = {id for kind, id, _ in changes if kind == "notice"}
            part = partial(Snapshot, Place(head.seq, head.write), head.as_of)
            yield part()
            settled = select_current().where(offender.c.id.not_in(before)) if before else select_current()
            earlier = [(id, version) for id, version in before.items() if version]
            for query in [settled.order_by(offender.c.id), *([select_versions(earlier)] if earlier else [])]:
                if owner is not None:
                    query = query.where(offender_revision.c.owner == owner)
                result = await connection.stream(query.execution_options(yield_per=_SNAPSHOT_PART))
                async for rows in result.partitions():
                    yield part(offenders=tuple(open_row(self._vault, row) for row in rows))
            if owner is not None:
                return
            notices = select_notices().where(offender.c.wrapped_key.is_not(None)).order_by(notice.c.id)
            if hidden:
                notices = notices.where(notice.c.id.not_in(hidden))
            result = await connection.stream(notices.execution_options(yield_per=_SNAPSHOT_PART))
            async for rows in result.partitions():
                yield part(notices=tuple(open_notice_row(self._vault, row) for row in rows))

    async def checked_records(self) -> AsyncIterator[Sequence[CheckedRecord]]:
        """What checks need of every record as it is now, in batches; all of one moment."""
        async with self._database.connection() as connection:
            async for batch in checked_records(connection, self._vault):
                yield batch

    async def _records(
        self, connection: AsyncConnection, keys: Collection[tuple[str, UUID, int]]
    ) -> dict[tuple[str, UUID, int], Change]:
        records: dict[tuple[str, UUID, int], Change] = {}
        if versions := [(id, version) for kind, id, version in keys if kind == "offender"]:
            query = select_versions(versions).add_columns(offender.c.erased_numbers)
            for row in await connection.execute(query):
                records["offender", row.id, row.version] = _indexed(self._vault, row)
        if ids := [id for kind, id, _ in keys if kind == "notice"]:
            for row in await connection.execute(select_notices().where(notice.c.id.in_(ids))):
                records["notice", row.id, 1] = open_notice_row(self._vault, row)
        return records


def _indexed(vault: Vault, row: Any) -> IndexedOffender:
    """The record of a row of `select_offenders` with `erased_numbers`."""
    record = open_row(vault, row)
    indexes = map(vault.index, record.facts.person.cnics) if record.facts else row.erased_numbers
    return IndexedOffender(tuple(indexes), record)


def _found(row: Any) -> Found:
    return Found(row.records, row.only_at_hub, row.only_at_node, row.reconciled_at)


def _require_place(place: Place, found: Sequence[Any]) -> None:
    """Raises unless the events found, from the place's own on, begin with that."""
    # The newest event is always kept.
    if not found or (found[0].seq == place.seq and found[0].outbox_id != place.write):
        raise lost_revision()
    if found[0].seq != place.seq:
        raise compacted_revision()
