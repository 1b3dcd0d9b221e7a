"""The SQL behind `hub.domain.ports.AccessRequests`.

What people say in a request, who they are and which FIR it is for, stands sealed under the key of the record that it is
about, and is erased with it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Select, case, insert, select, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.access import AccessGrant, AccessRequest, AccessScope, AccessState, AccessStep, Audience, Fir
from hub.domain.node import Officer
from hub.domain.ports import AccessPlace, RequestKey
from hub.store import bodies
from hub.store.tables import access_request, access_step, node, offender
from hub.store.vault import Vault

_fir: TypeAdapter[Fir] = TypeAdapter(Fir)
_why: TypeAdapter[tuple[Officer | None, str]] = TypeAdapter(tuple[Officer | None, str])

_NEWEST = (access_step.c.access_request_id == access_request.c.id) & (access_step.c.version == access_request.c.version)
_GRANTS = 100


class StoreAccessRequests:
    """See `hub.domain.ports.AccessRequests`, which states what each method promises."""

    def __init__(self, connection: AsyncConnection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault

    async def insert(self, asked: AccessRequest) -> None:
        assert asked.fir, "the FIR is erased, never written so"
        key = await self._key(asked.offender_id)
        await self._connection.execute(
            insert(access_request).values(
                id=asked.id,
                offender_id=asked.offender_id,
                node_id=asked.steps[0].node,
                version=0,
                scopes=sorted(asked.scopes),
                body=self._vault.seal(key, _fir.dump_json(asked.fir), _body_place(asked.id)),
                due_at=asked.due_at,
            )
        )

    async def add_step(self, taken: AccessRequest, request: RequestKey) -> None:
        step, version = taken.steps[-1], len(taken.steps)
        key = await self._key(taken.offender_id)
        why = _why.dump_json((step.officer, step.reason))
        await self._connection.execute(
            insert(access_step).values(
                access_request_id=taken.id,
                version=version,
                state=step.state,
                actor=step.node,
                request_id=request.id,
                digest=request.digest,
                taken_at=step.at,
                scopes=sorted(step.grant.scopes) if step.grant else None,
                expires_at=step.grant.expires_at if step.grant else None,
                why=self._vault.seal(key, why, _why_place(taken.id, version)),
            )
        )
        newest = update(access_request).where(access_request.c.id == taken.id).values(version=version)
        await self._connection.execute(newest)

    async def past(self, node_id: str, request_id: UUID) -> tuple[bytes, AccessRequest] | None:
        of = access_step.c
        query = select(of.access_request_id, of.version, of.digest)
        query = query.where(of.actor == node_id, of.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        [written] = await self._open(_select().where(access_request.c.id == row.access_request_id), row.version)
        return row.digest, written

    async def get(self, id: UUID, audience: Audience, *, lock: bool = False) -> AccessRequest | None:
        if lock:
            of_record = select(offender.c.id).join(access_request).where(access_request.c.id == id)
            await self._connection.execute(of_record.with_for_update(of=offender))
        found = await self._open(_select().where(access_request.c.id == id, *_known_to(audience)))
        return found[0] if found else None

    async def list(
        self, audience: Audience, *, state: AccessState | None, overdue_only: bool, after: AccessPlace, limit: int
    ) -> Sequence[AccessRequest]:
        overdue = (access_step.c.state == AccessState.REQUESTED) & (access_request.c.due_at <= after.as_of)
        stands = offender.c.wrapped_key.is_not(None) & offender.c.merged_into.is_(None)
        query = _select().where(stands, *_known_to(audience))
        if state:
            expired = access_step.c.expires_at <= after.as_of
            query = query.where(case((expired, AccessState.EXPIRED), else_=access_step.c.state) == state)
        if overdue_only:
            query = query.where(overdue)
        if after.id:
            query = query.where(tuple_(overdue, access_request.c.id) < tuple_(after.overdue, after.id))
        return await self._open(query.order_by(overdue.desc(), access_request.c.id.desc()).limit(limit))

    async def in_force(self, node_id: str, offender_id: UUID, now: datetime) -> Sequence[AccessRequest]:
        query = _select().where(
            access_request.c.node_id == node_id,
            access_request.c.offender_id == offender_id,
            access_step.c.state == AccessState.GRANTED,
            access_step.c.expires_at > now,
        )
        return await self._open(query.order_by(access_request.c.id.desc()).limit(_GRANTS))

    async def _key(self, offender_id: UUID) -> bytes:
        """The key of a record that is not sealed."""
        query = select(offender.c.wrapped_key).where(offender.c.id == offender_id)
        return bodies.unwrap(self._vault, offender_id, (await self._connection.execute(query)).scalar_one())

    async def _open(self, query: Select[*tuple[Any, ...]], version: int | None = None) -> Sequence[AccessRequest]:
        """The requests of a query; at a version, or as they are."""
        rows = (await self._connection.execute(query)).all()
        of = access_step.c
        query = select(access_step).where(of.access_request_id.in_([row.id for row in rows])).order_by(of.version)
        steps: defaultdict[UUID, list[Any]] = defaultdict(list)
        for step in await self._connection.execute(query):
            steps[step.access_request_id].append(step)
        return [self._request(row, steps[row.id][:version]) for row in rows]

    def _request(self, row: Any, steps: Sequence[Any]) -> AccessRequest:
        key = bodies.unwrap(self._vault, row.offender_id, row.wrapped_key) if row.wrapped_key else None
        return AccessRequest(
            id=row.id,
            offender_id=row.offender_id,
            scopes=_scopes(row.scopes),
            fir=_fir.validate_json(self._vault.open(key, row.body, _body_place(row.id))) if key else None,
            jurisdiction=row.jurisdiction,
            due_at=row.due_at,
            steps=tuple(self._step(key, step) for step in steps),
        )

    def _step(self, key: bytes | None, row: Any) -> AccessStep:
        officer, reason = None, ""
        if key:
            place = _why_place(row.access_request_id, row.version)
            officer, reason = _why.validate_json(self._vault.open(key, row.why, place))
        grant = AccessGrant(_scopes(row.scopes), row.expires_at) if row.scopes else None
        return AccessStep(AccessState(row.state), row.actor, row.taken_at, officer, reason, grant)


def _select() -> Select[*tuple[Any, ...]]:
    """Requests as they are, from which `StoreAccessRequests._open` makes entities."""
    query = select(access_request, node.c.jurisdiction, offender.c.wrapped_key).join_from(access_request, offender)
    return query.join(node, node.c.id == access_request.c.node_id).join(access_step, _NEWEST)


def _known_to(audience: Audience) -> list[Any]:
    """Conditions that let through what an audience may know of."""
    conditions: list[Any] = [true()]
    if audience.node is not None:
        conditions.append(access_request.c.node_id == audience.node)
    if audience.jurisdictions is not None:
        conditions.append(node.c.jurisdiction.in_(audience.jurisdictions))
    return conditions


def _scopes(names: Sequence[str]) -> frozenset[AccessScope]:
    return frozenset(map(AccessScope, names))


def _body_place(id: UUID) -> str:
    return f"access_request|{id}|body"


def _why_place(id: UUID, version: int) -> str:
    return f"access_step|{id}/{version}|why"
