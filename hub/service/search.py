"""Searching the register."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller, Purpose
from hub.domain.ports import AuditLog, Database
from hub.domain.search import Candidate, Wanted
from hub.service.feed import Feed, reach

_COMPARED = 100
# Of a worker's connections; others are to find some left.
_AT_ONCE = 2
# Compared before others on the event loop get their turn.
_IN_A_ROW = 25


class Search:
    """The use case of SearchOffenders.

    Args:
        subject: the keyed hash that stands for a text in the audit log.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        audit: AuditLog,
        clock: Callable[[], datetime],
        subject: Callable[[str], bytes],
    ) -> None:
        self._database = database
        self._feed = feed
        self._audit = audit
        self._clock = clock
        self._subject = subject
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def search(
        self, caller: Caller, wanted: Wanted, *, limit: int, at_least: str = ""
    ) -> tuple[Sequence[Candidate], bool]:
        """Finds who may be meant, the best first, and whether there are more than were compared.

        The answer leaves only after its trace is durable: the search, as a keyed hash, and each record that is shown.

        Args:
            limit: candidates at most.
            at_least: token of a revision that the answer must not be older than; empty for none.

        Raises:
            Refused: PURPOSE_NOT_ALLOWED, DATABASE_UNAVAILABLE, INVALID_REVISION, REVISION_EPOCH_CHANGED,
                REVISION_NOT_REACHED.
        """
        if caller.officer is None or caller.officer.purpose is not Purpose.INVESTIGATION:
            raise Refused(Reason.PURPOSE_NOT_ALLOWED, "searches are for an investigation, with its FIR number")
        await reach(self._feed, at_least)
        async with self._turn:
            async with self._database.transaction() as tx:
                offenders, more = await tx.search(wanted, limit=_COMPARED)
            found: list[Candidate] = []
            for number, offender in enumerate(offenders, 1):
                if candidate := wanted.candidate(offender):
                    found.append(candidate)
                if number % _IN_A_ROW == 0:
                    await asyncio.sleep(0)
        found.sort(key=lambda candidate: (-candidate.score, candidate.offender.id))
        shown = found[:limit]
        now = self._clock()
        await self._audit.append(
            AuditEntry(now, caller, self._subject(repr(wanted)), "FOUND" if shown else "NOT_FOUND"),
            *(AuditEntry(now, caller, candidate.offender.id.bytes, "SHOWN") for candidate in shown),
        )
        return shown, more
