"""The trail of accesses that write nothing."""

from collections.abc import Sequence

from hub.domain.audit import AuditEntry
from hub.domain.ports import Database
from hub.service.group_commit import GroupCommit


class AuditWriter:
    """Writes audit entries; `append` returns when its entries are durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._singles = GroupCommit(self._write, batch=500, waiting=5000)
        # Those of a roster are enough for a commit and need not wait for others.
        self._rosters = GroupCommit(self._write, batch=1, waiting=100)

    async def append(self, *entries: AuditEntry) -> None:
        """Returns once the entries are durable, all or none of them.

        Raises:
            Refused: DATABASE_UNAVAILABLE; HUB_UNAVAILABLE when too many entries wait.
        """
        group = self._singles if len(entries) == 1 else self._rosters
        await group.submit(entries)

    async def _write(self, appended: Sequence[Sequence[AuditEntry]]) -> Sequence[None]:
        await self._database.append_audit([entry for entries in appended for entry in entries])
        return [None] * len(appended)
