"""Keeping the register: enter, read and change records, to their end."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import product
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.access import AccessScope
from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.disclosure import require_owner, require_reason, require_receiver
from hub.domain.documents import Document, OldNic
from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.feed import Propagation
from hub.domain.filters import Filter
from hub.domain.history import Cause, Version
from hub.domain.node import Caller, NodeState, Purpose, Role
from hub.domain.offender import Conviction, CourtEvent, Finality, Offender, OffenderFacts, Transfer, offender_name
from hub.domain.person import IdentityEvent
from hub.domain.ports import AuditLog, Consequence, Database, RequestKey, Transaction, Write
from hub.domain.revision import Revision
from hub.service.duplicates import Override, likely_duplicate, likely_duplicates
from hub.service.feed import Feed, reach
from hub.service.group_commit import GroupCommit
from hub.service.reading import readable

_BATCH = 100
_WAITING = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that a caller wants to enter, of somebody whom it may have compared with those much alike."""

    request: RequestKey
    facts: OffenderFacts
    override: Override | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A change that a caller wants to make to a record.

    Attributes:
        etag: of the version that the caller read; None where it knows of none and means the newest.
        reason: why, in the caller's words; empty if it gave none.
    """

    offender_id: UUID
    request: RequestKey
    etag: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A record as a mutation left it, and the revision of the register after it."""

    offender: Offender
    revision: Revision


async def _no_others(tx: Transaction, changed: Offender) -> Sequence[tuple[Offender, Offender]]:
    """No other record changes with one."""
    return ()


class _TakenBack(Exception):
    """Ends a transaction of which nothing shall stay."""


class Registry:
    """The use cases of `nsor.registry.v1.RegistryService`.

    Args:
        blind_index: the keyed hash that stands for a number in the audit log.
        clock: gives the current time, in UTC.
        transfer_time: in which a proposed transfer is to be answered.
        duplicate_likeness: of two people, up to 1, from which they are taken for one.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        audit: AuditLog,
        blind_index: Callable[[Document], bytes],
        clock: Callable[[], datetime],
        *,
        transfer_time: timedelta,
        duplicate_likeness: float,
    ) -> None:
        self._database = database
        self._feed = feed
        self._audit = audit
        self._blind_index = blind_index
        self._clock = clock
        self._transfer_time = transfer_time
        self._duplicate_likeness = duplicate_likeness
        # One for each node: its writes share transactions, and events; it cannot keep another node's waiting.
        self._groups: dict[str, GroupCommit[tuple[Caller, Draft], Written | Refused]] = {}

    async def create(self, caller: Caller, drafts: Sequence[Draft]) -> list[Written | Refused]:
        """Enters records; the result of each draft stands at its place.

        A draft that is refused does not keep the others out: OFFENDER_ALREADY_EXISTS, LIKELY_DUPLICATE,
        CONVICTION_SET_ASIDE, REQUEST_ID_REUSED.

        Raises:
            Refused: DATABASE_UNAVAILABLE, and nothing is known to be written; HUB_UNAVAILABLE.
        """
        node = caller.node.id
        if node not in self._groups:
            self._groups[node] = GroupCommit(partial(self._enter, node), batch=_BATCH, waiting=_WAITING)
        return await asyncio.gather(*(self._groups[node].submit((caller, draft)) for draft in drafts))

    async def try_out(self, caller: Caller, drafts: Sequence[Draft]) -> list[Written | Refused]:
        """What `create` would do with up to 100 drafts; nothing is written but the audit log.

        Raises:
            Refused: DATABASE_UNAVAILABLE; HUB_UNAVAILABLE.
        """
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        results = list[Written | Refused]()
        with suppress(_TakenBack):
            async with self._database.transaction() as tx:
                results = await self._enter_in(tx, caller.node.id, [(caller, draft) for draft in drafts])
                raise _TakenBack
        return results

    async def _enter(self, node: str, entries: Sequence[tuple[Caller, Draft]]) -> list[Written | Refused]:
        """Enters records of a node in one transaction."""
        async with self._database.transaction() as tx:
            return await self._enter_in(tx, node, entries)

    async def _enter_in(
        self, tx: Transaction, node: str, entries: Sequence[tuple[Caller, Draft]]
    ) -> list[Written | Refused]:
        now = self._clock()
        drafts = [draft for _, draft in entries]
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
                Cause.of(caller, _why_entered(draft)),
            )
            for caller, draft in entries
            if draft.request.id not in past
        }
        ids = {versions[d.request.id].offender.id: d for d in drafts if d.request.id in versions}
        alike = await self._alike(tx, ids)
        versions = {id: version for id, version in versions.items() if id not in alike}
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
        # Of two much alike in one transaction the first may not have been entered.
        missing = {offender.id for offender in fresh.values()} - entered
        likely = {
            id: likely_duplicate(rest) if (rest := {o: others[o] for o in others.keys() - missing}) else conflict()
            for id, others in alike.items()
        }
        results: dict[UUID, Written | Refused] = {**past, **likely, **exists}
        if revision:
            results |= {w.request.id: Written(fresh[w.request.id], revision) for w in writes}
        return [results[draft.request.id] for draft in drafts]

    async def _alike(self, tx: Transaction, drafts: Mapping[UUID, Draft]) -> dict[UUID, Mapping[UUID, float]]:
        """The drafts of people who are much like others, and not said to be none of them: by their requests.

        Args:
            drafts: by the ids of the records that they would be.

        Returns how alike each is to which records: of the register, and of the drafts before it.
        """
        people = {id: draft.facts.person for id, draft in drafts.items()}
        found = await likely_duplicates(tx, people, self._duplicate_likeness)
        alike: dict[UUID, Mapping[UUID, float]] = {}
        before: set[UUID] = set()
        for id, draft in drafts.items():
            compared = draft.override.not_the_same_as if draft.override else frozenset[UUID]()
            others = {
                other: likeness
                for other, likeness in found.get(id, {}).items()
                if other not in compared and (other in before or other not in people)
            }
            if others:
                alike[draft.request.id] = others
            else:
                before.add(id)
        return alike

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

    async def find(
        self, caller: Caller, document: Document, *, at_least: str = ""
    ) -> tuple[Offender, frozenset[AccessScope]]:
        """Reads the record that a document stands on; gives it with the parts of it that the caller may see.

        Where access is not granted, the refusal names the record, so that the caller can ask for it.

        Args:
            at_least: token of a revision that the answer must not be older than; empty for none.

        Raises:
            Refused: OFFENDER_NOT_FOUND, PURPOSE_NOT_ALLOWED, ACCESS_NOT_GRANTED, INVALID_REVISION,
                REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least)
        now = self._clock()
        async with self._database.transaction() as tx:
            offender = (await tx.holders([document])).get(document)
            scopes = await readable(tx, caller, offender, now) if offender else frozenset[AccessScope]()
        if offender is None:
            raise await self._nobody(caller, document)
        await self._audit.append(AuditEntry(now, caller, self._blind_index(document), "ALLOWED"))
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

    async def list(
        self, caller: Caller, *, before: UUID | None, limit: int, at_least: str = "", where: Filter = ()
    ) -> Sequence[Offender]:
        """Lists the caller's own records, or for NPB's oversight all, newest first, older than `before`.

        Args:
            at_least: token of a revision that the answer must not be older than; empty for none.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least)
        oversees = caller.node.role is Role.NPB and caller.officer and caller.officer.purpose is Purpose.OVERSIGHT
        async with self._database.transaction() as tx:
            owner = None if oversees else caller.node.id
            offenders = await tx.list_offenders(owner=owner, before=before, limit=limit, where=where)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        return offenders

    async def update(self, caller: Caller, edit: Edit, change: Callable[[OffenderFacts], OffenderFacts]) -> Written:
        """Changes the facts of a record.

        Args:
            change: gives the new facts for those that stand; it may raise `Refused`.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, NOT_OWNER, ETAG_MISMATCH,
                CONVICTION_SET_ASIDE, REQUEST_ID_REUSED, or what `change` raises.
        """

        async def changed(tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            new = change(facts)
            # Of two counts in one case, one may have been set aside while the other stands.
            standing = {c.case for c in facts.standing}
            entered = [c for c in new.standing if c.case not in standing]
            for offender_id in (await tx.set_aside(list(product(new.person.documents, entered)))).values():
                raise set_aside(offender_id)
            return replace(current, facts=new)

        return await self._edit(caller, edit, changed, lambda current: _require_owner(caller, current, edit.reason))

    async def record_court_event(
        self, caller: Caller, edit: Edit, conviction_number: int, event: CourtEvent, day: date
    ) -> Written:
        """Gives a conviction the finality that an event at a court leads to; seals the record if none stands any more.

        With it those are sealed that were merged into it.

        Args:
            conviction_number: of the conviction in the record, from 1.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, ETAG_MISMATCH, COURT_EVENT_NOT_POSSIBLE,
                INVALID_FIELD, REQUEST_ID_REUSED.
        """

        async def decided(tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            after = facts.after(conviction_number, event, day)
            if event is CourtEvent.SET_ASIDE:
                conviction = facts.convictions[conviction_number - 1]
                for document in facts.person.documents:
                    await tx.insert_set_aside(current.id, document, conviction, day)
            return replace(current, facts=after, transfer=current.transfer if after else None)

        async def sealed_with_it(tx: Transaction, changed: Offender) -> list[tuple[Offender, Offender]]:
            merged = () if changed.facts else await tx.merged_into(changed.id)
            return [(each, replace(each, merged_into=None)) for each in merged]

        return await self._edit(caller, edit, decided, others=sealed_with_it)

    async def merge(self, caller: Caller, edit: Edit, duplicate_id: UUID, duplicate_etag: str, today: date) -> Written:
        """Makes two records of one person one; gives the one that stays.

        That keeps its name, owner, district and person, and has the numbers, names, convictions and notices of both.
        The other one, and what was merged into it before, keeps its versions, and says where it went.

        Args:
            edit: of the record that stays.
            duplicate_etag: of the version of the other one that the caller read.
            today: the current day in Pakistan.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, ETAG_MISMATCH, TRANSFER_ALREADY_OPEN,
                CONVICTION_SET_ASIDE: what stands in one of them was set aside in the other, INVALID_FIELD,
                REQUEST_ID_REUSED.
        """
        if edit.offender_id == duplicate_id:
            raise invalid(Violation("duplicate", "SAME_RECORD", "must be another record than the one that stays"))

        async def merged(tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            duplicate = await tx.offender(duplicate_id)
            if duplicate is None:
                raise not_found()
            if duplicate.facts is None:
                raise ended(duplicate)
            _require_etag(duplicate, duplicate_etag)
            _require_no_transfer(current)
            _require_no_transfer(duplicate)
            await _hold_set_aside(tx, current.id, facts.person.documents, duplicate.facts.convictions)
            return replace(current, facts=facts.merged(duplicate.facts, today))

        async def gone(tx: Transaction, changed: Offender) -> list[tuple[Offender, Offender]]:
            duplicates = (await tx.offender(duplicate_id), *await tx.merged_into(duplicate_id))
            return [(each, replace(each, facts=None, merged_into=changed.id)) for each in duplicates if each]

        return await self._edit(caller, edit, merged, others=gone, locked=[duplicate_id])

    async def report_identity_event(
        self, caller: Caller, request: RequestKey, card: Cnic | OldNic, event: IdentityEvent, day: date
    ) -> Written:
        """Keeps what has become of the holder of a card, in the record that has its number.

        Args:
            card: its number, or a former one.
            day: since which it is so.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, IDENTITY_EVENT_NOT_POSSIBLE, OFFENDER_DUPLICATE,
                CONVICTION_SET_ASIDE, INVALID_FIELD, REQUEST_ID_REUSED.
        """

        async def reported(_tx: Transaction, current: Offender, facts: OffenderFacts) -> Offender:
            if card not in facts.person.documents:
                raise conflict()  # between the two transactions its owner took it out
            return replace(current, facts=replace(facts, person=facts.person.reported(card, event, day)))

        async with self._database.transaction() as tx:
            holder = (await tx.holders([card])).get(card)
            replay = (await self._replays(tx, caller.node.id, [request])).get(request.id)
        if holder:
            return await self._edit(caller, Edit(holder.id, request, etag=None), reported)
        if isinstance(replay, Written):
            return replay
        raise replay or await self._nobody(caller, card)

    async def propose_transfer(self, caller: Caller, edit: Edit, receiver: str) -> Written:
        """Proposes to hand a record over; its owner stays responsible until the receiver accepts.

        Args:
            receiver: id of a node of the police.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, NOT_OWNER, ETAG_MISMATCH, INVALID_FIELD,
                TRANSFER_ALREADY_OPEN, REQUEST_ID_REUSED.
        """

        async def proposed(tx: Transaction, current: Offender, _: OffenderFacts) -> Offender:
            _require_no_transfer(current)
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
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, NO_OPEN_TRANSFER, NOT_RECEIVER,
                ETAG_MISMATCH, REQUEST_ID_REUSED.
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
        *,
        others: Callable[[Transaction, Offender], Awaitable[Sequence[tuple[Offender, Offender]]]] = _no_others,
        locked: Collection[UUID] = (),
    ) -> Written:
        """Writes the next version of a record that is neither sealed nor merged.

        Args:
            change: gives the record as it shall be, but for its version and times.
            allow: raises if the caller may not change the record.
            others: gives, for the changed record, those that change with it: as they are, and as they shall be.
            locked: ids of records that nobody else shall change meanwhile.
        """
        request = edit.request
        async with self._database.transaction() as tx:
            # In one order, so that two who lock the same records cannot wait for each other in a ring.
            found = {id: await tx.offender(id, lock=True) for id in sorted({edit.offender_id, *locked})}
            current = found[edit.offender_id]
            if current is None:
                raise not_found()
            # After the lock, so that of two deliveries of one request the second sees what the first wrote.
            if replay := (await self._replays(tx, caller.node.id, [request])).get(request.id):
                if isinstance(replay, Refused):
                    raise replay
                return replay
            if current.facts is None:
                raise ended(current)
            allow(current)
            _require_etag(current, edit.etag)
            changed = await change(tx, current, current.facts)
            if changed.facts:
                gained = set(changed.facts.person.documents) - set(current.facts.person.documents)
                # Of the convictions that it had: new ones were compared with every document.
                had = changed.facts.convictions[: len(current.facts.convictions)]
                await _hold_set_aside(tx, current.id, gained, had)
            now, cause = self._clock(), Cause.of(caller, edit.reason)
            consequences = list[Consequence]()
            # First, since the record may come to have what these leave.
            for before, other in await others(tx, changed):
                after = replace(other, version=before.version + 1, updated_at=now)
                await tx.update_offender(before, Version(after, cause))
                consequences.append(Consequence(after, self._entry(caller, after)))
            offender = replace(changed, version=current.version + 1, updated_at=now)
            if not await tx.update_offender(current, Version(offender, cause)):
                raise await self._duplicate(tx, offender)
            revision = await tx.book([Write(offender, request, self._entry(caller, offender))], consequences)
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
        stated = [d.facts for d in drafts]
        holders = await tx.holders([document for facts in stated for document in facts.person.documents])
        past = await tx.set_aside(
            [each for facts in stated for each in product(facts.person.documents, facts.convictions)]
        )
        reasons: dict[Document, Refused] = {document: set_aside(id) for (document, _), id in past.items()}
        reasons |= {document: already_exists(holder) for document, holder in holders.items()}
        return {
            d.request.id: next((reasons[each] for each in d.facts.person.documents if each in reasons), conflict())
            for d in drafts
        } | replays

    async def _nobody(self, caller: Caller, document: Document) -> Refused:
        """No record has a document: an answer about a person, like that of a check, so its trace is durable before."""
        entry = AuditEntry(self._clock(), caller, self._blind_index(document), Reason.OFFENDER_NOT_FOUND)
        await self._audit.append(entry)
        return not_found()

    async def _duplicate(self, tx: Transaction, offender: Offender) -> Refused:
        """Why a record could not come to have a number."""
        holders = await tx.holders(offender.facts.person.documents if offender.facts else ())
        others = [holder for holder in holders.values() if holder.id != offender.id]
        return duplicate(offender, others[0]) if others else conflict()

    def _entry(self, caller: Caller, offender: Offender) -> AuditEntry:
        return AuditEntry(self._clock(), caller, offender.id.bytes, "ALLOWED")


async def _hold_set_aside(
    tx: Transaction, offender_id: UUID, documents: Collection[Document], convictions: Collection[Conviction]
) -> None:
    """Lets what was set aside of a record be so under documents that its person comes to have.

    Raises:
        Refused: CONVICTION_SET_ASIDE: under such a document one was that stands here.
    """
    standing = [conviction for conviction in convictions if conviction.finality is not Finality.SET_ASIDE]
    for document in documents:
        for other_id in (await tx.set_aside([(document, conviction) for conviction in standing])).values():
            raise set_aside(other_id)
        for conviction in convictions:
            if conviction.finality is Finality.SET_ASIDE and conviction.finality_date:
                await tx.insert_set_aside(offender_id, document, conviction, conviction.finality_date)


def _why_entered(draft: Draft) -> str:
    """What the history says of a record that was entered in spite of others much alike."""
    if draft.override is None:
        return ""
    others = ", ".join(sorted(map(offender_name, draft.override.not_the_same_as)))
    return f"not the same as {others}: {draft.override.reason}"


def _require_owner(caller: Caller, current: Offender, reason: str) -> None:
    """Lets the owner write a record, and NPB with a reason."""
    require_owner(caller, current.owner)
    if caller.node.id != current.owner:
        require_reason(caller, reason)


def _require_etag(current: Offender, etag: str | None) -> None:
    """Lets a record be changed by who has read it as it is, or means the newest version (None)."""
    if etag not in (None, current.etag):
        raise Refused(Reason.ETAG_MISMATCH, "the record changed since it was read; read it again")


def _require_no_transfer(current: Offender) -> None:
    """Lets a record be proposed, or merged, that is not proposed to anybody."""
    if current.transfer:
        raise Refused(
            Reason.TRANSFER_ALREADY_OPEN,
            "the record is proposed to a node already",
            metadata={"receiver": f"nodes/{current.transfer.receiver}"},
        )


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


def ended(offender: Offender) -> Refused:
    """The record has come to its end: sealed, or merged into another one, which the error names."""
    if offender.merged_into is None:
        return Refused(Reason.OFFENDER_SEALED, "the record is sealed, since every conviction was set aside")
    survivor = {"offender": offender_name(offender.merged_into)}
    return Refused(
        Reason.OFFENDER_MERGED, "the record was merged into another one, which has its place", metadata=survivor
    )


def set_aside(offender_id: UUID) -> Refused:
    """The conviction was set aside before: the error names the record that it stood in, not the person."""
    return Refused(
        Reason.CONVICTION_SET_ASIDE,
        "a conviction was set aside, and is not entered again",
        metadata={"offender": offender_name(offender_id)},
    )


def duplicate(offender: Offender, other: Offender) -> Refused:
    """Two records turn out to be of one person: the error names both."""
    return Refused(
        Reason.OFFENDER_DUPLICATE,
        "another record has the document: both are of one person, and NPB is to merge them",
        metadata={"offender": offender.name, "duplicate": other.name},
    )


def already_exists(holder: Offender) -> Refused:
    """A document of the person is on the register: the error names the record, not the person."""
    return Refused(
        Reason.OFFENDER_ALREADY_EXISTS,
        "the person is on the register already",
        metadata={"offender": holder.name, "owner": f"nodes/{holder.owner}"},
    )
