"""Watch lists: who is watched, and the alerts about them.

One lock for each list, that of its row in `watch_list`: people are put there and taken off, compared with the register,
and told of, one transaction at a time. So alerts are numbered in the order of their commits, and whoever reads those
after a number misses none.

That somebody is to be compared with the register is a mark on the row (`due`). It is made with the row itself, and by
whoever hears of a change under the number; the comparison takes it away with the alerts that it makes, in one
transaction. Rows are locked in the order of the unique index, so that nobody waits for another in a ring.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.audit import AuditEntry
from hub.domain.ports import RequestKey
from hub.domain.vetting import Alert, AlertKind, KeptAlert, ListHead, PastAddition, Watched, WatchedPerson
from hub.store.database import PostgresDatabase
from hub.store.tables import alert, offender, offender_number, vetting_request, watch_list, watched_person
from hub.store.transaction import StoreTransaction, open_row, select_current
from hub.store.vault import Vault

# By an inner query, since an UPDATE locks rows as it comes upon them.
_MARK = """
    UPDATE watched_person SET due = true{} WHERE id IN (
        SELECT id FROM watched_person AS watched WHERE {} ORDER BY cnic_index, node_id FOR UPDATE
    )
"""
_MARK_NUMBERS = text(_MARK.format("", "cnic_index = ANY(:numbers)"))
_ON_REGISTER = "SELECT FROM offender_number WHERE number_index = watched.cnic_index"
_MARK_ALL = text(_MARK.format("", f"node_id = :node_id AND (alert_id IS NOT NULL OR EXISTS ({_ON_REGISTER}))"))
_FORGET_ALERTS = text(_MARK.format(", alert_id = NULL", "alert_id = ANY(:alerts)"))
_HEADS = text("""
    SELECT node_id, seq, EXISTS (SELECT FROM watched_person WHERE node_id = list.node_id AND due) AS due
    FROM watch_list AS list
""")
# The newest one stays, and those by which a node knows of a record that stands.
_DROP_SENT = text("""
    DELETE FROM alert WHERE node_id = :node_id AND sent AND created_at < :before
        AND seq < (SELECT max(seq) FROM alert WHERE node_id = :node_id AND sent)
        AND NOT EXISTS (SELECT FROM watched_person WHERE alert_id = alert.id)
""")
_PERSON = [watched_person.c[name] for name in ("id", "cnic_index", "consent_reference", "reference", "created_at")]
_MERGED_RECORD = offender.alias()
_MERGED = (
    select(func.array_agg(_MERGED_RECORD.c.id)).where(_MERGED_RECORD.c.merged_into == offender.c.id).scalar_subquery()
)
_ALERT = [alert.c[name].label(f"alert_{name}") for name in ("id", "seq", "kind", "offender_id", "sent", "created_at")]


class WatchLists:
    """The watch lists of all nodes."""

    def __init__(self, database: PostgresDatabase, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def mark(self, numbers: Collection[bytes]) -> None:
        """Marks who is to be compared with the register, by the blind indexes of their numbers."""
        async with self._database.connection() as connection:
            await connection.execute(_MARK_NUMBERS, {"numbers": list(numbers)})

    async def mark_all(self, node_id: str) -> None:
        """Marks everybody on a list who is on the register, or of whom it was told."""
        async with self._database.connection() as connection:
            await connection.execute(_MARK_ALL, {"node_id": node_id})

    async def heads(self) -> Sequence[ListHead]:
        """How far every list is."""
        async with self._database.connection() as connection:
            return [ListHead(row.node_id, row.seq, row.due) for row in await connection.execute(_HEADS)]

    async def seq_of(self, node_id: str, alert_id: UUID) -> int | None:
        """The number of an alert; None if the node has no such."""
        query = select(alert.c.seq).where(alert.c.id == alert_id, alert.c.node_id == node_id)
        async with self._database.connection() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    @asynccontextmanager
    async def open(self, node_id: str) -> AsyncGenerator["WatchList"]:
        """The list of a node, made where there is none, locked until the block ends; then it is committed."""
        async with self._database.connection() as connection:
            await connection.execute(pg_insert(watch_list).values(node_id=node_id).on_conflict_do_nothing())
            lock = select(watch_list.c.seq).where(watch_list.c.node_id == node_id).with_for_update()
            seq = (await connection.execute(lock)).scalar_one()
            yield WatchList(connection, self._vault, node_id, seq)


class WatchList:
    """A node's list in one transaction, locked. See `hub.service.watch_lists` for what each method promises."""

    def __init__(self, connection: AsyncConnection, vault: Vault, node_id: str, seq: int) -> None:
        self._connection = connection
        self._vault = vault
        self._node_id = node_id
        self.seq = seq

    async def past_addition(self, request_id: UUID) -> PastAddition | None:
        of = vetting_request.c
        query = select(vetting_request).where(of.node_id == self._node_id, of.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        return PastAddition(row.digest, tuple(row.watched_people), row.added) if row else None

    async def keep_request(self, request: RequestKey, people: Sequence[UUID], added: int, *, since: datetime) -> None:
        of = vetting_request.c
        old = delete(vetting_request).where(of.node_id == self._node_id, of.created_at < since)
        await self._connection.execute(old)
        await self._connection.execute(
            insert(vetting_request).values(
                node_id=self._node_id,
                request_id=request.id,
                digest=request.digest,
                watched_people=list(people),
                added=added,
            )
        )

    async def put(self, people: Sequence[WatchedPerson]) -> Mapping[bytes, UUID]:
        rows = [asdict(person) | {"node_id": self._node_id} for person in people]
        rows.sort(key=lambda row: row["cnic_index"])
        statement = pg_insert(watched_person)
        given = {name: statement.excluded[name] for name in ("consent_reference", "reference")}
        statement = statement.on_conflict_do_update(index_elements=["cnic_index", "node_id"], set_=given)
        put = statement.returning(watched_person.c.cnic_index, watched_person.c.id)
        return {row.cnic_index: row.id for row in await self._connection.execute(put, rows)}

    async def size(self) -> int:
        query = select(func.count()).where(watched_person.c.node_id == self._node_id)
        return (await self._connection.execute(query)).scalar_one()

    async def remove(self, id: UUID) -> WatchedPerson | None:
        is_it = (watched_person.c.id == id) & (watched_person.c.node_id == self._node_id)
        row = (await self._connection.execute(delete(watched_person).where(is_it).returning(*_PERSON))).one_or_none()
        if row:
            await self._connection.execute(delete(alert).where(alert.c.watched_person_id == id, ~alert.c.sent))
        return _person(row) if row else None

    async def people(self, *, after: UUID | None, limit: int) -> Sequence[WatchedPerson]:
        query = select(*_PERSON).where(watched_person.c.node_id == self._node_id)
        if after is not None:
            query = query.where(watched_person.c.id > after)
        rows = await self._connection.execute(query.order_by(watched_person.c.id).limit(limit))
        return [_person(row) for row in rows]

    async def due(self, limit: int) -> Sequence[Watched]:
        query = (
            select(*_PERSON, *_ALERT)
            .outerjoin_from(watched_person, alert, alert.c.id == watched_person.c.alert_id)
            .where(watched_person.c.node_id == self._node_id, watched_person.c.due)
            .order_by(watched_person.c.cnic_index)
            .limit(limit)
            .with_for_update(of=watched_person)
        )
        rows = (await self._connection.execute(query)).all()
        # After the locks: whoever changes the record now marks these rows again, once they are free.
        numbers = [row.cnic_index for row in rows]
        by = offender_number.c
        query = select_current().add_columns(by.number_index, _MERGED.label("merged"))
        query = query.join(offender_number, by.offender_id == offender.c.id)
        found = (await self._connection.execute(query.where(by.number_index.in_(numbers)))).all()
        records = {row.number_index: open_row(self._vault, row) for row in found}
        # Read with the record: in between one could have been merged into it, which would look like its end.
        merged = {id: row.id for row in found for id in row.merged or ()}
        return [
            Watched(_person(row), _alert(row, merged) if row.alert_id else None, records.get(row.cnic_index))
            for row in rows
        ]

    async def settle(self, people: Collection[UUID]) -> None:
        await self._connection.execute(update(watched_person).where(watched_person.c.id.in_(people)).values(due=False))

    async def add_alert(self, person_id: UUID, id: UUID, kind: AlertKind, offender_id: UUID, now: datetime) -> None:
        self.seq += 1
        values = {"id": id, "node_id": self._node_id, "seq": self.seq, "watched_person_id": person_id}
        values |= {"offender_id": offender_id, "kind": kind, "created_at": now}
        await self._connection.execute(insert(alert).values(values))
        await self._connection.execute(
            update(watch_list).where(watch_list.c.node_id == self._node_id).values(seq=self.seq)
        )
        in_force = id if kind is AlertKind.ON_REGISTER else None
        await self._connection.execute(
            update(watched_person).where(watched_person.c.id == person_id).values(alert_id=in_force)
        )

    async def take_back(self, alerts: Collection[UUID]) -> None:
        await self._connection.execute(_FORGET_ALERTS, {"alerts": list(alerts)})
        await self._connection.execute(delete(alert).where(alert.c.id.in_(alerts)))

    async def alerts(self, *, after: int, limit: int) -> Sequence[KeptAlert]:
        query = (
            select(*_PERSON, *_ALERT)
            .join_from(alert, watched_person, watched_person.c.id == alert.c.watched_person_id)
            .where(alert.c.node_id == self._node_id, alert.c.seq > after)
            .order_by(alert.c.seq)
            .limit(limit)
        )
        rows = (await self._connection.execute(query)).all()
        about = offender.alias()
        standing = select_current().where(offender.c.wrapped_key.is_not(None)).add_columns(about.c.id.label("about"))
        standing = standing.join(about, offender.c.id == func.coalesce(about.c.merged_into, about.c.id))
        found = await self._connection.execute(standing.where(about.c.id.in_([row.alert_offender_id for row in rows])))
        records = {row.about: open_row(self._vault, row) for row in found}
        return [KeptAlert(_alert(row), _person(row), records.get(row.alert_offender_id)) for row in rows]

    async def mark_sent(self, alerts: Collection[UUID], entries: Sequence[AuditEntry]) -> None:
        await self._connection.execute(update(alert).where(alert.c.id.in_(alerts)).values(sent=True))
        await self.append_audit(entries)

    async def drop_sent(self, *, before: datetime) -> None:
        await self._connection.execute(_DROP_SENT, {"node_id": self._node_id, "before": before})

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        await StoreTransaction(self._connection, self._vault).append_audit(entries)


def _person(row: Any) -> WatchedPerson:
    return WatchedPerson(row.id, row.cnic_index, row.consent_reference, row.reference, row.created_at)


def _alert(row: Any, merged: Mapping[UUID, UUID] = MappingProxyType({})) -> Alert:
    """An alert of a row; it is about the record into which the one that it was about was merged."""
    return Alert(
        id=row.alert_id,
        seq=row.alert_seq,
        kind=AlertKind(row.alert_kind),
        offender_id=merged.get(row.alert_offender_id, row.alert_offender_id),
        sent=row.alert_sent,
        created_at=row.alert_created_at,
    )
