"""The whole life of records, in any order of what can be done to them, against a model that fits on a page."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_NO_RECORD
from nsor.registry.v1.identity_pb2 import NewCnic
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    OFFENDER_STATUS_SEALED,
    CourtEvent,
    Offender,
)
from tests.support.contract import (
    OVERSIGHT,
    Node,
    acceptance,
    change,
    court_event,
    creation,
    declination,
    identity_event,
    merging,
    node,
    proposal,
    refusal_of,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender

POLICE = ("punjab-police", "sindh-police")


@dataclass
class Life:
    """What the model knows of a record.

    Attributes:
        entered: the request that entered it.
        read: the record as its last write left it.
        revision: of that write.
        numbers: that the person has, or had before; without those of records that were merged into it.
        convictions: the last event of each; None at first.
        into: the record that it was merged into.
        others: the records that were merged into it.
    """

    entered: Message
    read: Offender
    revision: str
    numbers: list[str]
    convictions: list[CourtEvent.ValueType | None] = field(default_factory=lambda: [None])
    into: "Life | None" = None
    others: list["Life"] = field(default_factory=list["Life"])

    @property
    def sealed(self) -> bool:
        return self.read.status == OFFENDER_STATUS_SEALED

    @property
    def ended(self) -> str:
        """Why nothing can be done with it; empty while something can."""
        return "OFFENDER_SEALED" if self.sealed else "OFFENDER_MERGED" if self.into else ""


def machine(hub: RunningHub) -> type[RuleBasedStateMachine]:
    """A machine on a hub: each step writes a record, or is refused for the reason that the model gives."""

    def enter(police: str) -> Life:
        offender = fresh_offender()
        offender.convictions[0].finality = FINALITY_FINAL
        request = creation(offender)
        written = node(hub, police).call(request)
        return Life(request, written.offender, written.revision, [offender.person.cnic])

    class Lives(RuleBasedStateMachine):
        lives = Bundle("lives")
        done = Bundle("done")

        def attempt(self, caller: str, life: Life, request: Message, reason: str) -> Any:
            """Makes a request that the model allows (no reason), or expects the hub to refuse it."""
            by: Node = node(hub, caller)
            if reason:
                assert refusal_of(lambda: by.call(request)).reason == reason
                return multiple()
            response = by.call(request)
            life.read, life.revision = response.offender, response.revision
            return caller, life, request, response.offender.etag

        @rule(target=lives, police=st.sampled_from(POLICE))
        def create(self, police: str) -> Life:
            return enter(police)

        @rule(target=done, life=lives, police=st.sampled_from(POLICE))
        def update(self, life: Life, police: str) -> Any:
            owns = life.read.owner == f"nodes/{police}"
            reason = life.ended or ("" if owns else "NOT_OWNER")
            # The etag alone: a sealed record has nothing else to send.
            return self.attempt(police, life, change(with_facts(life), "district"), reason)

        @rule(target=done, life=lives, appeal=st.booleans(), conviction=st.integers(0))
        def court(self, life: Life, appeal: bool, conviction: int) -> Any:
            event = COURT_EVENT_APPEAL_FILED if appeal else COURT_EVENT_SET_ASIDE
            return self.decide(life, event, conviction % len(life.convictions))

        @rule(life=lives)
        def acquit(self, life: Life) -> None:
            """Every conviction that stands is set aside."""
            for index, last in enumerate(life.convictions):
                if last != COURT_EVENT_SET_ASIDE:
                    self.decide(life, COURT_EVENT_SET_ASIDE, index)

        def decide(self, life: Life, event: CourtEvent.ValueType, index: int) -> Any:
            reason = life.ended
            if not reason and life.convictions[index] in (event, COURT_EVENT_SET_ASIDE):
                reason = "COURT_EVENT_NOT_POSSIBLE"
            made = self.attempt(
                "lahore-high-court", life, court_event(with_facts(life), event, number=index + 1), reason
            )
            if not reason:
                life.convictions[index] = event
                assert life.sealed == (set(life.convictions) == {COURT_EVENT_SET_ASIDE})
                if life.sealed:
                    self.follow(life)
            return made

        @rule(target=done, life=lives, other=lives)
        def merge(self, life: Life, other: Life) -> Any:
            if life is other:
                other = enter("sindh-police")
            reason = life.ended or other.ended
            if not reason and (life.read.HasField("transfer") or other.read.HasField("transfer")):
                reason = "TRANSFER_ALREADY_OPEN"
            made = self.attempt("npb", life, merging(life.read, other.read), reason)
            if not reason:
                life.others += [other, *other.others]
                other.others = []
                life.convictions += other.convictions
                self.follow(life)
                cnics = [each.numbers[-1] for each in life.others]
                assert [identity.cnic for identity in life.read.other_identities] == cnics
            return made

        def follow(self, life: Life) -> None:
            """What became of a record became of those merged into it."""
            for other in life.others:
                other.into, other.revision = life, life.revision
                other.read = node(hub, "npb").get(other.read.name, OVERSIGHT)
                assert (other.sealed, other.read.HasField("person")) == (life.sealed, False)
                assert other.read.merged_into == ("" if life.sealed else life.read.name)

        @rule(target=done, life=lives)
        def propose(self, life: Life) -> Any:
            owner, other = sorted(POLICE, key=lambda police: life.read.owner != f"nodes/{police}")
            reason = life.ended
            if not reason and life.read.HasField("transfer"):
                reason = "TRANSFER_ALREADY_OPEN"
            return self.attempt(owner, life, proposal(life.read, f"nodes/{other}"), reason)

        @rule(target=done, life=lives, police=st.sampled_from(POLICE), accept=st.booleans())
        def answer(self, life: Life, police: str, accept: bool) -> Any:
            request = acceptance(life.read) if accept else declination(life.read)
            reason = life.ended
            if not reason and not life.read.HasField("transfer"):
                reason = "NO_OPEN_TRANSFER"
            elif not reason and accept and life.read.transfer.receiver != f"nodes/{police}":
                reason = "NOT_RECEIVER"
            return self.attempt(police, life, request, reason)

        @rule(life=lives, card=st.integers(0))
        def replace_card(self, life: Life, card: int) -> None:
            """NADRA replaces a number; it may know the person by any that they ever had."""
            new, nadra = fresh_cnic(), node(hub, "nadra")
            request = identity_event(life.numbers[card % len(life.numbers)], new_cnic=NewCnic(cnic=new))
            if life.sealed:
                assert refusal_of(lambda: nadra.call(request)).reason == "OFFENDER_NOT_FOUND"
                return
            holder, reported = life.into or life, nadra.call(request)
            life.revision = holder.revision = reported.revision
            life.numbers.append(new)
            before = holder.read
            assert reported.offender == before.name
            holder.read = node(hub, "npb").get(before.name, OVERSIGHT)
            assert (holder.read.owner, holder.read.transfer) == (before.owner, before.transfer)
            [person] = [who for who in (holder.read.person, *holder.read.other_identities) if who.cnic == new]
            assert [former.cnic for former in person.history.former_cnics] == life.numbers[:-1]

        @rule(life=lives)
        def check(self, life: Life) -> None:
            for number in life.numbers:
                outcome = node(hub, "fia").check(number, life.revision).outcome
                assert outcome == (OUTCOME_NO_RECORD if life.sealed else OUTCOME_HIT)

        @rule(life=lives)
        def stale(self, life: Life) -> None:
            old = with_facts(life)
            old.etag = '"0"'
            reason = life.ended or "ETAG_MISMATCH"
            owner = life.read.owner.removeprefix("nodes/")
            assert refusal_of(lambda: node(hub, owner).call(change(old, "district"))).reason == reason

        @rule(past=done)
        def again(self, past: tuple[str, Life, Message, str]) -> None:
            caller, life, request, etag = past
            answer = node(hub, caller).call(request).offender
            assert (answer.name, answer.etag) == (life.read.name, etag), "a retry gives the first answer"
            assert answer.HasField("person") != life.sealed

        @rule(life=lives, card=st.integers(0))
        def enter_again(self, life: Life, card: int) -> None:
            offender = with_facts(life)
            offender.person.cnic = life.numbers[card % len(life.numbers)]
            other = creation(offender)
            reason = "CONVICTION_SET_ASIDE" if life.sealed else "OFFENDER_ALREADY_EXISTS"
            assert refusal_of(lambda: node(hub, "sindh-police").call(other)).reason == reason

        @rule(life=lives)
        def read(self, life: Life) -> None:
            assert node(hub, "npb").get(life.read.name, OVERSIGHT) == life.read

        @rule(life=consumes(lives))
        def forget(self, life: Life) -> None:
            """Lets the machine begin anew now and then."""

    return Lives


def with_facts(life: Life) -> Offender:
    """The record as its owner remembers it, which a sealed one no longer tells, under its newest etag."""
    request: Any = life.entered
    offender = Offender()
    offender.CopyFrom(request.offender)
    offender.name, offender.etag = life.read.name, life.read.etag
    return offender


def test_records_live_as_the_model_says(hub: RunningHub) -> None:
    run_state_machine_as_test(
        machine(hub),
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
