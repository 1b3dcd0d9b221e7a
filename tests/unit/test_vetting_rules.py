"""What a watcher is told, whatever happens to a record and whenever it is sent."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from hub.domain.vetting import Alert, AlertKind, Reaction, react

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ON_REGISTER, SET_ASIDE = AlertKind.ON_REGISTER, AlertKind.SET_ASIDE

# One after another: whether the record that stands is set aside, whether one is entered where none stands, whether it
# may be told of, and whether what waits is sent then.
STEPS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), max_size=30)


@dataclass
class Watcher:
    """Somebody who is told of one person.

    Attributes:
        told: the alert by which it knows, or will know, of the record.
        waiting: what is not sent yet.
        heard: what was sent, in order.
    """

    told: Alert | None
    waiting: list[tuple[AlertKind, UUID]]
    heard: list[tuple[AlertKind, UUID]]

    def compare(self, record: UUID | None, *, hit: bool) -> Reaction:
        """Does what follows from how things stand."""
        reaction = react(self.told, record, hit=hit)
        if reaction.take_back:
            assert self.told
            self.waiting.remove((ON_REGISTER, self.told.offender_id))
            self.told = None
        for kind, offender_id in reaction.alerts:
            self.waiting.append((kind, offender_id))
            alert = Alert(UUID(int=0), 1, kind, offender_id, sent=False, created_at=NOW)
            self.told = alert if kind is ON_REGISTER else None
        return reaction

    def send(self) -> None:
        """Sends what waits."""
        self.heard += self.waiting
        self.waiting = []
        self.told = replace(self.told, sent=True) if self.told else None


@given(STEPS)
def test_what_a_watcher_hears_is_true_and_complete(steps: list[tuple[bool, bool, bool, bool]]) -> None:
    watcher = Watcher(None, [], [])
    entered = count(1)
    record: UUID | None = None
    for ends, enters, hit, sends in steps:
        record = None if ends else record
        record = UUID(int=next(entered)) if record is None and enters else record
        allowed = hit and record is not None
        watcher.compare(record, hit=allowed)
        assert watcher.compare(record, hit=allowed) == Reaction(), "comparing again changes nothing"
        if sends:
            watcher.send()
        told = {offender for kind, offender in watcher.heard if kind is ON_REGISTER}
        gone = {offender for kind, offender in watcher.heard + watcher.waiting if kind is SET_ASIDE}
        assert len(set(watcher.heard)) == len(watcher.heard), "each alert once"
        assert gone <= told, "nobody hears of the end of what was never told"
        assert {offender for offender in told if offender != record} == gone, "who was told hears of the end"
        knows = {offender for _, offender in watcher.heard + watcher.waiting if offender == record}
        assert not allowed or knows == {record}, "a hit is never missed"
        assert all(allowed for kind, _ in watcher.waiting if kind is ON_REGISTER), "what waits is still true"
