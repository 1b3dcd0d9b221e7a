"""Notices who goes through the register number by number, and whom many ask about."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from hub.domain.alarm import Alarm, AlarmKind
from hub.domain.cnic import Cnic
from hub.domain.lookup import Outcome
from hub.domain.node import Caller
from hub.domain.ports import Database

S = TypeVar("S")

_ASKERS = 1000
_BLOCKS = 64
_SUBJECTS = 20_000
# Of the last hour, counted from the first check of each.
_WINDOW = timedelta(hours=1)
# Share of misses among the checks of who tries numbers out. Honest checks miss too, so it is their number that tells.
_MISSES = 0.99


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many on something is odd, within an hour; 0 for never.

    Attributes:
        near_numbers: different numbers that differ in their last three digits only, asked about by one asker.
        misses: checks of one asker without a record.
        askers: who asks about one number.
    """

    near_numbers: int
    misses: int
    askers: int


@dataclass(slots=True)
class _Asker:
    """An officer of a node, a person behind a gateway, or a node that names neither."""

    since: datetime
    checks: int = 0
    misses: int = 0
    blocks: "_Recent[set[str]]" = field(default_factory=lambda: _Recent(_BLOCKS))
    raised: set[AlarmKind] = field(default_factory=set[AlarmKind])

    def near_numbers(self, cnic: Cnic) -> int:
        """Counts a number; gives how many there were that differ from it in their last three digits only."""
        key = hash(cnic.digits[:10])
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks.put(key, set())
        block.add(cnic.digits[10:])
        return len(block)


@dataclass(slots=True)
class _Subject:
    """Whom somebody asked about."""

    since: datetime
    askers: set[int]
    raised: bool = False


class _Recent(Generic[S]):
    """What was used last, by key; the rest is forgotten."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, S] = OrderedDict()

    def get(self, key: Hashable) -> S | None:
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def put(self, key: Hashable, value: S) -> S:
        self._kept[key] = value
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value


class Vigilance:
    """Counts the checks of this worker, in bounded memory, and reports what is odd, once an hour for each cause.

    Numbers are kept as hashes under Python's key of this process.

    Attributes:
        counts: alarms raised so far, by kind.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], thresholds: Thresholds) -> None:
        self._database = database
        self._clock = clock
        self._thresholds = thresholds
        self._askers: _Recent[_Asker] = _Recent(_ASKERS)
        self._subjects: _Recent[_Subject] = _Recent(_SUBJECTS)
        self._unreported: list[Alarm] = []
        self.counts: Counter[AlarmKind] = Counter()

    def notice(self, caller: Caller, end_user: bytes, checks: Sequence[tuple[Cnic, Outcome]]) -> None:
        """Counts checks, one after the other: what would be odd of single ones is so of those of a roster."""
        now = self._clock()
        officer = caller.officer.id if caller.officer else ""
        who = (caller.node.id, officer, end_user)
        asker = self._askers.get(who)
        if asker is None or _is_over(asker.since, now):
            asker = self._askers.put(who, _Asker(now))
        limits, asker_hash = self._thresholds, hash(who)
        for cnic, outcome in checks:
            asker.checks += outcome is not Outcome.CANNOT_ANSWER  # or those would hide the misses
            asker.misses += outcome is Outcome.NO_RECORD
            near = asker.near_numbers(cnic)
            if 0 < limits.near_numbers <= near:
                self._raise_once(asker, AlarmKind.NEAR_NUMBERS, caller.node.id, officer, near)
            if 0 < limits.misses <= asker.misses and asker.misses >= _MISSES * asker.checks:
                self._raise_once(asker, AlarmKind.MANY_MISSES, caller.node.id, officer, asker.misses)
            self._notice_subject(hash(cnic.digits), asker_hash, now)

    def _notice_subject(self, number: int, who: int, now: datetime) -> None:
        subject = self._subjects.get(number)
        if subject is None or _is_over(subject.since, now):
            subject = self._subjects.put(number, _Subject(now, set()))
        limit = self._thresholds.askers
        if len(subject.askers) < limit:
            subject.askers.add(who)
        if 0 < limit <= len(subject.askers) and not subject.raised:
            subject.raised = True
            self._raise(AlarmKind.MANY_ASKERS, "", "", len(subject.askers), subject.since)

    def _raise_once(self, asker: _Asker, kind: AlarmKind, node_id: str, officer: str, count: int) -> None:
        if kind not in asker.raised:
            asker.raised.add(kind)
            self._raise(kind, node_id, officer, count, asker.since)

    def _raise(self, kind: AlarmKind, node_id: str, officer: str, checks: int, since: datetime) -> None:
        self.counts[kind] += 1
        self._unreported.append(Alarm(uuid7(), kind, node_id, officer, checks, since, self._clock()))

    async def report(self) -> None:
        """Writes the alarms that were raised and not written yet.

        Raises:
            Refused: DATABASE_UNAVAILABLE; the next call tries again.
        """
        if not self._unreported:
            return
        alarms = self._unreported
        self._unreported = []
        try:
            async with self._database.transaction() as tx:
                await tx.insert_alarms(alarms)
        except BaseException:
            self._unreported = alarms + self._unreported
            raise

    async def list(self, *, before: UUID | None, limit: int) -> Sequence[Alarm]:
        """Alarms, newest first, older than `before`. They tell nothing about who was asked about: no audit entry."""
        async with self._database.transaction() as tx:
            return await tx.list_alarms(before=before, limit=limit)


def _is_over(since: datetime, now: datetime) -> bool:
    """Whether the window that began then has ended; or lies ahead, since the clock was set back."""
    return not timedelta(0) <= now - since <= _WINDOW
