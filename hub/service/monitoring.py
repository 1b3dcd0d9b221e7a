"""Supervision after release: what offenders notify."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.access import AccessScope
from hub.domain.audit import AuditEntry
from hub.domain.disclosure import require_owner
from hub.domain.node import Caller
from hub.domain.notice import Notice, NoticeFacts
from hub.domain.ports import AuditLog, Database, RequestKey, Write
from hub.domain.revision import Revision
from hub.service.reading import readable
from hub.service.registry import ended, not_found, request_id_reused


@dataclass(frozen=True, slots=True)
class Recorded:
    """A notice as it was written, and the revision of the register after it."""

    notice: Notice
    revision: Revision


class Monitoring:
    """The use cases of `nsor.monitoring.v1.MonitoringService`."""

    def __init__(self, database: Database, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def record(self, caller: Caller, offender_id: UUID, request: RequestKey, facts: NoticeFacts) -> Recorded:
        """Records a notice.

        Raises:
            Refused: OFFENDER_NOT_FOUND, OFFENDER_SEALED, OFFENDER_MERGED, NOT_OWNER, REQUEST_ID_REUSED.
        """
        async with self._database.transaction() as tx:
            # Locked, so that the order of a record's events is the order of its changes, and so that of two deliveries
            # of one request the second sees what the first wrote.
            offender = await tx.offender(offender_id, lock=True)
            if offender is None:
                raise not_found()
            if past := (await tx.past_requests(caller.node.id, [request.id])).get(request.id):
                written = await tx.notice(past.record_id)
                if written is None or past.digest != request.digest:
                    raise request_id_reused()
                return Recorded(written, past.revision)
            require_owner(caller, offender.owner)
            if offender.facts is None:
                raise ended(offender)
            now = self._clock()
            notice = Notice(id=uuid7(), offender_id=offender_id, recorder=caller.node.id, facts=facts, created_at=now)
            await tx.insert_notice(notice)
            audit = AuditEntry(now, caller, offender_id.bytes, "ALLOWED")
            revision = await tx.book([Write(notice, request, audit)])
        return Recorded(notice, revision)

    async def list(self, caller: Caller, offender_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Notice]:
        """Lists an offender's notices, newest first, older than `before`.

        Raises:
            Refused: OFFENDER_NOT_FOUND, PURPOSE_NOT_ALLOWED, ACCESS_NOT_GRANTED.
        """
        async with self._database.transaction() as tx:
            offender = await tx.offender(offender_id)
            if offender is None:
                raise not_found()
            await readable(tx, caller, offender, self._clock(), AccessScope.NOTICES)
            notices = await tx.list_notices(offender_id, before=before, limit=limit)
        await self._audit.append(AuditEntry(self._clock(), caller, offender_id.bytes, "ALLOWED"))
        return notices
