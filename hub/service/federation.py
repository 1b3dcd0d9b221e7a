"""The federation: its nodes and its feed."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused
from hub.domain.feed import BEGINNING, Event, FederationStatus, Outbox, Snapshot
from hub.domain.node import Caller, Node
from hub.domain.ports import AuditLog, Database
from hub.domain.reconciliation import Found, RangeDigests, keyed
from hub.domain.revision import Revision
from hub.service.feed import Feed, patience, reach

# In a worker: each holds the hashes of the register.
_COMPARISONS_AT_ONCE = 2

# What a report of an outbox may have been under way: what is decided meanwhile it does not know of.
_ON_THE_WAY = timedelta(seconds=10)


class FeedStore(Protocol):
    """The feed's tables, see `hub.store.feed`."""

    def snapshot_at_head(self, owner: str | None = None) -> AsyncIterator[Snapshot]:
        """The register, or one owner's part of it, as it was at the head of the feed, in parts."""
        ...

    async def acknowledge(self, node_id: str, seq: int, at: datetime) -> None:
        """Keeps how far a node has applied the feed."""
        ...

    async def keep_outbox(self, node_id: str, outbox: Outbox) -> None:
        """Keeps how far an outbox of a node has come, in place of what it reported before."""
        ...

    async def forget_outbox(self, node_id: str, outbox_id: UUID) -> None:
        """Forgets an outbox of a node."""
        ...

    async def status(self) -> FederationStatus:
        """How far the feed is, and each node."""
        ...

    async def keep_found(self, node_id: str, found: Found) -> None:
        """Keeps what a node found when it compared registers."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """The hub's side of a comparison of registers, and the key that both sides hash under."""

    key: bytes
    revision: Revision
    as_of: datetime
    digests: RangeDigests


class Federation:
    """The use cases of `nsor.federation.v1.FederationService`.

    Args:
        bookmark_seconds: silence after which a watcher gets a bookmark.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        store: FeedStore,
        audit: AuditLog,
        clock: Callable[[], datetime],
        bookmark_seconds: float = 2,
    ) -> None:
        self._database = database
        self._feed = feed
        self._store = store
        self._audit = audit
        self._clock = clock
        self._bookmark_seconds = bookmark_seconds
        self._comparing: set[str] = set()
        self._comparisons = asyncio.Semaphore(_COMPARISONS_AT_ONCE)

    async def watch(
        self, caller: Caller, after: str
    ) -> AsyncIterator[tuple[Sequence[Event], Revision, datetime | None]]:
        """Follows the feed after a revision token; "0" is the beginning, empty is now.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_COMPACTED, REVISION_NOT_REACHED.
        """
        epoch = self._feed.epoch
        if after == "0":
            place = BEGINNING
        else:
            revision = Revision.parse(after, epoch) if after else self._feed.revision
            async with patience():
                place = await self._feed.resolve(revision)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        async for events, last, as_of in self._feed.follow(place, self._bookmark_seconds):
            yield events, Revision(epoch, last.write), as_of

    async def snapshot(self, caller: Caller, at_least: str) -> AsyncIterator[tuple[Snapshot, Revision]]:
        """The register exactly as it was at one revision, in parts; `watch` after it goes on from there.

        Args:
            at_least: token of a revision that the snapshot must not be older than; empty for none.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        async for part in self._store.snapshot_at_head():
            yield part, Revision(self._feed.epoch, part.place.write)

    @asynccontextmanager
    async def comparing(self, caller: Caller, *, own: bool, at_least: str) -> AsyncGenerator[Comparison]:
        """Lets a node compare its register with the hub's, one comparison at a time; it may have to wait its turn.

        Args:
            own: whether only the caller's own records are compared.
            at_least: token of a revision that the hub's register must not be older than; empty for none.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED, TOO_MANY_REQUESTS.
        """
        if caller.node.id in self._comparing:
            raise Refused(Reason.TOO_MANY_REQUESTS, "the node compares registers already")
        self._comparing.add(caller.node.id)
        try:
            await reach(self._feed, at_least)
            await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
            async with self._comparisons:
                key, records, part = secrets.token_bytes(32), list[bytes](), None
                async for part in self._store.snapshot_at_head(caller.node.id if own else None):
                    people = [(o.facts.person.cnic, o.id) for o in part.offenders if o.facts]
                    records += [keyed(key, cnic, id) for cnic, id in people if cnic]
                assert part
                digests = await asyncio.to_thread(RangeDigests, records)
                yield Comparison(key, Revision(self._feed.epoch, part.place.write), part.as_of, digests)
        finally:
            self._comparing.remove(caller.node.id)

    async def keep_found(self, caller: Caller, *, records: int, only_at_hub: int, only_at_node: int) -> None:
        """Keeps what the caller found when it compared registers."""
        await self._store.keep_found(caller.node.id, Found(records, only_at_hub, only_at_node, self._clock()))

    async def acknowledge(self, caller: Caller, token: str) -> None:
        """Keeps how far the caller has applied the feed.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_COMPACTED, REVISION_NOT_REACHED.
        """
        async with patience():
            place = await self._feed.resolve(Revision.parse(token, self._feed.epoch))
        await self._store.acknowledge(caller.node.id, place.seq, self._clock())

    async def report_outbox(self, caller: Caller, outbox_id: UUID, oldest_wait: timedelta) -> None:
        """Keeps how far an outbox of the caller has come.

        The newest report counts, also where it is about an earlier time than the one before: that was wrong then.

        Args:
            oldest_wait: how long the oldest write in it waits; 0 where none does.

        Raises:
            Refused: INVALID_FIELD: the node has too many.
        """
        complete_until = self._clock() - _ON_THE_WAY - oldest_wait
        await self._store.keep_outbox(caller.node.id, Outbox(outbox_id, complete_until))

    async def close_outbox(self, caller: Caller, outbox_id: UUID) -> None:
        """Waits no more for an outbox of the caller."""
        await self._store.forget_outbox(caller.node.id, outbox_id)

    async def status(self) -> FederationStatus:
        """How far every node is. It tells nothing about a person, so it leaves no audit entry."""
        return await self._store.status()

    async def list_nodes(self, *, after: str, limit: int) -> Sequence[Node]:
        """Lists nodes by id, after `after`. It tells nothing about a person, so it leaves no audit entry."""
        async with self._database.transaction() as tx:
            return await tx.list_nodes(after=after, limit=limit)
