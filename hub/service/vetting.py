"""Continuous vetting: a node's watch list, and what it is told of those on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.disclosure import DisclosureMode, Grant
from hub.domain.errors import Reason, Refused
from hub.domain.lookup import Outcome
from hub.domain.node import Caller
from hub.domain.person import Person
from hub.domain.ports import AuditLog, RequestKey
from hub.domain.vetting import Alert, AlertKind, NewPerson, WatchedPerson
from hub.service.limits import CheckLimits
from hub.service.lookup import Policy
from hub.service.matching import Matcher, is_hit, vetting_grant
from hub.service.registry import request_id_reused
from hub.service.vigilance import Vigilance
from hub.service.watch_lists import WatchList, WatchLists

_PAGE = 200
# Seconds that a caller is made to wait for its limits at most.
_PATIENCE = 60
_REQUESTS_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Added:
    """Ids of the entries of those who were put on a list, in their order, and how many of them are new."""

    people: Sequence[UUID]
    count: int


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as it is sent.

    Attributes:
        disclosed: who it is by the register, as far as the disclosure policy allows.
    """

    alert: Alert
    person: WatchedPerson
    disclosed: Person | None


class Vetting:
    """The use cases of `nsor.lookup.v1.VettingService`.

    Args:
        blind_index: the keyed hash by which a number is kept.
        list_limit: people on a node's list at most.
        bookmark_seconds: silence after which a watcher gets a bookmark.
    """

    def __init__(
        self,
        lists: WatchLists,
        matcher: Matcher,
        blind_index: Callable[[Cnic], bytes],
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        policy: Policy,
        limits: CheckLimits,
        vigilance: Vigilance,
        list_limit: int,
        bookmark_seconds: float = 2,
    ) -> None:
        self._lists = lists
        self._matcher = matcher
        self._blind_index = blind_index
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._limits = limits
        self._vigilance = vigilance
        self._list_limit = list_limit
        self._bookmark_seconds = bookmark_seconds

    async def add(
        self, caller: Caller, request: RequestKey, people: Sequence[NewPerson], patience: float = _PATIENCE
    ) -> Added:
        """Puts people on the caller's list, all or none. Sent again, it gives what it gave before.

        To watch somebody is to ask about them, so it is limited, accounted for and looked at like checks.

        Args:
            people: no number twice.
            patience: seconds to wait at most for the caller's limits, if its own patience is shorter than the hub's.

        Raises:
            Refused: WATCH_LIST_FULL, TOO_MANY_REQUESTS, REQUEST_ID_REUSED.
        """
        await asyncio.sleep(self._limits.take(caller, b"", len(people), min(patience, _PATIENCE)))
        now = self._clock()
        entries = [
            WatchedPerson(uuid7(), self._blind_index(new.cnic), new.consent_reference, new.reference, now)
            for new in people
        ]
        async with self._lists.open(caller.node.id) as watch_list:
            if past := await self._past(watch_list, request):
                return past
            put = await watch_list.put(entries)
            fresh = {entry.id for entry in entries}.intersection(put.values())
            added = Added([put[entry.cnic_index] for entry in entries], len(fresh))
            if added.count and await watch_list.size() > self._list_limit:
                raise Refused(
                    Reason.WATCH_LIST_FULL,
                    "the watch list would hold more people than it may",
                    metadata={"limit": str(self._list_limit)},
                )
            await self._keep(watch_list, request, added)
            await watch_list.append_audit([AuditEntry(now, caller, entry.cnic_index, "ALLOWED") for entry in entries])
        self._vigilance.notice(caller, b"", [(new.cnic, Outcome.CANNOT_ANSWER) for new in people])
        await self._vigilance.report()
        return added

    async def remove(self, caller: Caller, request: RequestKey, person_id: UUID) -> None:
        """Takes a person off the caller's list. Sent again, it changes nothing.

        Raises:
            Refused: WATCHED_PERSON_NOT_FOUND, REQUEST_ID_REUSED.
        """
        async with self._lists.open(caller.node.id) as watch_list:
            if await self._past(watch_list, request):
                return
            person = await watch_list.remove(person_id)
            if person is None:
                raise Refused(Reason.WATCHED_PERSON_NOT_FOUND, "nobody of this name is on the watch list")
            await self._keep(watch_list, request, Added([], 0))
            await watch_list.append_audit([AuditEntry(self._clock(), caller, person.cnic_index, "ALLOWED")])

    async def people(self, caller: Caller, *, after: UUID | None, limit: int) -> Sequence[WatchedPerson]:
        """Lists the caller's own list, by the id of the entry. It tells nothing of the register: no audit entry."""
        async with self._lists.open(caller.node.id) as watch_list:
            return await watch_list.people(after=after, limit=limit)

    async def watch(self, caller: Caller, after: UUID | None) -> AsyncIterator[tuple[Sequence[Told], datetime | None]]:
        """Follows the alerts about the caller's list.

        An item without alerts is a bookmark: there is one at the beginning and after `bookmark_seconds` of silence. The
        time is that until which the caller knows everything; None while more follows, or the policy holds it back.

        Args:
            after: id of the alert to go on after; None for all that are kept.

        Raises:
            Refused: ALERT_NOT_FOUND.
        """
        node_id = caller.node.id
        seq = await self._lists.seq_of(node_id, after) if after else 0
        if seq is None:
            raise Refused(Reason.ALERT_NOT_FOUND, "the hub does not have this alert of the caller; watch all of them")
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        yield (), self._matcher.standing.known_until(node_id, seq)
        while True:
            told: Sequence[Told] = ()
            grant: Grant | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout(self._bookmark_seconds):
                    grant = await self._news(node_id, seq)
            if grant:
                told, seq = await self._tell(caller, seq, grant)
            yield told, self._matcher.standing.known_until(node_id, seq)

    async def _news(self, node_id: str, seq: int) -> Grant:
        """Returns when there are alerts after a number that may be sent, with what they may tell."""
        while True:
            if self._matcher.standing.has_news(node_id, seq):
                grant = await vetting_grant(self._policy)
                if grant.mode is not DisclosureMode.OFF:
                    return grant
            await self._matcher.moved()

    async def _tell(self, caller: Caller, after: int, grant: Grant) -> tuple[list[Told], int]:
        """The alerts after a number, from now on sent, and the number to go on after."""
        now = self._clock()
        told: list[Told] = []
        untrue: list[UUID] = []
        async with self._lists.open(caller.node.id) as watch_list:
            alerts = await watch_list.alerts(after=after, limit=_PAGE)
            for kept in alerts:
                disclosed: Person | None = None
                if kept.alert.kind is AlertKind.ON_REGISTER:
                    hit = is_hit(grant, kept.record)
                    if not hit and not kept.alert.sent:
                        untrue.append(kept.alert.id)  # an appeal was filed since, or the record sealed
                        continue
                    if kept.record is None or kept.record.facts is None:
                        continue  # sealed; that it was set aside follows
                    disclosed = kept.record.facts.person if hit and grant.mode is DisclosureMode.HIT_WITH_NAME else None
                told.append(Told(kept.alert, kept.person, disclosed))
            if untrue:
                await watch_list.take_back(untrue)
            if told:
                entries = [AuditEntry(now, caller, each.person.cnic_index, each.alert.kind) for each in told]
                await watch_list.mark_sent([each.alert.id for each in told], entries)
            return told, alerts[-1].alert.seq if len(alerts) == _PAGE else watch_list.seq

    async def _past(self, watch_list: WatchList, request: RequestKey) -> Added | None:
        """What was answered to a request before, if it is a retry."""
        past = await watch_list.past_addition(request.id)
        if past and past.digest != request.digest:
            raise request_id_reused()
        return Added(past.people, past.added) if past else None

    async def _keep(self, watch_list: WatchList, request: RequestKey, added: Added) -> None:
        since = self._clock() - _REQUESTS_KEPT
        await watch_list.keep_request(request, added.people, added.count, since=since)
