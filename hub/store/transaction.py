"""One transaction on the register: the SQL behind `hub.domain.ports.Transaction`."""

import operator
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.alarm import Alarm, AlarmKind
from hub.domain.audit import AuditEntry
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.documents import Document
from hub.domain.feed import Propagation, Receipt
from hub.domain.filters import Comparison, Filter
from hub.domain.history import Version
from hub.domain.node import Enrolment, Node, NodeChange, NodeState, Role
from hub.domain.notice import Notice
from hub.domain.offender import Conviction, Offender, OffenderStatus, Transfer
from hub.domain.ports import Consequence, PastRequest, RequestKey, Write
from hub.domain.revision import Revision
from hub.domain.search import Wanted
from hub.store import audit, bodies, search
from hub.store.access_requests import StoreAccessRequests
from hub.store.consents import StoreConsents
from hub.store.rows import insert_rows, taking_rows
from hub.store.tables import (
    consequence,
    disclosure_policy,
    enrolment,
    feed_head,
    lookup_alarm,
    node,
    node_certificate,
    node_change,
    node_progress,
    notice,
    offender,
    offender_number,
    offender_revision,
    request,
    set_aside,
)
from hub.store.vault import Vault

_CURRENT = (offender.c.id == offender_revision.c.offender_id) & (offender.c.version == offender_revision.c.version)

CERTIFICATES_OF_A_NODE = 16
"""Enough for renewals, few enough to stay in every worker's memory."""

_EPOCH = select(feed_head.c.epoch).scalar_subquery().label("epoch")

# What every write runs is built once: building a statement costs as much as running it.
_PAST_REQUESTS = select(request, _EPOCH).where(
    request.c.node_id == bindparam("node"), request.c.request_id.in_(bindparam("ids", expanding=True))
)
_CLAIM_NUMBERS = (
    pg_insert(offender_number)
    .on_conflict_do_nothing()
    .returning(offender_number.c.number_index, offender_number.c.offender_id)
)
_SET_ASIDE = select(set_aside).where(set_aside.c.conviction_index.in_(bindparam("indexes", expanding=True)))
# What belongs together in one statement: half of what a short transaction takes is going to and fro.
_INSERT_VERSIONS = insert_rows(offender_revision, "versions")
_ADD_VERSIONS = taking_rows(_INSERT_VERSIONS, "versions")
_ENTER = taking_rows(
    f"""WITH entered AS ({insert_rows(offender, "offenders")}), written AS ({_INSERT_VERSIONS}) {search.WRITE}""",
    "offenders",
    "versions",
    "searched",
)
# Ascending, so that the feed keeps the order of writes; with bits drawn by lot, and not by the database, so that one
# that was restored gives none of the ids again that it gave before. Of 63 bits: 2^40 writes, one chance in 8 million.
_LOT_BITS = 23
_BOOK = taking_rows(
    f"""
    WITH written AS (
        INSERT INTO outbox (id, changes) VALUES ((nextval('outbox_id_seq') << {_LOT_BITS}) | :lot, :changes)
        RETURNING id
    ), booked AS (
        INSERT INTO request (node_id, request_id, digest, record_id, version, outbox_id)
        SELECT node_id, request_id, digest, record_id, version, written.id
        FROM json_populate_recordset(NULL::request, :requests), written
    ), audited AS ({audit.append_statement(":accesses")})
    SELECT written.id, epoch FROM written, feed_head
    """,
    "changes",
    "requests",
    "accesses",
)
_APPEND_AUDIT = taking_rows(audit.append_statement(":accesses"), "accesses")
_INSERT_CONSEQUENCES = insert(consequence)
_NEWEST_POLICY = select(disclosure_policy).order_by(disclosure_policy.c.version.desc()).limit(1)
# What lists can be narrowed by.
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "status": case(
        (offender.c.wrapped_key.is_(None), "SEALED"),
        (offender.c.merged_into.is_not(None), "MERGED"),
        else_="REGISTERED",
    ),
    "owner": offender.c.owner,
    "create_time": offender.c.created_at,
    "update_time": offender_revision.c.changed_at,
}
_COMPARE = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.LESS: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.MORE: operator.gt,
    Comparison.AT_LEAST: operator.ge,
}
# Where the newest version of a record stands in the feed: nowhere while it waits, and before the oldest event once the
# feed has dropped it.
_PLACE = text("""
    SELECT epoch, written.outbox_id, CASE
        WHEN event.seq IS NOT NULL THEN event.seq
        WHEN NOT EXISTS (SELECT FROM outbox WHERE id = written.outbox_id) THEN (SELECT min(seq) - 1 FROM feed_event)
    END AS seq
    FROM offender
    JOIN (
        SELECT record_id, version, outbox_id FROM request
        UNION ALL SELECT record_id, version, outbox_id FROM consequence
    ) AS written ON written.record_id = offender.id AND written.version = offender.version
    LEFT JOIN feed_event AS event USING (outbox_id)
    CROSS JOIN feed_head
    WHERE offender.id = :id
""")


def select_offenders() -> Select[*tuple[Any, ...]]:
    """Columns from which `open_row` makes a record; add the join to the wanted versions."""
    return select(
        offender.c.id,
        offender.c.wrapped_key,
        offender.c.merged_into,
        offender.c.created_at,
        offender_revision.c.owner,
        offender_revision.c.version,
        offender_revision.c.body,
        offender_revision.c.changed_at,
        offender_revision.c.transfer_receiver,
        offender_revision.c.transfer_due_at,
    )


def select_current() -> Select[*tuple[Any, ...]]:
    """Records as they are now."""
    return select_offenders().join_from(offender, offender_revision, _CURRENT)


def select_versions(versions: Collection[tuple[UUID, int]]) -> Select[*tuple[Any, ...]]:
    """Records as they were at these versions."""
    return (
        select_offenders()
        .join_from(offender, offender_revision)
        .where(tuple_(offender_revision.c.offender_id, offender_revision.c.version).in_(versions))
    )


def open_row(vault: Vault, row: Any) -> Offender:
    """The record of a row of `select_offenders`."""
    return bodies.open_offender(
        vault,
        row.wrapped_key,
        id=row.id,
        owner=row.owner,
        version=row.version,
        body=row.body,
        created_at=row.created_at,
        changed_at=row.changed_at,
        transfer=_transfer(row),
        merged_into=row.merged_into,
    )


def _transfer(row: Any) -> Transfer | None:
    """The open proposal in a version of a record, if it has one."""
    if row.transfer_receiver is None:
        return None
    return Transfer(row.id, row.owner, row.transfer_receiver, row.transfer_due_at)


def _open_version(vault: Vault, row: Any) -> Version:
    cause = bodies.open_cause(
        vault, row.wrapped_key, id=row.id, version=row.version, actor=row.actor, method=row.method, why=row.why
    )
    return Version(open_row(vault, row), cause)


def select_notices() -> Select[*tuple[Any, ...]]:
    """Columns from which `open_notice_row` makes a notice."""
    return select(notice, offender.c.wrapped_key).join_from(notice, offender)


def open_notice_row(vault: Vault, row: Any) -> Notice:
    """The notice of a row of `select_notices`."""
    return bodies.open_notice(
        vault,
        row.wrapped_key,
        id=row.id,
        offender_id=row.offender_id,
        recorder=row.recorder,
        body=row.body,
        created_at=row.created_at,
    )


def select_nodes() -> Select[*tuple[Any, ...]]:
    """Nodes with the end of their newest certificate, and why they have their state."""
    certificate = node_certificate.alias()
    newest = select(func.max(certificate.c.expires_at)).where(certificate.c.node_id == node.c.id).scalar_subquery()
    reason = (
        select(node_change.c.reason)
        .where(node_change.c.node_id == node.c.id, node_change.c.state.is_not(None))
        .order_by(node_change.c.changed_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(node, newest.label("certificate_expires_at"), reason.label("state_reason"))


# Asked by each worker twice a second: to build it costs more than to run it.
_NODES_BY_SERIAL = select_nodes().add_columns(node_certificate.c.serial).join(node_certificate)


def node_of(row: Any) -> Node:
    """The node of a row of `select_nodes`."""
    return Node(
        id=row.id,
        display_name=row.display_name,
        role=Role(row.role),
        jurisdiction=row.jurisdiction,
        state=NodeState(row.state),
        created_at=row.created_at,
        certificate_expires_at=row.certificate_expires_at,
        state_reason=row.state_reason or "",
    )


_SHARING = select_current().where(offender.c.id.in_(search.SHARING))


class StoreTransaction:
    """See `hub.domain.ports.Transaction`, which states what each method promises."""

    def __init__(self, connection: AsyncConnection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault

    @property
    def access_requests(self) -> StoreAccessRequests:
        return StoreAccessRequests(self._connection, self._vault)

    @property
    def consents(self) -> StoreConsents:
        return StoreConsents(self._connection, self._vault)

    async def past_requests(self, node_id: str, ids: Collection[UUID]) -> Mapping[UUID, PastRequest]:
        rows = await self._connection.execute(_PAST_REQUESTS, {"node": node_id, "ids": list(ids)})
        return {
            row.request_id: PastRequest(row.digest, row.record_id, row.version, Revision(row.epoch, row.outbox_id))
            for row in rows
        }

    async def insert_offenders(self, versions: Sequence[Version]) -> set[UUID]:
        facts = {v.offender.id: v.offender.facts for v in versions if v.offender.facts}
        if not facts:
            return set()
        claims = [(self._vault.index(each), id) for id, stated in facts.items() for each in stated.person.documents]
        claimed = await self._claim(claims)
        entered = facts.keys() - {id for index, id in claims if (index, id) not in claimed}
        # Only now: whoever enters a number waits for the transaction that seals the record which has it.
        convictions = {id: list(product(facts[id].person.documents, facts[id].convictions)) for id in entered}
        past = await self.set_aside([entry for entries in convictions.values() for entry in entries])
        entered -= {id for id, entries in convictions.items() if not past.keys().isdisjoint(entries)}
        await self._release(index for index, id in claimed if id not in entered)
        keys = {id: bodies.new_key(self._vault, id) for id in entered}
        new = [v for v in versions if v.offender.id in entered]
        if new:
            offenders = [
                {
                    "id": o.id,
                    "owner": o.owner,
                    "version": o.version,
                    "wrapped_key": keys[o.id].wrapped,
                    "created_at": o.created_at,
                }
                for o in (v.offender for v in new)
            ]
            written = [self._version_row(v, keys[v.offender.id].plain) for v in new]
            searched = search.rows(self._vault, [v.offender for v in new])
            await self._connection.execute(_ENTER, {"offenders": offenders, "versions": written, "searched": searched})
        return entered

    async def _claim(self, claims: Collection[tuple[bytes, UUID]]) -> set[tuple[bytes, UUID]]:
        """Gives numbers, by their indexes, to records, as far as nobody has them; tells which."""
        # In the order of the unique index, so that two imports of the same people cannot wait for each other in a ring.
        rows = [{"number_index": index, "offender_id": id} for index, id in sorted(claims)]
        found = await self._connection.execute(_CLAIM_NUMBERS, rows) if rows else ()
        return {(row.number_index, row.offender_id) for row in found}

    async def _release(self, indexes: Iterable[bytes]) -> None:
        """Takes numbers, by their indexes, from who has them."""
        if given := list(indexes):
            await self._connection.execute(delete(offender_number).where(offender_number.c.number_index.in_(given)))

    async def set_aside(
        self, convictions: Collection[tuple[Document, Conviction]]
    ) -> Mapping[tuple[Document, Conviction], UUID]:
        if not convictions:
            return {}
        indexes = {entry: self._vault.conviction_index(entry[0], entry[1].case) for entry in convictions}
        rows = await self._connection.execute(_SET_ASIDE, {"indexes": list(indexes.values())})
        found = {row.conviction_index: row for row in rows}
        return {
            entry: found[index].offender_id
            for entry, index in indexes.items()
            if index in found and entry[1].conviction_date <= found[index].day
        }

    async def insert_set_aside(self, offender_id: UUID, document: Document, conviction: Conviction, day: date) -> None:
        index = self._vault.conviction_index(document, conviction.case)
        statement = pg_insert(set_aside).values(conviction_index=index, offender_id=offender_id, day=day)
        newest = {"offender_id": offender_id, "day": func.greatest(set_aside.c.day, day)}
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[set_aside.c.conviction_index], set_=newest)
        )

    async def holders(self, documents: Collection[Document]) -> Mapping[Document, Offender]:
        indexes = {self._vault.index(document): document for document in documents}
        by = offender_number.c
        query = select_current().add_columns(by.number_index).join(offender_number, by.offender_id == offender.c.id)
        rows = await self._connection.execute(query.where(by.number_index.in_(indexes)))
        return {indexes[row.number_index]: open_row(self._vault, row) for row in rows}

    async def offenders_at(self, versions: Collection[tuple[UUID, int]]) -> Mapping[UUID, Offender]:
        if not versions:
            return {}
        rows = await self._connection.execute(select_versions(versions))
        return {row.id: open_row(self._vault, row) for row in rows}

    async def offender(self, offender_id: UUID, *, lock: bool = False) -> Offender | None:
        if lock:
            # By itself, since a join that waits for a lock would go on with the versions it saw before.
            await self._connection.execute(select(offender.c.id).where(offender.c.id == offender_id).with_for_update())
        query = select_current().where(offender.c.id == offender_id)
        row = (await self._connection.execute(query)).one_or_none()
        return open_row(self._vault, row) if row else None

    async def list_offenders(
        self, *, owner: str | None, before: UUID | None, limit: int, where: Filter = ()
    ) -> Sequence[Offender]:
        query = select_current().order_by(offender.c.id.desc()).limit(limit)
        for each in where:
            query = query.where(_COMPARE[each.comparison](_COLUMNS[each.field], each.value))
        if owner is not None:
            query = query.where(offender.c.owner == owner)
        if before is not None:
            # Of both, or a merge of the two tables begins with versions that are on the pages before.
            query = query.where(offender.c.id < before, offender_revision.c.offender_id < before)
        return [open_row(self._vault, row) for row in await self._connection.execute(query)]

    async def search(self, wanted: Wanted, *, limit: int) -> tuple[Sequence[Offender], bool]:
        ids, more = await search.find(self._connection, self._vault, wanted, limit)
        rows = await self._connection.execute(select_current().where(offender.c.id.in_(ids)))
        return [open_row(self._vault, row) for row in rows], more

    async def sharing(self, keys: Collection[str]) -> Sequence[Offender]:
        await search.by_index(self._connection)
        rows = await self._connection.execute(_SHARING, {"keys": search.hashed(self._vault, keys)})
        return [open_row(self._vault, row) for row in rows]

    async def merged_into(self, offender_id: UUID) -> Sequence[Offender]:
        merged = offender.c.merged_into == offender_id
        await self._connection.execute(select(offender.c.id).where(merged).order_by(offender.c.id).with_for_update())
        rows = await self._connection.execute(select_current().where(merged))
        return [open_row(self._vault, row) for row in rows]

    async def update_offender(self, before: Offender, version: Version) -> bool:
        changed = version.offender
        had, has = self._numbers(before), self._numbers(changed)
        gained = [(index, changed.id) for index in has - had]
        if len(await self._claim(gained)) < len(gained):
            return False
        await self._release(had - has)
        statement = (
            update(offender)
            .where(offender.c.id == changed.id, offender.c.version == changed.version - 1)
            .values(version=changed.version, owner=changed.owner, merged_into=changed.merged_into)
            .returning(offender.c.wrapped_key)
        )
        if before.facts and not changed.facts:
            statement = statement.values(erased_numbers=[self._vault.index(cnic) for cnic in before.facts.person.cnics])
        if changed.status is OffenderStatus.SEALED:
            # The key is in no other place: with it every version of the record and its notices are gone.
            statement = statement.values(wrapped_key=None)
        wrapped = (await self._connection.execute(statement)).scalar_one()
        key = bodies.unwrap(self._vault, changed.id, wrapped) if wrapped else None
        await self._connection.execute(_ADD_VERSIONS, {"versions": [self._version_row(version, key)]})
        await search.write_keys(self._connection, self._vault, [changed])
        return True

    def _numbers(self, record: Offender) -> set[bytes]:
        """The blind indexes of a record's documents; one that is sealed or merged has none."""
        return {self._vault.index(each) for each in record.facts.person.documents} if record.facts else set()

    def _version_row(self, version: Version, key: bytes | None) -> dict[str, Any]:
        """A row of `offender_revision`, sealed with the record's key."""
        o, cause = version.offender, version.cause
        return {
            "offender_id": o.id,
            "version": o.version,
            "owner": o.owner,
            "body": bodies.seal_facts(self._vault, key, o.id, o.version, o.facts) if key and o.facts else None,
            "changed_at": o.updated_at,
            "actor": cause.node,
            "method": cause.method,
            "transfer_receiver": o.transfer.receiver if o.transfer else None,
            "transfer_due_at": o.transfer.due_at if o.transfer else None,
            "why": bodies.seal_why(self._vault, key, o.id, o.version, cause) if key and cause.given else None,
        }

    async def versions(self, offender_id: UUID, *, before: int | None, limit: int) -> Sequence[Version]:
        of = offender_revision.c
        query = select_offenders().add_columns(of.actor, of.method, of.why).join_from(offender, offender_revision)
        query = query.where(offender.c.id == offender_id).order_by(of.version.desc()).limit(limit)
        if before is not None:
            query = query.where(of.version < before)
        return [_open_version(self._vault, row) for row in await self._connection.execute(query)]

    async def list_transfers(
        self, *, parties: Collection[str], overdue_at: datetime | None, before: UUID | None, limit: int
    ) -> Sequence[Transfer]:
        of = offender_revision.c
        query = select(offender.c.id, of.owner, of.transfer_receiver, of.transfer_due_at)
        query = query.join_from(offender, offender_revision, _CURRENT).where(of.transfer_receiver.is_not(None))
        for node_id in parties:
            query = query.where((of.owner == node_id) | (of.transfer_receiver == node_id))
        if overdue_at is not None:
            query = query.where(of.transfer_due_at < overdue_at)
        if before is not None:
            query = query.where(offender.c.id < before)
        rows = await self._connection.execute(query.order_by(offender.c.id.desc()).limit(limit))
        return [transfer for row in rows if (transfer := _transfer(row))]

    async def propagation(self, offender_id: UUID) -> Propagation | None:
        place = (await self._connection.execute(_PLACE, {"id": offender_id})).first()
        if place is None:
            return None
        query = (
            select_nodes()
            .add_columns(node_progress.c.seq, node_progress.c.acknowledged_at)
            .outerjoin(node_progress)
            .where(node.c.role.in_([role for role in Role if role.follows]), node.c.state != NodeState.REVOKED)
            .order_by(node.c.id)
        )
        receipts = [
            Receipt(
                node_of(row),
                applied=place.seq is not None and row.seq is not None and row.seq >= place.seq,
                acknowledged_at=row.acknowledged_at,
            )
            for row in await self._connection.execute(query)
        ]
        return Propagation(Revision(place.epoch, write=place.outbox_id), receipts)

    async def insert_notice(self, recorded: Notice) -> None:
        assert recorded.facts, "facts are erased, never written so"
        query = select(offender.c.wrapped_key).where(offender.c.id == recorded.offender_id)
        wrapped = (await self._connection.execute(query)).scalar_one()
        key = bodies.unwrap(self._vault, recorded.offender_id, wrapped)
        await self._connection.execute(
            insert(notice).values(
                id=recorded.id,
                offender_id=recorded.offender_id,
                recorder=recorded.recorder,
                body=bodies.seal_notice(self._vault, key, recorded.id, recorded.facts),
                created_at=recorded.created_at,
            )
        )

    async def notice(self, notice_id: UUID) -> Notice | None:
        query = select_notices().where(notice.c.id == notice_id)
        row = (await self._connection.execute(query)).one_or_none()
        return open_notice_row(self._vault, row) if row else None

    async def list_notices(self, offender_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Notice]:
        itself = (offender.c.id == offender_id) & offender.c.merged_into.is_(None)
        records = select(offender.c.id).where(itself | (offender.c.merged_into == offender_id))
        query = select_notices().where(notice.c.offender_id.in_(records), offender.c.wrapped_key.is_not(None))
        if before is not None:
            query = query.where(notice.c.id < before)
        rows = await self._connection.execute(query.order_by(notice.c.id.desc()).limit(limit))
        return [open_notice_row(self._vault, row) for row in rows]

    async def list_nodes(self, *, after: str, limit: int) -> Sequence[Node]:
        query = select_nodes().where(node.c.id > after).order_by(node.c.id).limit(limit)
        return [node_of(row) for row in await self._connection.execute(query)]

    async def node(self, node_id: str) -> Node | None:
        row = (await self._connection.execute(select_nodes().where(node.c.id == node_id))).one_or_none()
        return node_of(row) if row else None

    async def insert_node(self, new: Node) -> None:
        await self._connection.execute(
            insert(node).values(
                id=new.id,
                display_name=new.display_name,
                role=new.role,
                jurisdiction=new.jurisdiction,
                state=new.state,
                created_at=new.created_at,
            )
        )

    async def lock_nodes(self, ids: Collection[str]) -> Mapping[str, Node]:
        # In one order, so that two who throw each other out cannot wait for each other in a ring. The lock lets others
        # refer to the nodes meanwhile, as every write of a record does.
        lock = select(node.c.id).where(node.c.id.in_(ids)).order_by(node.c.id).with_for_update(key_share=True)
        await self._connection.execute(lock)
        rows = await self._connection.execute(select_nodes().where(node.c.id.in_(ids)))
        return {row.id: node_of(row) for row in rows}

    async def past_node_change(self, actor: str, request_id: UUID) -> NodeChange | None:
        query = select(node_change).where(node_change.c.actor == actor, node_change.c.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        state = NodeState(row.state) if row.state else None
        return NodeChange(row.actor, row.request_id, row.digest, row.node_id, state, row.reason, row.changed_at)

    async def insert_node_change(self, change: NodeChange) -> None:
        await self._connection.execute(
            insert(node_change).values(
                actor=change.actor,
                request_id=change.request_id,
                digest=change.digest,
                node_id=change.node_id,
                state=change.state,
                reason=change.reason,
                changed_at=change.changed_at,
            )
        )
        if change.state:
            await self._connection.execute(update(node).where(node.c.id == change.node_id).values(state=change.state))

    async def replace_enrolment(self, node_id: str, token_hash: bytes, expires_at: datetime) -> None:
        unused = delete(enrolment).where(enrolment.c.node_id == node_id, enrolment.c.certificate == "")
        await self._connection.execute(unused)
        await self._connection.execute(
            insert(enrolment).values(token_hash=token_hash, node_id=node_id, certificate="", expires_at=expires_at)
        )

    async def lock_enrolment(self, token_hash: bytes) -> Enrolment | None:
        query = select(enrolment).where(enrolment.c.token_hash == token_hash).with_for_update()
        row = (await self._connection.execute(query)).one_or_none()
        found = await self.node(row.node_id) if row else None
        return Enrolment(found, row.expires_at, row.csr_hash, row.certificate) if row and found else None

    async def update_enrolment(self, token_hash: bytes, csr_hash: bytes, certificate: str) -> None:
        statement = update(enrolment).where(enrolment.c.token_hash == token_hash)
        await self._connection.execute(statement.values(csr_hash=csr_hash, certificate=certificate))

    async def insert_certificate(self, node_id: str, serial: int, expires_at: datetime) -> None:
        # The same one can come twice, from a CA that is asked by files.
        statement = pg_insert(node_certificate).on_conflict_do_nothing(index_elements=[node_certificate.c.serial])
        await self._connection.execute(statement.values(node_id=node_id, serial=serial, expires_at=expires_at))
        of_node = node_certificate.c.node_id == node_id
        newest = select(node_certificate.c.serial).where(of_node).order_by(node_certificate.c.enrolled_at.desc())
        surplus = delete(node_certificate).where(
            of_node, node_certificate.c.serial.not_in(newest.limit(CERTIFICATES_OF_A_NODE))
        )
        await self._connection.execute(surplus)

    async def nodes_by_serial(self) -> Mapping[int, Node]:
        return {int(row.serial): node_of(row) for row in await self._connection.execute(_NODES_BY_SERIAL)}

    async def disclosure_policy(self) -> DisclosurePolicy:
        return _policy_of((await self._connection.execute(_NEWEST_POLICY)).one())

    async def past_disclosure_policy(self, updater: str, request_id: UUID) -> tuple[bytes, DisclosurePolicy] | None:
        query = select(disclosure_policy).where(
            disclosure_policy.c.updater == updater, disclosure_policy.c.request_id == request_id
        )
        row = (await self._connection.execute(query)).one_or_none()
        return (row.digest, _policy_of(row)) if row else None

    async def insert_disclosure_policy(self, policy: DisclosurePolicy, request: RequestKey) -> None:
        await self._connection.execute(
            insert(disclosure_policy).values(
                version=policy.version,
                rules=[[role, channel, mode] for (role, channel), mode in policy.modes.items()],
                under_appeal=policy.under_appeal,
                updater=policy.updater,
                request_id=request.id,
                digest=request.digest,
                updated_at=policy.updated_at,
            )
        )

    async def insert_alarms(self, alarms: Sequence[Alarm]) -> None:
        # One can come twice, where it was not known whether it was written.
        statement = pg_insert(lookup_alarm).on_conflict_do_nothing(index_elements=[lookup_alarm.c.id])
        await self._connection.execute(statement, [asdict(alarm) for alarm in alarms])

    async def list_alarms(self, *, before: UUID | None, limit: int) -> Sequence[Alarm]:
        query = select(lookup_alarm).order_by(lookup_alarm.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(lookup_alarm.c.id < before)
        rows = await self._connection.execute(query)
        return [
            Alarm(r.id, AlarmKind(r.kind), r.node_id, r.officer_id, r.checks, r.began_at, r.raised_at) for r in rows
        ]

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        await self._connection.execute(_APPEND_AUDIT, {"accesses": audit.accesses(entries)})

    async def book(self, writes: Sequence[Write], consequences: Sequence[Consequence] = ()) -> Revision:
        changes = [_change(each.record) for each in (*writes, *consequences)]
        requests = [
            {
                "node_id": write.audit.caller.node.id,
                "request_id": write.request.id,
                "digest": write.request.digest,
                "record_id": write.record.id,
                "version": _version(write.record),
            }
            for write in writes
        ]
        accesses = audit.accesses(each.audit for each in (*writes, *consequences))
        lot = secrets.randbits(_LOT_BITS)
        parameters = {"lot": lot, "changes": changes, "requests": requests, "accesses": accesses}
        outbox_id, epoch = (await self._connection.execute(_BOOK, parameters)).one()
        if consequences:
            of_others = [{"record_id": c.record.id, "version": c.record.version} for c in consequences]
            await self._connection.execute(_INSERT_CONSEQUENCES, [{**of, "outbox_id": outbox_id} for of in of_others])
        return Revision(epoch, outbox_id)


def _policy_of(row: Any) -> DisclosurePolicy:
    modes = {(Role(role), Channel(channel)): DisclosureMode(mode) for role, channel, mode in row.rules}
    return DisclosurePolicy(modes, row.under_appeal, row.version, row.updater, row.updated_at)


def _change(record: Offender | Notice) -> list[str | int]:
    kind = "offender" if isinstance(record, Offender) else "notice"
    return [kind, str(record.id), _version(record)]


def _version(record: Offender | Notice) -> int:
    return record.version if isinstance(record, Offender) else 1
