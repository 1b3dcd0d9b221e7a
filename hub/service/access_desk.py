"""The access desk: officers ask to read records of other nodes, prosecutors forward, NPB decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.access import (
    AccessRequest,
    AccessScope,
    AccessState,
    AccessStep,
    Fir,
    audience,
    require_investigation,
)
from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller
from hub.domain.ports import AccessPlace, AuditLog, Database, RequestKey, Transaction
from hub.service.registry import ended, not_found, request_id_reused


@dataclass(frozen=True, slots=True)
class Ruling:
    """A step that a caller wants to take.

    Attributes:
        id: of the request for access.
        etag: of it as the caller read it.
        reason: in the caller's words; empty if it says nothing.
    """

    id: UUID
    request: RequestKey
    etag: str
    reason: str


class AccessDesk:
    """The use cases of `nsor.registry.v1.AccessDeskService`. What is sent again gives what it gave before.

    Args:
        clock: gives the current time, in UTC.
        forwarding_time: in which a prosecutor is to forward.
        longest: for which access is granted at most.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        forwarding_time: timedelta,
        longest: timedelta,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._forwarding_time = forwarding_time
        self._longest = longest

    async def create(
        self,
        caller: Caller,
        request: RequestKey,
        offender_id: UUID,
        scopes: frozenset[AccessScope],
        police_station: str,
        reason: str,
    ) -> AccessRequest:
        """Asks for access to a record, for the FIR of the caller's officer.

        Raises:
            Refused: PURPOSE_NOT_ALLOWED, OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, REQUEST_ID_REUSED.
        """
        officer = require_investigation(caller)
        async with self._database.transaction() as tx:
            # Locked, so that it is not sealed meanwhile, and so that of two deliveries the second sees the first.
            offender = await tx.offender(offender_id, lock=True)
            if offender is None:
                raise not_found()
            if past := await _past(tx, caller, request):
                return past
            if offender.facts is None:
                raise ended(offender)
            now = self._clock()
            asked = AccessRequest(
                id=uuid7(),
                offender_id=offender_id,
                scopes=scopes,
                fir=Fir(officer.fir_number, police_station),
                jurisdiction=caller.node.jurisdiction,
                due_at=now + self._forwarding_time,
                steps=(AccessStep(AccessState.REQUESTED, caller.node.id, now, officer, reason),),
            )
            await tx.access_requests.insert(asked)
            await self._book(tx, caller, asked, request)
        return asked

    async def forward(self, caller: Caller, ruling: Ruling) -> AccessRequest:
        """Forwards a request to NPB.

        Raises:
            Refused: ACCESS_REQUEST_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, ETAG_MISMATCH,
                ACCESS_STEP_NOT_POSSIBLE, REQUEST_ID_REUSED.
        """
        return await self._take(caller, ruling, lambda current, now: current.forwarded(caller, ruling.reason, now))

    async def grant(
        self, caller: Caller, ruling: Ruling, scopes: frozenset[AccessScope], expires_at: datetime | None
    ) -> AccessRequest:
        """Grants a request.

        Args:
            expires_at: None for as late as may be.

        Raises:
            Refused: as of `forward`, and INVALID_FIELD.
        """
        return await self._take(
            caller,
            ruling,
            lambda current, now: current.granted(caller, scopes, expires_at, ruling.reason, now, longest=self._longest),
        )

    async def decline(self, caller: Caller, ruling: Ruling) -> AccessRequest:
        """Declines a request.

        Raises:
            Refused: as of `forward`.
        """
        return await self._take(caller, ruling, lambda current, now: current.declined(caller, ruling.reason, now))

    async def revoke(self, caller: Caller, ruling: Ruling) -> AccessRequest:
        """Takes back what was granted: from the next read on.

        Raises:
            Refused: as of `forward`.
        """
        return await self._take(caller, ruling, lambda current, now: current.revoked(caller, ruling.reason, now))

    async def get(self, caller: Caller, id: UUID) -> AccessRequest:
        """Reads a request.

        Raises:
            Refused: ACCESS_REQUEST_NOT_FOUND.
        """
        async with self._database.transaction() as tx:
            found = await tx.access_requests.get(id, audience(caller.node))
        if found is None:
            raise _not_found()
        await self._audit.append(self._entry(caller, found))
        return found

    async def list(
        self, caller: Caller, *, state: AccessState | None, overdue_only: bool, after: AccessPlace, limit: int
    ) -> Sequence[AccessRequest]:
        """Lists requests about records that stand, those first that are overdue, then the newest.

        Args:
            state: only those in this state; None for any.
            after: place of the last one of the page before; that of the first page says by which time it is told what
                is overdue.
        """
        async with self._database.transaction() as tx:
            found = await tx.access_requests.list(
                audience(caller.node), state=state, overdue_only=overdue_only, after=after, limit=limit
            )
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        return found

    async def _take(
        self, caller: Caller, ruling: Ruling, step: Callable[[AccessRequest, datetime], AccessRequest]
    ) -> AccessRequest:
        """Takes a step of a request whose record stands."""
        async with self._database.transaction() as tx:
            current = await tx.access_requests.get(ruling.id, audience(caller.node), lock=True)
            if current is None:
                raise _not_found()
            if past := await _past(tx, caller, ruling.request):
                return past
            offender = await tx.offender(current.offender_id)
            assert offender, "it is locked with the request"
            if offender.facts is None:
                raise ended(offender)
            if ruling.etag != current.etag:
                raise Refused(Reason.ETAG_MISMATCH, "the request changed since it was read; read it again")
            after = step(current, self._clock())
            await self._book(tx, caller, after, ruling.request)
        return after

    async def _book(self, tx: Transaction, caller: Caller, taken: AccessRequest, request: RequestKey) -> None:
        """Writes the newest step of a request, and its audit entry."""
        await tx.access_requests.add_step(taken, request)
        await tx.append_audit([self._entry(caller, taken)])

    def _entry(self, caller: Caller, request: AccessRequest) -> AuditEntry:
        return AuditEntry(self._clock(), caller, request.offender_id.bytes, "ALLOWED")


async def _past(tx: Transaction, caller: Caller, request: RequestKey) -> AccessRequest | None:
    """What the caller wrote for this request before, as it was then."""
    past = await tx.access_requests.past(caller.node.id, request.id)
    if past is None:
        return None
    digest, written = past
    if digest != request.digest:
        raise request_id_reused()
    return written


def _not_found() -> Refused:
    return Refused(Reason.ACCESS_REQUEST_NOT_FOUND, "there is no such request for access")
