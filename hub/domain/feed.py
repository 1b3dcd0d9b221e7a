"""The feed of changes: what was committed, in one order."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from hub.domain.node import Node, NodeState, Role
from hub.domain.notice import Notice
from hub.domain.offender import Offender
from hub.domain.reconciliation import Found
from hub.domain.revision import Revision


@dataclass(frozen=True, slots=True)
class IndexedOffender:
    """A record at one version, with the blind indexes (32 octets each) of the numbers by which checks find it.

    Those of a sealed record are the numbers that it had.
    """

    cnic_indexes: tuple[bytes, ...]
    offender: Offender


Change = IndexedOffender | Notice


class Place(NamedTuple):
    """A place in the feed: right after an event.

    Two feeds that agree on the event of a number agree on all before it, since ids of writes are never given twice.

    Attributes:
        seq: number of the event; 0 at the beginning.
        write: id of its outbox row; 0 at the beginning.
    """

    seq: int
    write: int


BEGINNING = Place(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One transaction on the register. Read once and shown to many, so it is equal to itself only.

    Attributes:
        seq: its place in the feed, from 1, without gaps.
        write: id of the outbox row of the transaction.
        committed_at: a time by which it was committed; never decreases along the feed.
        changes: the records that it wrote, as it left them.
    """

    seq: int
    write: int
    committed_at: datetime
    changes: tuple[Change, ...]

    @property
    def place(self) -> Place:
        """Right after it."""
        return Place(self.seq, self.write)


class HasChanges(Protocol):
    """An event, or a row of one."""

    @property
    def changes(self) -> Collection[Any]:
        """What it changed."""
        ...


E = TypeVar("E", bound=HasChanges)


def first_changes(events: Iterable[E], limit: int) -> list[E]:
    """The events up to so many changes in all, but at least one: an import's event has a hundred."""
    page: list[E] = []
    for event in events:
        limit -= len(event.changes)
        if page and limit < 0:
            break
        page.append(event)
    return page


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A part of the register as it was at one place of the feed."""

    place: Place
    as_of: datetime
    offenders: tuple[Offender, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbox:
    """A queue of a node's writes: everything that was put into it before `complete_until` has reached the hub."""

    id: UUID
    complete_until: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a node has applied the feed.

    Attributes:
        seq: number of the last event that it acknowledged; 0 for none.
        write: id of the outbox row of that event; None when the feed no longer has it.
        acknowledged_at: when it did, if it ever did.
        behind: time since the oldest event that it did not.
        found: what it found when it last compared registers, if it ever did.
        slowest_outbox: the one of its outboxes that is the furthest behind, if one ever reported.
    """

    node: Node
    seq: int
    write: int | None
    acknowledged_at: datetime | None
    behind: timedelta
    found: Found | None
    slowest_outbox: Outbox | None = None

    @property
    def complete_until(self) -> datetime | None:
        """Everything that the node decided before this time is on the register; None where that is not known."""
        return self.slowest_outbox and self.slowest_outbox.complete_until


@dataclass(frozen=True, slots=True)
class FederationStatus:
    """How far the feed is, each node that has told how far it is, and each police node that was not revoked."""

    epoch: UUID
    head: Place
    as_of: datetime
    nodes: Sequence[Progress]

    @property
    def provinces_as_of(self) -> datetime | None:
        """Up to when the records of every province are known: as far as those of the province that is furthest behind.

        None where one never said. A node that was revoked has no officers any more who could decide anything.
        """
        provinces = [p for p in self.nodes if p.node.role is Role.POLICE and p.node.state is not NodeState.REVOKED]
        times = [p.complete_until for p in provinces if p.complete_until]
        return min(times, default=None) if len(times) == len(provinces) else None

    def events_behind(self, progress: Progress) -> int:
        """Events that a node has not acknowledged."""
        return max(0, self.head.seq - progress.seq)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Whether a node has applied a version of a record; `acknowledged_at` is None if it never acknowledged anything."""

    node: Node
    applied: bool
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True)
class Propagation:
    """How far the newest version of a record has come, and the revision that brought it."""

    revision: Revision
    receipts: Sequence[Receipt]


@dataclass(frozen=True, slots=True)
class Head:
    """How far the feed is sequenced.

    Attributes:
        epoch: the register's epoch.
        place: after the newest event.
        as_of: every transaction committed before this time, by the database's clock, has a number up to there.
        age: how long ago that is, by the same clock.
        waiting: whether something is committed that has no number yet.
    """

    epoch: UUID
    place: Place
    as_of: datetime
    age: timedelta
    waiting: bool
