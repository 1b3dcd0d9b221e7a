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
from hub.domain.feed import BEGINNING, Event, Head, IndexedOffender, Place, first_changes
from hub.domain.lookup import CheckedRecord
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

    async def events(self, after: Place, limit: int) -> Sequence[Event]:
        """Events after a place, up to so many changes."""
        ...

    async def seq_of_write(self, write: int) -> int | None:
        """The number that the event of a write got."""
        ...

    async def compact(self, older_than: timedelta) -> int:
        """Removes events from the beginning of the feed."""
        ...

    def checked_records(self) -> AsyncIterator[Sequence[CheckedRecord]]:
        """What checks need of every record as it is now."""
        ...


class Index(Protocol):
    """The register in memory, see `hub.lookup.index`."""

    def clear(self) -> None:
        """Forgets everything."""
        ...

    def load(self, records: Sequence[CheckedRecord]) -> None:
        """Takes records in."""
        ...


class RegisterReplaced(Exception):
    """The feed does not go on from what this process has: it must end and begin anew."""


class Tail:
    """Follows the feed and lets others in this process follow it.

    It polls the head row (a query of a few rows, 40 times a second) and sequences what waits: any process may, the lock
    on the head row lets one at a time, and so there is no leader to lose. Whoever follows holds a number and asks for
    what comes after; recent events are answered from memory, older ones from the database, so a slow follower holds
    nothing and keeps nobody up.

    Args:
        apply: is called with each event, once, in order, before any follower sees it.
        steady: a clock that is never set, in seconds.
    """

    def __init__(
        self, store: FeedStore, apply: Callable[[Event], None], steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._apply = apply
        self._steady = steady
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._pages: dict[Place, Sequence[Event]] = {}
        self._reading = asyncio.Lock()
        self._head: Head | None = None
        self._place = BEGINNING
        self._known_at = float("-inf")
        self._moved = asyncio.Event()

    async def start(self, index: Index) -> None:
        """Loads the register as it is, and begins to follow after it.

        The head is read before the records, so what is loaded is at least as new as the head; events that follow may
        repeat what is loaded already, which `apply` must tolerate.

        Raises:
            Refused: DATABASE_UNAVAILABLE; it can be called again.
        """
        # What was loaded when the database went away may not be in the one that comes back.
        index.clear()
        head = await self._store.head()
        async for batch in self._store.checked_records():
            index.load(batch)
        self._place = head.place
        self._head = head

    async def run(self) -> None:
        """Follows until it is cancelled; outlives a database that goes away and comes back.

        Raises:
            RegisterReplaced: another register came in its place, such as an older state of it; or the feed has dropped
                what this process did not see yet.
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
        asked_at = self._steady()
        head = await self._store.head()
        # A head that lies in the future is that of a clock that was set back since: its age says nothing. Nor does that
        # of one that was there before this process.
        if head.waiting or not timedelta(0) <= head.age <= _HEARTBEAT or self._known_at == float("-inf"):
            await self._store.sequence()
            asked_at = self._steady()
            head = await self._store.head()
        events = await self._new(head)
        for event in events:
            self._apply(event)
            if any(isinstance(change, IndexedOffender) and change.offender.facts is None for change in event.changes):
                # What was read before the record was sealed still shows it; the database no longer does. A page that is
                # being read now goes into the old dictionary.
                self._recent.clear()
                self._pages = {}
            self._recent.append(event)
            self._place = event.place
        if self._place.seq >= head.place.seq and head.age >= timedelta(0):
            # By this process's own steady clock: the age was true when the question was asked.
            known_at = asked_at - head.age.total_seconds()
            if self._head and self._head.as_of == head.as_of:
                # The same time never looks younger than it did, however far the database's clock is set back.
                known_at = min(known_at, self._known_at)
            self._head, self._known_at = head, known_at
        if events:
            # Whoever waits has the old one; the next to wait gets the new one.
            self._moved.set()
            self._moved = asyncio.Event()
        return self._place.seq < head.place.seq

    async def _new(self, head: Head) -> Sequence[Event]:
        """What comes after the events that this process has."""
        if head.epoch == self.epoch:
            if head.place == self._place:
                return ()
            if head.place.seq > self._place.seq:
                try:
                    return await self._store.events(self._place, _PAGE)
                except Refused as refused:
                    if refused.reason not in (Reason.REVISION_COMPACTED, Reason.REVISION_EPOCH_CHANGED):
                        raise
        raise RegisterReplaced("the register was restored: this process holds another one's data")

    @property
    def epoch(self) -> UUID:
        """The register's epoch."""
        return self._known().epoch

    @property
    def as_of(self) -> datetime:
        """Everything committed before this time has been applied."""
        return self._known().as_of

    @property
    def place(self) -> Place:
        """After the newest event applied."""
        return self._place

    @property
    def revision(self) -> Revision:
        """The newest revision applied."""
        return Revision(self.epoch, self._place.write)

    @property
    def known_at(self) -> float:
        """When `age` was zero, by the steady clock; -inf before it knows anything."""
        return self._known_at

    def age(self) -> float:
        """Seconds since the time for which this process knows everything; infinite before it knows anything."""
        return self._steady() - self._known_at

    async def resolve(self, revision: Revision) -> Place:
        """The place of a revision; waits until it has one. Cancel it to give up.

        Raises:
            Refused: REVISION_EPOCH_CHANGED: the register does not have it. REVISION_COMPACTED: the feed has dropped it.
        """
        while True:
            asked_at = self._place.seq
            seq = await self._store.seq_of_write(revision.write)
            if seq is not None:
                return Place(seq, revision.write)
            await self._past(asked_at)

    async def reached(self, revision: Revision) -> None:
        """Returns when this process has applied a revision. Cancel it to give up."""
        try:
            place = await self.resolve(revision)
        except Refused as refused:
            if refused.reason is Reason.REVISION_COMPACTED:
                return  # so old that the feed has dropped it, so this process has it
            raise
        await self._past(place.seq - 1)

    async def follow(
        self, after: Place, bookmark_seconds: float
    ) -> AsyncIterator[tuple[Sequence[Event], Place, datetime | None]]:
        """What comes after a place: events, the place to go on after, and the time before which all was sent.

        An item without events is a bookmark: there is one at the beginning and after `bookmark_seconds` of silence.
        The time is None while the follower is behind.

        Raises:
            Refused: REVISION_COMPACTED: the feed does not hold what comes after `after`. REVISION_EPOCH_CHANGED: it
                was restored to a state before `after`.
        """
        place = after
        if place.seq >= self._place.seq:
            yield (), place, self.as_of
        while True:
            if place.seq < self._place.seq:
                events = await self._after(place)
                place = events[-1].place
                yield events, place, self.as_of if place.seq >= self._place.seq else None
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(bookmark_seconds):
                    await self._past(place.seq)
            if self._place.seq <= place.seq:
                yield (), place, self.as_of

    async def _after(self, place: Place) -> Sequence[Event]:
        at = place.seq - self._recent[0].seq if self._recent else -1
        if at >= 0 and self._recent[at].place == place:
            return first_changes(islice(self._recent, at + 1, None), _PAGE)
        # One at a time: followers who catch up together read a page once, and leave the database to the writers.
        async with self._reading:
            pages = self._pages
            if place not in pages:
                events = await self._store.events(place, _PAGE)
                if len(pages) == _PAGES:
                    del pages[next(iter(pages))]
                pages[place] = events
            return pages[place]

    async def _past(self, seq: int) -> None:
        """Returns when an event after a number has been applied."""
        while self._place.seq <= seq:
            await self._moved.wait()

    def _known(self) -> Head:
        if self._head is None:
            raise Refused(Reason.HUB_UNAVAILABLE, "the hub is starting")
        return self._head
