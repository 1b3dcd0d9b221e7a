"""Keeping the register: enter, read and change records."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.audit import AuditEntry
from hub.domain.disclosure import require_owner, require_read
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller, Purpose, Role
from hub.domain.offender import Offender, OffenderFacts
from hub.domain.ports import AuditLog, Database, RequestKey, Transaction, Write
from hub.domain.revision import Revision
from hub.service.group_commit import GroupCommit

_BATCH = 100
_WAITING = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that a caller wants to enter."""

    request: RequestKey
    facts: OffenderFacts


@dataclass(frozen=True, slots=True)
class Written:
    """A record as a mutation left it, and the revision of the register after it."""

    offender: Offender
    revision: Revision


class Registry:
    """The use cases of `nsor.registry.v1.RegistryService`.

    Args:
        clock: gives the current time, in UTC.
    """

    def __init__(self, database: Database, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        # One for each node: its writes share transactions, and events; it cannot keep another node's waiting.
        self._groups: dict[str, GroupCommit[tuple[Caller, Draft], Written | Refused]] = {}

    async def create(self, caller: Caller, drafts: Sequence[Draft]) -> list[Written | Refused]:
        """Enters records; the result of each draft stands at its place.

        A draft that is refused does not keep the others out: OFFENDER_ALREADY_EXISTS, REQUEST_ID_REUSED.

        Raises:
            Refused: DATABASE_UNAVAILABLE, and nothing is known to be written; HUB_UNAVAILABLE.
        """
        node = caller.node.id
        if node not in self._groups:
            self._groups[node] = GroupCommit(partial(self._enter, node), batch=_BATCH, waiting=_WAITING)
        return await asyncio.gather(*(self._groups[node].submit((caller, draft)) for draft in drafts))

    async def _enter(self, node: str, entries: Sequence[tuple[Caller, Draft]]) -> list[Written | Refused]:
        """Enters records of a node in one transaction."""
        now = self._clock()
        drafts = [draft for _, draft in entries]
        async with self._database.transaction() as tx:
            past = await self._replays(tx, node, [d.request for d in drafts])
            fresh = {
                draft.request.id: Offender(
                    id=uuid7(),
                    owner=node,
                    version=1,
                    facts=draft.facts,
                    created_at=now,
                    updated_at=now,
                )
                for draft in drafts
                if draft.request.id not in past
            }
            entered = await tx.insert_offenders(list(fresh.values()))
            writes = [
                Write(fresh[d.request.id], d.request, self._entry(caller, fresh[d.request.id]))
                for caller, d in entries
                if d.request.id in fresh and fresh[d.request.id].id in entered
            ]
            revision = await tx.book(writes) if writes else None
            refused = [d for d in drafts if d.request.id in fresh and fresh[d.request.id].id not in entered]
            exists = await self._explain(tx, node, refused)
        results: dict[UUID, Written | Refused] = {**past, **exists}
        if revision:
            results |= {w.request.id: Written(fresh[w.request.id], revision) for w in writes}
        return [results[draft.request.id] for draft in drafts]

    async def get(self, caller: Caller, offender_id: UUID) -> Offender:
        """Reads a record.

        Raises:
            Refused: OFFENDER_NOT_FOUND, PURPOSE_NOT_ALLOWED.
        """
        async with self._database.transaction() as tx:
            offender = await tx.offender(offender_id)
        if offender is None:
            raise not_found()
        require_read(caller, offender.owner)
        await self._audit.append(self._entry(caller, offender))
        return offender

    async def list(self, caller: Caller, *, before: UUID | None, limit: int) -> Sequence[Offender]:
        """Lists the caller's own records, or for NPB's oversight all, newest first, older than `before`."""
        oversees = caller.node.role is Role.NPB and caller.officer and caller.officer.purpose is Purpose.OVERSIGHT
        async with self._database.transaction() as tx:
            offenders = await tx.list_offenders(owner=None if oversees else caller.node.id, before=before, limit=limit)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        return offenders

    async def update(
        self,
        caller: Caller,
        offender_id: UUID,
        request: RequestKey,
        etag: str,
        change: Callable[[Offender], OffenderFacts],
    ) -> Written:
        """Writes the next version of a record.

        Args:
            etag: of the version that the caller read.
            change: gives the new facts for the record as it is; it may raise `Refused`.

        Raises:
            Refused: OFFENDER_NOT_FOUND, NOT_OWNER, ETAG_MISMATCH, REQUEST_ID_REUSED, or what `change` raises.
        """
        async with self._database.transaction() as tx:
            current = await tx.offender(offender_id, lock=True)
            if current is None:
                raise not_found()
            # After the lock, so that of two deliveries of one request the second sees what the first wrote.
            if replay := (await self._replays(tx, caller.node.id, [request])).get(request.id):
                if isinstance(replay, Refused):
                    raise replay
                return replay
            require_owner(caller, current.owner)
            if etag != current.etag:
                raise Refused(Reason.ETAG_MISMATCH, "the record changed since it was read; read it again")
            offender = replace(current, facts=change(current), version=current.version + 1, updated_at=self._clock())
            await tx.update_offender(offender)
            revision = await tx.book([Write(offender, request, self._entry(caller, offender))])
        return Written(offender, revision)

    async def _replays(
        self, tx: Transaction, node: str, requests: Collection[RequestKey]
    ) -> dict[UUID, Written | Refused]:
        """The first answers of those requests that were made before."""
        past = await tx.past_requests(node, [r.id for r in requests])
        same = {r.id: past[r.id] for r in requests if r.id in past and past[r.id].digest == r.digest}
        versions = [(p.record_id, p.version) for p in same.values()]
        offenders = await tx.offenders_at(versions)
        return {
            request_id: Written(offenders[same[request_id].record_id], same[request_id].revision)
            if request_id in same
            else request_id_reused()
            for request_id in past
        }

    async def _explain(self, tx: Transaction, node: str, drafts: Sequence[Draft]) -> dict[UUID, Written | Refused]:
        """Why drafts could not be entered: the record that has their number, or the same request just committed."""
        if not drafts:
            return {}
        replays = await self._replays(tx, node, [d.request for d in drafts])
        holders = await tx.holders([d.facts.person.cnic for d in drafts])
        return {d.request.id: already_exists(holders[d.facts.person.cnic]) for d in drafts} | replays

    def _entry(self, caller: Caller, offender: Offender) -> AuditEntry:
        return AuditEntry(self._clock(), caller, offender.id.bytes, "ALLOWED")


def not_found() -> Refused:
    """There is no such record."""
    return Refused(Reason.OFFENDER_NOT_FOUND, "there is no such record")


def request_id_reused() -> Refused:
    """The request_id stands for another request."""
    return Refused(Reason.REQUEST_ID_REUSED, "this request_id was used for another request")


def already_exists(holder: Offender) -> Refused:
    """The CNIC is on the register: the error names the record, not the person."""
    return Refused(
        Reason.OFFENDER_ALREADY_EXISTS,
        "the CNIC is on the register already",
        metadata={"offender": holder.name, "owner": f"nodes/{holder.owner}"},
    )
