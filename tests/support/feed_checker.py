"""What a watch promises, as code: it judges the recorded history of a run.

The guarantees are those of etcd's watch (https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis): ordered,
unique, reliable, atomic, resumable, bookmarkable. To these comes "exact": what the feed holds is what was written,
once, however often it was sent.

A history holds what its recorder saw and nothing else: each write that was acknowledged, each response and each
snapshot of each watcher, and the whole feed as one watcher got it who was there from the beginning. Tokens are opaque:
the checker only compares them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

BEGINNING = "0"
"""The token of the beginning of the feed."""


class Guarantee(StrEnum):
    """What can be broken."""

    EXACT = "exact"
    ORDERED = "ordered"
    UNIQUE = "unique"
    RELIABLE = "reliable"
    ATOMIC = "atomic"
    RESUMABLE = "resumable"
    BOOKMARKABLE = "bookmarkable"
    SNAPSHOT = "snapshot"


COMPACTED = "REVISION_COMPACTED"
EPOCH_CHANGED = "REVISION_EPOCH_CHANGED"


class Version(NamedTuple):
    """A record as a write left it."""

    name: str
    etag: str


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was acknowledged.

    Attributes:
        version: what it made.
        revision: token of the register after it; empty where the answer had none. Writes of one revision are one
            transaction.
        began, ended: when it was first sent, and when it was acknowledged; seconds since 1970.
    """

    version: Version
    revision: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was received.

    Attributes:
        committed: its commit time, in seconds since 1970.
    """

    revision: str
    committed: float
    versions: tuple[Version, ...]


class Response(NamedTuple):
    """A response as it was received.

    Attributes:
        revision: the token to continue after.
        as_of: every change committed before has been sent, seconds since 1970; None if it does not say so.
        at: when it was received, in seconds since 1970.
    """

    events: Sequence[Event]
    revision: str
    as_of: float | None
    at: float


@dataclass(slots=True)
class Stream:
    """One call of a watcher, from its beginning until it was cut or left.

    Attributes:
        after: the token with which it was opened; empty for "from now on".
        opened: when, in seconds since 1970.
        refused: the reason for which the hub would not go on after the last response, or not begin; empty if it would.
    """

    watcher: str
    after: str
    opened: float
    responses: list[Response] = field(default_factory=list[Response])
    refused: str = ""

    @property
    def reached(self) -> str:
        """The token to go on after."""
        return self.responses[-1].revision if self.responses else self.after


class Snapshot(NamedTuple):
    """A snapshot as a watcher took it.

    Attributes:
        revision: the token that it is of.
        as_of: every change committed before is in it, seconds since 1970.
    """

    watcher: str
    revision: str
    as_of: float
    versions: list[Version]


@dataclass(slots=True)
class History:
    """A recorded run.

    Attributes:
        feed: a stream from the beginning, to where everything was written.
        dropped: number of events, from the beginning, that the feed does not hold any more in the end.
    """

    writes: list[Write]
    streams: list[Stream]
    feed: Stream
    snapshots: list[Snapshot] = field(default_factory=list[Snapshot])
    dropped: int = 0


class Violation(NamedTuple):
    """A promise that was not kept."""

    guarantee: Guarantee
    what: str


def check(history: History, silence: float = 30) -> list[Violation]:
    """Every promise that a history breaks.

    Args:
        silence: seconds; no stream that goes on is silent for longer, since it has bookmarks.
    """
    truth = _Truth(history)
    return [
        *truth.violations(),
        *(violation for stream in history.streams for violation in truth.violations_of(stream, silence)),
        *truth.wrong_snapshots(),
    ]


class _Truth:
    """The feed as it stands in the end. Positions count from 1; 0 is the beginning."""

    def __init__(self, history: History) -> None:
        self._writes = history.writes
        self._snapshots = history.snapshots
        self._dropped = history.dropped
        self._events = [event for response in history.feed.responses for event in response.events]
        self._position: dict[str, int] = {BEGINNING: 0}
        self._position_of: dict[Version, int] = {}
        for position, event in enumerate(self._events, 1):
            self._position.setdefault(event.revision, position)
            for version in event.versions:
                self._position_of.setdefault(version, position)
        for write in history.writes:
            if write.revision and write.version in self._position_of:
                self._position.setdefault(write.revision, self._position_of[write.version])
        # How far the feed must have been sent by whoever claims to have sent all that was acknowledged before a time.
        acknowledged = sorted((write.ended, self._position_of.get(write.version, 0)) for write in history.writes)
        self._ended = [ended for ended, _ in acknowledged]
        self._reached = [0, *accumulate((position for _, position in acknowledged), max)]

    def violations(self) -> Iterator[Violation]:
        """What is wrong with the feed itself, whoever watches."""
        yield from self._not_exact()
        yield from self._not_atomic()
        yield from self._not_in_order()

    def _not_exact(self) -> Iterator[Violation]:
        written = {write.version for write in self._writes}
        seen: set[Version] = set()
        revisions: set[str] = set()
        for event in self._events:
            if event.revision in revisions:
                yield Violation(Guarantee.UNIQUE, f"the feed has two events {event.revision}")
            revisions.add(event.revision)
            for version in event.versions:
                if version in seen:
                    yield Violation(Guarantee.UNIQUE, f"the feed has {version} twice")
                elif version not in written:
                    yield Violation(Guarantee.EXACT, f"nobody wrote {version}")
                seen.add(version)
        for version in written - seen:
            yield Violation(Guarantee.RELIABLE, f"the feed has not {version}, which was acknowledged")

    def _not_atomic(self) -> Iterator[Violation]:
        positions: dict[str, int] = {}
        for write in self._writes:
            position = self._position_of.get(write.version)
            if write.revision and position and positions.setdefault(write.revision, position) != position:
                yield Violation(Guarantee.ATOMIC, f"the feed has parts of {write.revision} in several events")

    def _not_in_order(self) -> Iterator[Violation]:
        """A write that was acknowledged before another one began comes before it."""
        by_version = {write.version: write for write in self._writes}
        earliest_end_later = float("inf")
        committed_later = float("inf")
        for event in reversed(self._events):
            writes = [by_version[version] for version in event.versions if version in by_version]
            if any(write.began > earliest_end_later for write in writes):
                yield Violation(Guarantee.ORDERED, f"{event.revision} began after a later event was acknowledged")
            if event.committed > committed_later:
                yield Violation(Guarantee.ORDERED, f"{event.revision} has a later commit time than the event after it")
            if any(write.began > event.committed for write in writes):
                yield Violation(Guarantee.ORDERED, f"{event.revision} has a commit time before it began")
            earliest_end_later = min([earliest_end_later, *(write.ended for write in writes)])
            committed_later = event.committed

    def violations_of(self, stream: Stream, silence: float) -> Iterator[Violation]:
        """What is wrong with what one stream gave."""
        for guarantee, what in self._follow(stream):
            yield Violation(guarantee, f"{stream.watcher}, after {stream.after!r}: {what}")
        before = stream.opened
        for response in stream.responses:
            if response.at - before > silence:
                what = f"{stream.watcher}, after {stream.after!r}: nothing for {response.at - before:.0f} s"
                yield Violation(Guarantee.BOOKMARKABLE, what)
            before = response.at

    def _follow(self, stream: Stream) -> Iterator[tuple[Guarantee, str]]:
        start = self._start(stream)
        if (why := self._wrongly_refused(stream)) is not None:
            yield Guarantee.RESUMABLE, why
        if start is None and stream.refused == EPOCH_CHANGED and not stream.responses:
            return
        if start is None:
            yield Guarantee.RESUMABLE, "the feed does not know this revision"
            return
        sent = start  # the position up to which everything should have been sent
        missing: dict[int, Guarantee] = {}
        for response in stream.responses:
            for event in response.events:
                position = self._position.get(event.revision)
                if position is None:
                    yield Guarantee.EXACT, f"{event.revision} is not in the feed"
                    continue
                if self._events[position - 1].versions != event.versions:
                    yield Guarantee.ATOMIC, f"{event.revision} is not whole, or not the same as in the feed"
                if position > sent:
                    skipped = Guarantee.RESUMABLE if sent == start else Guarantee.RELIABLE
                    missing |= dict.fromkeys(range(sent + 1, position), skipped)
                    sent = position
                elif missing.pop(position, None):
                    yield Guarantee.ORDERED, f"{event.revision} comes late"
                elif position <= start:
                    yield Guarantee.RESUMABLE, f"{event.revision} lies before the beginning of the stream"
                else:
                    yield Guarantee.UNIQUE, f"{event.revision} comes again"
            if self._position.get(response.revision) != sent:
                yield Guarantee.BOOKMARKABLE, f"{response.revision} is not how far was sent"
            if response.as_of is not None and self._due(response.as_of) > sent:
                yield Guarantee.BOOKMARKABLE, f"not all was sent that was acknowledged before {response.as_of}"
        for position, guarantee in missing.items():
            yield guarantee, f"{self._events[position - 1].revision} does not come"

    def _wrongly_refused(self, stream: Stream) -> str | None:
        """What was wrong when the hub would not go on."""
        position = self._position.get(stream.reached)
        match stream.refused:
            case "":
                return None
            case _ if stream.refused == EPOCH_CHANGED:
                return None if position is None else f"{stream.reached} is said to be lost, but the feed has it"
            case _ if stream.refused == COMPACTED and position is not None and position <= self._dropped > 0:
                return None
            case reason:
                return f"{stream.reached} is refused with {reason}"

    def wrong_snapshots(self) -> Iterator[Violation]:
        """Snapshots that are not the register as it was at their revision."""
        register: dict[str, str] = {}
        at = 0
        for snapshot in sorted(self._snapshots, key=lambda each: self._position.get(each.revision, -1)):
            position = self._position.get(snapshot.revision)
            who = f"{snapshot.watcher}, snapshot at {snapshot.revision}"
            if position is None:
                yield Violation(Guarantee.SNAPSHOT, f"{who}: the feed does not know this revision")
                continue
            for event in self._events[at:position]:
                register |= {version.name: version.etag for version in event.versions}
            at = position
            if len(snapshot.versions) != len(register) or dict(snapshot.versions) != register:
                differ = len(set(snapshot.versions) ^ {Version(*each) for each in register.items()})
                yield Violation(Guarantee.SNAPSHOT, f"{who}: {differ} versions differ from the feed's")
            if self._due(snapshot.as_of) > position:
                what = f"{who}: does not hold all that was acknowledged before {snapshot.as_of}"
                yield Violation(Guarantee.BOOKMARKABLE, what)

    def _start(self, stream: Stream) -> int | None:
        if stream.after:
            return self._position.get(stream.after)
        if not stream.responses:
            return 0
        # From now on: where that is, the stream says itself, but it is not before what was acknowledged by then.
        first = stream.responses[0]
        if first.events:
            return self._position.get(first.events[0].revision, 0) - 1
        return self._position.get(first.revision)

    def _due(self, time: float) -> int:
        """The position of the last event of those acknowledged before a time."""
        return self._reached[bisect_left(self._ended, time)]
