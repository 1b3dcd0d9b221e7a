"""One process's end of the feed."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol
from uuid import UUID

from hub.domain.errors import Reason, Refused
from hub.domain.feed import Event, Head, IndexedOffender, first_changes
from hub.domain.revision import Revision

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.025
_HEARTBEAT = timedelta(milliseconds=500)
_PAGE = 200  # changes
_PAGES = 20
_RECENT = 2000  # events
_COMPACT_SECONDS = 60


class FeedStore(Protocol):
    """The feed's tables, see `hub.store.feed`."""

    async def head(self) -> Head:
        """How far the feed is sequenced."""
        ...

    async def sequence(self) -> int:
        """Moves what is committed to the feed."""
        ...

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Events after a number, up to so many changes."""
        ...

    async def seq_of_write(self, write: int) -> int | None:
        """The number that the event of a write got."""
        ...

    async def compact(self, older_than: timedelta) -> int:
        """Removes events from the beginning of the feed."""
        ...

    def snapshot(self) -> AsyncIterator[Sequence[IndexedOffender]]:
        """Every record as it is now."""
        ...


class RegisterReplaced(Exception):
    """The database is not the one that this process loaded: it must end and begin anew."""


class Tail:
    """Follows the feed and lets others in this process follow it.

    It polls the head row (a query of a few rows, 40 times a second) and sequences what waits: any process may, the lock
    on the head row lets one at a time, and so there is no leader to lose. Whoever follows holds a number and asks for
    what comes after; recent events are answered from memory, older ones from the database, so a slow follower holds
    nothing and keeps nobody up.

    Args:
        apply: is called with each event, once, in order, before any follower sees it.
    """

    def __init__(self, store: FeedStore, apply: Callable[[Event], None]) -> None:
        self._store = store
        self._apply = apply
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._pages: dict[int, Sequence[Event]] = {}
        self._reading = asyncio.Lock()
        self._head: Head | None = None
        self._seq = 0
        self._known_at = float("-inf")
        self._moved = asyncio.Event()

    async def start(self, load: Callable[[Sequence[IndexedOffender]], None]) -> None:
        """Loads the register as it is, and begins to follow after it.

        The head is read before the records, so what is loaded is at least as new as the head; events that follow may
        repeat what is loaded already, which `apply` must tolerate.
        """
        head = await self._store.head()
        async for batch in self._store.snapshot():
            load(batch)
        self._seq = head.seq
        self._head = head

    async def run(self) -> None:
        """Follows until it is cancelled; outlives a database that goes away and comes back.

        Raises:
            RegisterReplaced: an older register came back in its place.
        """
        while True:
            try:
                if not await self._step():
                    await asyncio.sleep(_POLL_SECONDS)
            except Refused as refused:
                log.warning("feed stands still: %s", refused.reason)
                await asyncio.sleep(1)

    async def compact_forever(self, retention: timedelta) -> None:
        """Keeps the feed from growing without end, until it is cancelled.

        Args:
            retention: age at which events are dropped; who comes later takes a snapshot.
        """
        while True:
            try:
                if await self._store.compact(retention):
                    continue
            except Refused as refused:
                log.warning("the feed was not compacted: %s", refused.reason)
            await asyncio.sleep(_COMPACT_SECONDS)

    async def _step(self) -> bool:
        """One round; True when there is more at once. Otherwise what is written meanwhile gathers for the next."""
        asked_at = time.monotonic()
        head = await self._store.head()
        if head.waiting or head.age > _HEARTBEAT:
            await self._store.sequence()
            asked_at = time.monotonic()
            head = await self._store.head()
        if head.epoch != self.epoch or head.seq < self._seq:
            raise RegisterReplaced("the register was restored: this process holds another one's data")
        events = await self._store.events(self._seq, _PAGE) if head.seq > self._seq else ()
        for event in events:
            self._apply(event)
            if any(isinstance(change, IndexedOffender) and change.offender.facts is None for change in event.changes):
                # What was read before the record was sealed still shows it; the database no longer does.
                self._recent.clear()
                self._pages.clear()
            self._recent.append(event)
            self._seq = event.seq
        if self._seq >= head.seq:
            self._head = head
            # By this process's own steady clock: the age was true when the question was asked.
            self._known_at = asked_at - head.age.total_seconds()
        if events:
            # Whoever waits has the old one; the next to wait gets the new one.
            self._moved.set()
            self._moved = asyncio.Event()
        return self._seq < head.seq

    @property
    def epoch(self) -> UUID:
        """The register's epoch."""
        return self._known().epoch

    @property
    def as_of(self) -> datetime:
        """Everything committed before this time has been applied."""
        return self._known().as_of

    @property
    def revision(self) -> Revision:
        """The newest revision applied."""
        return Revision(self.epoch, seq=self._seq)

    def age(self) -> float:
        """Seconds since the time for which this process knows everything; infinite before it knows anything."""
        return time.monotonic() - self._known_at

    async def resolve(self, revision: Revision) -> int:
        """The number of a revision; waits until it has one. Cancel it to give up.

        Raises:
            Refused: INVALID_REVISION: the register never had it. REVISION_COMPACTED: the feed has dropped it.
        """
        if revision.seq is not None:
            # Another process may be a little ahead of this one, but not of the database.
            if revision.seq > self._seq and revision.seq > (await self._store.head()).seq:
                raise Refused(Reason.INVALID_REVISION, "not a revision of this hub")
            return revision.seq
        assert revision.write is not None
        while True:
            asked_at = self._seq
            seq = await self._store.seq_of_write(revision.write)
            if seq is not None:
                return seq
            await self._past(asked_at)

    async def reached(self, revision: Revision) -> None:
        """Returns when this process has applied a revision. Cancel it to give up."""
        try:
            seq = await self.resolve(revision)
        except Refused as refused:
            if refused.reason is Reason.REVISION_COMPACTED:
                return  # so old that the feed has dropped it, so this process has it
            raise
        await self._past(seq - 1)

    async def follow(
        self, after: int, bookmark_seconds: float
    ) -> AsyncIterator[tuple[Sequence[Event], int, datetime | None]]:
        """What comes after a number: events, the number to go on after, and the time before which all was sent.

        An item without events is a bookmark: there is one at the beginning and after `bookmark_seconds` of silence.
        The time is None while the follower is behind.

        Raises:
            Refused: REVISION_COMPACTED: the feed does not hold what comes after `after`.
        """
        seq = after
        if seq >= self._seq:
            yield (), seq, self.as_of
        while True:
            if seq < self._seq:
                events = await self._after(seq)
                seq = events[-1].seq
                yield events, seq, self.as_of if seq >= self._seq else None
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(bookmark_seconds):
                    await self._past(seq)
            if self._seq <= seq:
                yield (), seq, self.as_of

    async def _after(self, seq: int) -> Sequence[Event]:
        if self._recent and self._recent[0].seq <= seq + 1:
            return first_changes(islice(self._recent, seq + 1 - self._recent[0].seq, None), _PAGE)
        # One at a time: followers who catch up together read a page once, and leave the database to the writers.
        async with self._reading:
            if seq not in self._pages:
                events = await self._store.events(seq, _PAGE)
                # Numbers have no gaps, so what does not follow at once is not there any more.
                if not events or events[0].seq != seq + 1:
                    raise Refused(Reason.REVISION_COMPACTED, "the feed no longer holds this revision; take a snapshot")
                if len(self._pages) == _PAGES:
                    del self._pages[next(iter(self._pages))]
                self._pages[seq] = events
            return self._pages[seq]

    async def _past(self, seq: int) -> None:
        """Returns when an event after a number has been applied."""
        while self._seq <= seq:
            await self._moved.wait()

    def _known(self) -> Head:
        if self._head is None:
            raise Refused(Reason.HUB_UNAVAILABLE, "the hub is starting")
        return self._head
