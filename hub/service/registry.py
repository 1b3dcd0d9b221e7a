"""Keeping the register: enter, read and change records, to their end."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.access import AccessScope
from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.disclosure import require_owner, require_reason, require_receiver
from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.feed import Propagation
from hub.domain.history import Cause, Version
from hub.domain.node import Caller, NodeState, Purpose, Role
from hub.domain.offender import CourtEvent, Offender, OffenderFacts, Transfer, offender_name
from hub.domain.ports import AuditLog, Database, RequestKey, Transaction, Write
from hub.domain.revision import Revision
from hub.service.feed import Feed, reach
from hub.service.group_commit import GroupCommit
from hub.service.reading import readable

_BATCH = 100
_WAITING = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that a caller wants to enter."""

    request: RequestKey
    facts: OffenderFacts


@dataclass(frozen=True, slots=True)
class Edit:
    """A change that a caller wants to make to a record.

    Attributes:
        etag: of the version that the caller read.
        reason: why, in the caller's words; empty if it gave none.
    """

    offender_id: UUID
    request: RequestKey
    etag: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A record as a mutation left it, and the revision of the register after it."""

    offender: Offender
    revision: Revision


class Registry:
    """The use cases of `nsor.registry.v1.RegistryService`.

    Args:
        clock: gives the current time, in UTC.
        transfer_time: in which a proposed transfer is to be answered.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        transfer_time: timedelta,
    ) -> None:
        self._database = database
        self._feed = feed
        self._audit = audit
        self._clock = clock
        self._transfer_time = transfer_time
        # One for each node: its writes share transactions, and events; it cannot keep another node's waiting.
        self._groups: dict[str, GroupCommit[tuple[Caller, Draft], Written | Refused]] = {}

    async def create(self, caller: Caller, drafts: Sequence[Draft]) -> list[Written | Refused]:
        """Enters records; the result of each draft stands at its place.

        A draft that is refused does not keep the others out: OFFENDER_ALREADY_EXISTS, CONVICTION_SET_ASIDE,
        REQUEST_ID_REUSED.

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
            past = {
                # What was entered and is sealed since must not come back to life in the caller's books.
                id: set_aside(written.offender.id)
                if isinstance(written, Written) and written.offender.facts is None
                else written
                for id, written in (await self._replays(tx, node, [d.request for d in drafts])).items()
            }
            versions = {
                draft.request.id: Version(
                    Offender(id=uuid7(), owner=node, version=1, facts=draft.facts, created_at=now, updated_at=now),
                    Cause.of(caller),
                )
                for caller, draft in entries
                if draft.request.id not in past
            }
            entered = await tx.insert_offenders(list(versions.values()))
            fresh = {request_id: version.offender for request_id, version in versions.items()}
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

    async def get(
        self, caller: Caller, offender_id: UUID, *, version: int = 0, at_least: str = ""
    ) -> tuple[Offender, frozenset[AccessScope]]:
        """Reads a record; gives it with the parts of it that the caller may see.

        Args:
            version: as it was at this version; 0 for the newest.
            at_least: token of a revision that the answer must not be older than; empty for none.

        Raises:
            Refused: OFFENDER_NOT_FOUND, PURPOSE_NOT_ALLOWED, ACCESS_NOT_GRANTED, INVALID_REVISION,
                REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least)
        async with self._database.transaction() as tx:
            offender = await tx.offender(offender_id)
            if offender is None:
                raise not_found()
            needed = AccessScope.HISTORY if version else None
            scopes = await readable(tx, caller, offender, self._clock(), needed)
            if version:
                offender = (await tx.offenders_at([(offender_id, version)])).get(offender_id)
        if offender is None:
            raise not_found()
        await self._audit.append(self._entry(caller, offender))
        return offender, scopes

    async def versions(self, caller: Caller, offender_id: UUID, *, before: int | None, limit: int) -> Sequence[Version]:
        """Lists the versions of a record, newest first, older than `before`.

        Raises:
            Refused: OFFENDER_NOT_FOUND, PURPOSE_NOT_ALLOWED, ACCESS_NOT_GRANTED.
        """
        async with self._database.transaction() as tx:
            offender = await tx.offender(offender_id)
            if offender is None:
                raise not_found()
            await readable(tx, caller, offender, self._clock(), AccessScope.HISTORY)
            versions = await tx.versions(offender_id, before=before, limit=limit)
        await self._audit.append(self._entry(caller, offender))
        return versions

    async def propagation(self, offender_id: UUID) -> Propagation:
        """Which nodes have applied a record as it is. It tells nothing about a person, so it leaves no audit entry.

        Raises:
            Refused: OFFENDER_NOT_FOUND.
        """
        async with self._database.transaction() as tx:
            propagation = await tx.propagation(offender_id)
        if propagation is None:
            raise not_found()
        return propagation

    async def list(self, caller: Caller, *, before: UUID | None, limit: int, at_least: str = "") -> Sequence[Offender]:
        """Lists the caller's own records, or for NPB's oversight all, newest first, older than `before`.

        Args:
            at_least: token of a revision that the answer must not be older than; empty for none.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least)
        oversees = caller.node.role is Role.NPB and caller.officer and caller.officer.purpose is Purpose.OVERSIGHT
        async with self._database.transaction() as tx:
            offenders = await tx.list_offenders(owner=None if oversees else caller.node.id, before=before, limit=limit)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        return offenders

    async def update(self, caller: Caller, edit: Edit, change: Callable[[OffenderFacts], OffenderFacts]) -> Written:
        """Changes the facts of a record.

        Args:
            change: gives the new facts for those that stand; it may raise `Refused`.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, NOT_OWNER, ETAG_MISMATCH, CONVICTION_SET_ASIDE,
                REQUEST_ID_REUSED, or what `change` raises.
        """

        async def changed(tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            new = change(facts)
            # Of two counts in one case, one may have been set aside while the other stands.
            standing = {c.case for c in facts.standing}
            entered = [(new.person.cnic, c) for c in new.standing if c.case not in standing]
            for offender_id in (await tx.set_aside(entered)).values():
                raise set_aside(offender_id)
            return replace(current, facts=new)

        return await self._edit(caller, edit, changed, lambda current: _require_owner(caller, current, edit.reason))

    async def record_court_event(
        self, caller: Caller, edit: Edit, conviction_number: int, event: CourtEvent, day: date
    ) -> Written:
        """Gives a conviction the finality that an event at a court leads to; seals the record if none stands any more.

        Args:
            conviction_number: of the conviction in the record, from 1.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, ETAG_MISMATCH, COURT_EVENT_NOT_POSSIBLE, INVALID_FIELD,
                REQUEST_ID_REUSED.
        """

        async def decided(tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            after = facts.after(conviction_number, event, day)
            if event is CourtEvent.SET_ASIDE:
                conviction = facts.convictions[conviction_number - 1]
                await tx.insert_set_aside(current.id, facts.person.cnic, conviction, day)
            return replace(current, facts=after, transfer=current.transfer if after else None)

        return await self._edit(caller, edit, decided)

    async def propose_transfer(self, caller: Caller, edit: Edit, receiver: str) -> Written:
        """Proposes to hand a record over; its owner stays responsible until the receiver accepts.

        Args:
            receiver: id of a node of the police.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, NOT_OWNER, ETAG_MISMATCH, INVALID_FIELD,
                TRANSFER_ALREADY_OPEN, REQUEST_ID_REUSED.
        """

        async def proposed(tx: Transaction, current: Offender, _: OffenderFacts) -> Offender:
            if current.transfer:
                raise Refused(
                    Reason.TRANSFER_ALREADY_OPEN,
                    "the record is proposed to a node already",
                    metadata={"receiver": f"nodes/{current.transfer.receiver}"},
                )
            node = await tx.node(receiver)
            if node is None or node.role is not Role.POLICE or node.state is not NodeState.ACTIVE:
                raise invalid(Violation("receiver", "NO_POLICE", "must be an active node of the police"))
            if receiver == current.owner:
                raise invalid(Violation("receiver", "IS_OWNER", "must be another node than the owner"))
            due_at = self._clock() + self._transfer_time
            return replace(current, transfer=Transfer(current.id, current.owner, receiver, due_at))

        return await self._edit(caller, edit, proposed, lambda current: _require_owner(caller, current, edit.reason))

    async def accept_transfer(self, caller: Caller, edit: Edit) -> Written:
        """Makes the receiver of a proposed record its owner.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, NO_OPEN_TRANSFER, NOT_RECEIVER, ETAG_MISMATCH,
                REQUEST_ID_REUSED.
        """

        def allow(current: Offender) -> None:
            require_receiver(caller, _open_transfer(current))
            require_reason(caller, edit.reason)

        async def accepted(_tx: Transaction, current: Offender, _: OffenderFacts) -> Offender:
            return replace(current, owner=_open_transfer(current).receiver, transfer=None)

        return await self._edit(caller, edit, accepted, allow)

    async def decline_transfer(self, caller: Caller, edit: Edit) -> Written:
        """Ends a proposal: its receiver does not want the record, or the owner takes it back.

        Raises:
            Refused: as of `accept_transfer`.
        """

        def allow(current: Offender) -> None:
            transfer = _open_transfer(current)
            if caller.node.id != transfer.sender:
                require_receiver(caller, transfer)

        async def declined(_tx: Transaction, current: Offender, _: OffenderFacts) -> Offender:
            return replace(current, transfer=None)

        return await self._edit(caller, edit, declined, allow)

    async def list_transfers(
        self, caller: Caller, *, node: str, overdue_only: bool, before: UUID | None, limit: int
    ) -> Sequence[Transfer]:
        """Lists open proposals to or of the caller, for NPB all, of records older than `before`.

        It tells nothing about a person, so it leaves no audit entry.

        Args:
            node: only those to or of this node; empty for all.

        Raises:
            Refused: INVALID_FIELD: there is no such node.
        """
        parties = {node} if node else set[str]()
        if caller.node.role is not Role.NPB:
            parties.add(caller.node.id)
        overdue_at = self._clock() if overdue_only else None
        async with self._database.transaction() as tx:
            if node and await tx.node(node) is None:
                raise invalid(Violation("node", "UNKNOWN_NODE", "is no node of the federation"))
            return await tx.list_transfers(parties=parties, overdue_at=overdue_at, before=before, limit=limit)

    async def _edit(
        self,
        caller: Caller,
        edit: Edit,
        change: Callable[[Transaction, Offender, OffenderFacts], Awaitable[Offender]],
        allow: Callable[[Offender], None] = lambda _: None,
    ) -> Written:
        """Writes the next version of a record that is not sealed.

        Args:
            change: gives the record as it shall be, but for its version and times.
            allow: raises if the caller may not change the record.
        """
        request = edit.request
        async with self._database.transaction() as tx:
            current = await tx.offender(edit.offender_id, lock=True)
            if current is None:
                raise not_found()
            # After the lock, so that of two deliveries of one request the second sees what the first wrote.
            if replay := (await self._replays(tx, caller.node.id, [request])).get(request.id):
                if isinstance(replay, Refused):
                    raise replay
                return replay
            if current.facts is None:
                raise sealed()
            allow(current)
            if edit.etag != current.etag:
                raise Refused(Reason.ETAG_MISMATCH, "the record changed since it was read; read it again")
            changed = await change(tx, current, current.facts)
            offender = replace(changed, version=current.version + 1, updated_at=self._clock())
            await tx.update_offender(Version(offender, Cause.of(caller, edit.reason)))
            revision = await tx.book([Write(offender, request, self._entry(caller, offender))])
        return Written(offender, revision)

    async def _replays(
        self, tx: Transaction, node: str, requests: Collection[RequestKey]
    ) -> dict[UUID, Written | Refused]:
        """The first answers of those requests that were made before, but for what was erased since."""
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
        """Why drafts could not be entered: a record has their number, a conviction was set aside, or a retry won."""
        if not drafts:
            return {}
        replays = await self._replays(tx, node, [d.request for d in drafts])
        holders = await tx.holders([d.facts.person.cnic for d in drafts])
        past = await tx.set_aside([(d.facts.person.cnic, c) for d in drafts for c in d.facts.convictions])
        reasons: dict[Cnic, Refused] = {cnic: set_aside(offender_id) for (cnic, _), offender_id in past.items()}
        reasons |= {cnic: already_exists(holder) for cnic, holder in holders.items()}
        return {d.request.id: reasons.get(d.facts.person.cnic, conflict()) for d in drafts} | replays

    def _entry(self, caller: Caller, offender: Offender) -> AuditEntry:
        return AuditEntry(self._clock(), caller, offender.id.bytes, "ALLOWED")


def _require_owner(caller: Caller, current: Offender, reason: str) -> None:
    """Lets the owner write a record, and NPB with a reason."""
    require_owner(caller, current.owner)
    if caller.node.id != current.owner:
        require_reason(caller, reason)


def _open_transfer(current: Offender) -> Transfer:
    """The open proposal of a record, which must have one."""
    if current.transfer is None:
        raise Refused(Reason.NO_OPEN_TRANSFER, "nobody proposes to hand the record over")
    return current.transfer


def not_found() -> Refused:
    """There is no such record."""
    return Refused(Reason.OFFENDER_NOT_FOUND, "there is no such record")


def request_id_reused() -> Refused:
    """The request_id stands for another request."""
    return Refused(Reason.REQUEST_ID_REUSED, "this request_id was used for another request")


def conflict() -> Refused:
    """What stood in the way is gone by now, such as a record that was sealed meanwhile."""
    return Refused(Reason.HUB_UNAVAILABLE, "another write got in the way; retry with the same request_id")


def sealed() -> Refused:
    """The record has come to its end."""
    return Refused(Reason.OFFENDER_SEALED, "the record is sealed, since every conviction was set aside")


def set_aside(offender_id: UUID) -> Refused:
    """The conviction was set aside before: the error names the record that it stood in, not the person."""
    return Refused(
        Reason.CONVICTION_SET_ASIDE,
        "a conviction was set aside, and is not entered again",
        metadata={"offender": offender_name(offender_id)},
    )


def already_exists(holder: Offender) -> Refused:
    """The CNIC is on the register: the error names the record, not the person."""
    return Refused(
        Reason.OFFENDER_ALREADY_EXISTS,
        "the CNIC is on the register already",
        metadata={"offender": holder.name, "owner": f"nodes/{holder.owner}"},
    )
