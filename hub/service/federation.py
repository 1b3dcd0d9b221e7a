"""The federation: its nodes and its feed."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from hub.domain.audit import AuditEntry
from hub.domain.feed import Event
from hub.domain.node import Caller, Node
from hub.domain.ports import AuditLog, Database
from hub.domain.revision import Revision


class Feed(Protocol):
    """The feed in this process, see `hub.feed.tail`."""

    @property
    def epoch(self) -> UUID:
        """The register's epoch."""
        ...

    @property
    def revision(self) -> Revision:
        """The newest revision."""
        ...

    async def resolve(self, revision: Revision) -> int:
        """The number of a revision."""
        ...

    def follow(
        self, after: int, bookmark_seconds: float
    ) -> AsyncIterator[tuple[Sequence[Event], int, datetime | None]]:
        """What comes after a number."""
        ...


class Federation:
    """The use cases of `nsor.federation.v1.FederationService`.

    Args:
        bookmark_seconds: silence after which a watcher gets a bookmark.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        audit: AuditLog,
        clock: Callable[[], datetime],
        bookmark_seconds: float = 2,
    ) -> None:
        self._database = database
        self._feed = feed
        self._audit = audit
        self._clock = clock
        self._bookmark_seconds = bookmark_seconds

    async def watch(
        self, caller: Caller, after: str
    ) -> AsyncIterator[tuple[Sequence[Event], Revision, datetime | None]]:
        """Follows the feed after a revision token; "0" is the beginning, empty is now.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED.
        """
        epoch = self._feed.epoch
        if after == "0":
            seq = 0
        else:
            revision = Revision.parse(after, epoch) if after else self._feed.revision
            seq = await self._feed.resolve(revision)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        async for events, last, as_of in self._feed.follow(seq, self._bookmark_seconds):
            yield events, Revision(epoch, seq=last), as_of

    async def list_nodes(self, *, after: str, limit: int) -> Sequence[Node]:
        """Lists nodes by id, after `after`. It tells nothing about a person, so it leaves no audit entry."""
        async with self._database.transaction() as tx:
            return await tx.list_nodes(after=after, limit=limit)
