"""The end of a record: what courts decide, and what is left when nothing of a conviction stands."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest

from hub.domain.offender import CourtEvent as Event
from hub.domain.offender import Finality
from nsor.federation.v1.federation_service_pb2 import GetSnapshotRequest
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_NO_RECORD
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_DISMISSED,
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    FINALITY_SET_ASIDE,
    FINALITY_UNDER_APPEAL,
    OFFENDER_STATUS_REGISTERED,
    OFFENDER_STATUS_SEALED,
    CourtEvent,
    Offender,
)
from nsor.registry.v1.offender_pb2 import Finality as FinalityValue
from tests.support.contract import (
    INVESTIGATION,
    Node,
    Refusal,
    at_once,
    change,
    court_event,
    creation,
    node,
    notices_of,
    notification,
    row,
    rows_written,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]

# Written down once more, by hand: whoever changes the register's table must change this one too.
LEGAL = {
    ("APPEAL_WINDOW", "APPEAL_FILED"): "UNDER_APPEAL",
    ("APPEAL_WINDOW", "APPEAL_PERIOD_ENDED"): "FINAL",
    ("APPEAL_WINDOW", "SET_ASIDE"): "SET_ASIDE",
    ("UNDER_APPEAL", "APPEAL_DISMISSED"): "FINAL",
    ("UNDER_APPEAL", "SET_ASIDE"): "SET_ASIDE",
    ("FINAL", "APPEAL_FILED"): "UNDER_APPEAL",
    ("FINAL", "SET_ASIDE"): "SET_ASIDE",
}


def convict(finality: FinalityValue.ValueType = FINALITY_FINAL, *, convictions: int = 1) -> Offender:
    """A convict whom no other test uses, convicted in so many cases."""
    offender = fresh_offender()
    offender.convictions[0].finality = finality
    offender.convictions[0].conviction_date = "2025-03-01"
    for number in range(2, convictions + 1):
        offender.convictions.add().CopyFrom(offender.convictions[0])
        offender.convictions[-1].fir_number = f"{number}00/2024"
    return offender


@pytest.fixture
def sealed(punjab: Node, court: Node) -> tuple[Offender, Offender, str]:
    """A record as it was entered and as it was sealed, and the revision of that."""
    entered = punjab.create(convict()).offender
    answer = court.call(court_event(entered, COURT_EVENT_SET_ASIDE))
    return entered, answer.offender, answer.revision


@pytest.mark.parametrize(("finality", "event"), [*product(Finality, Event)])
def test_a_conviction_goes_on_by_the_law_only(punjab: Node, court: Node, finality: Finality, event: Event) -> None:
    # A second conviction stands throughout, so that the record is not sealed.
    [of_contract, by_court] = [FinalityValue.Value(f"FINALITY_{finality}"), CourtEvent.Value(f"COURT_EVENT_{event}")]
    if finality is Finality.SET_ASIDE:
        record = punjab.create(convict(convictions=2)).offender
        record = court.call(court_event(record, COURT_EVENT_SET_ASIDE)).offender
    else:
        record = punjab.create(convict(of_contract, convictions=2)).offender
    request = court_event(record, by_court, day="2026-07-01")
    if (finality, event) not in LEGAL:
        refusal = court.refused(request)
        assert refusal.reason == "COURT_EVENT_NOT_POSSIBLE"
        assert refusal.metadata == {"finality": f"FINALITY_{finality}", "event": f"COURT_EVENT_{event}"}
        assert punjab.get(record.name) == record
        return
    after = court.call(request).offender
    expected = deepcopy(record)
    expected.convictions[0].finality = FinalityValue.Value(f"FINALITY_{LEGAL[finality, event]}")
    expected.convictions[0].finality_date = "2026-07-01"
    expected.etag = after.etag
    expected.update_time.CopyFrom(after.update_time)
    assert after == punjab.get(record.name) == expected
    assert after.etag != record.etag


def test_npb_records_for_a_court_and_says_on_which_order(punjab: Node, npb: Node) -> None:
    record = punjab.create(convict()).offender
    request = court_event(record, COURT_EVENT_APPEAL_FILED)
    request.reason = ""
    assert list(npb.refused(request).fields) == ["reason"]
    request.reason = "order of the Peshawar High Court of 2026-06-01"
    assert npb.call(request).offender.convictions[0].finality == FINALITY_UNDER_APPEAL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conviction_number", 2),
        ("event_date", "2025-02-28"),  # before the conviction
        ("event_date", (datetime.now(UTC) + timedelta(days=2)).date().isoformat()),
        ("event_date", "2026-02-30"),
        ("reason", " "),
        ("etag", "garbage"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(punjab: Node, court: Node, field: str, value: str | int) -> None:
    record = punjab.create(convict()).offender
    request = court_event(record, COURT_EVENT_APPEAL_FILED)
    setattr(request, field, value)
    assert list(court.refused(request).fields) == [field]


def test_an_appeal_does_not_fail_before_it_was_filed(punjab: Node, court: Node) -> None:
    record = punjab.create(convict()).offender
    record = court.call(court_event(record, COURT_EVENT_APPEAL_FILED, day="2026-05-02")).offender
    early = court_event(record, COURT_EVENT_APPEAL_DISMISSED, day="2026-05-01")
    assert list(court.refused(early).fields) == ["event_date"]


def test_an_event_needs_the_etag_that_was_read_and_is_recorded_once(punjab: Node, court: Node) -> None:
    record = punjab.create(convict()).offender
    request = court_event(record, COURT_EVENT_APPEAL_FILED)
    first = court.call(request)
    assert court.call(request) == first
    assert court.refused(court_event(record, COURT_EVENT_APPEAL_FILED)).reason == "ETAG_MISMATCH"


def test_an_owner_adds_convictions_and_changes_no_finality(punjab: Node) -> None:
    record = punjab.create(convict()).offender
    record.convictions.add().CopyFrom(convict().convictions[0])
    record = punjab.update(record, "convictions").offender
    assert [conviction.number for conviction in record.convictions] == [1, 2]
    for field, value in (("finality", FINALITY_UNDER_APPEAL), ("finality_date", "2026-01-01")):
        changed = deepcopy(record)
        setattr(changed.convictions[1], field, value)
        refusal = punjab.refused(change(changed, "convictions"))
        assert refusal.fields == {f"offender.convictions[1].{field}": "BY_COURT_EVENT"}
    record.convictions.add().CopyFrom(convict(FINALITY_SET_ASIDE).convictions[0])
    assert punjab.refused(change(record, "convictions")).fields == {"offender.convictions[2].finality": "SET_ASIDE"}
    del record.convictions[1:]
    assert punjab.refused(change(record, "convictions")).fields == {"offender.convictions": "REMOVED"}


def test_a_record_is_sealed_once_every_conviction_was_set_aside(punjab: Node, court: Node) -> None:
    entered = punjab.create(convict(convictions=2)).offender
    one = court.call(court_event(entered, COURT_EVENT_SET_ASIDE, number=2)).offender
    assert (one.status, one.person) == (OFFENDER_STATUS_REGISTERED, entered.person)
    sealed = court.call(court_event(one, COURT_EVENT_SET_ASIDE)).offender
    assert sealed == punjab.get(entered.name) == court.get(entered.name, INVESTIGATION)
    assert sealed == Offender(
        name=entered.name,
        owner=punjab.name,
        status=OFFENDER_STATUS_SEALED,
        etag=sealed.etag,
        create_time=entered.create_time,
        update_time=sealed.update_time,
    ), "nothing of the person is left"


def test_nothing_changes_a_sealed_record(
    hub: RunningHub, punjab: Node, court: Node, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, tombstone, _ = sealed
    entered.etag = tombstone.etag
    before = rows_written(hub.sql)
    assert punjab.refused(change(entered, "district")).reason == "OFFENDER_SEALED"
    assert punjab.refused(notification(entered.name)).reason == "OFFENDER_SEALED"
    assert court.refused(court_event(entered, COURT_EVENT_APPEAL_FILED)).reason == "OFFENDER_SEALED"
    assert rows_written(hub.sql) == before


def test_the_key_of_a_sealed_record_is_erased(hub: RunningHub, punjab: Node, court: Node) -> None:
    entered = punjab.create(convict()).offender
    punjab.call(notification(entered.name))
    court.call(court_event(entered, COURT_EVENT_SET_ASIDE))
    id = UUID(entered.name.removeprefix("offenders/"))
    assert hub.sql("SELECT wrapped_key FROM offender WHERE id = %s", id) == [(None,)]
    assert punjab.call(notices_of(entered.name)).notices == []


def test_a_conviction_that_was_set_aside_is_not_entered_again(
    hub: RunningHub, punjab: Node, sindh: Node, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, tombstone, _ = sealed
    before = rows_written(hub.sql)
    respelt = deepcopy(entered)
    respelt.convictions[0].court, respelt.convictions[0].case_number = "ATC Lahore", "other"
    respelt.convictions[0].police_station = entered.convictions[0].police_station.upper().replace(",", " -")
    respelt.convictions[0].fir_number = f"0{entered.convictions[0].fir_number}"[-11:]
    for copy in (entered, respelt):
        for police in (punjab, sindh):
            refusal = police.refused(creation(copy))
            assert refusal.reason == "CONVICTION_SET_ASIDE"
            assert refusal.metadata == {"offender": tombstone.name}
    [of_row, other] = punjab.import_rows([row(1, entered), row(2)])
    assert of_row.error.reason == 60, "CONVICTION_SET_ASIDE"
    assert other.offender, "and does not keep others out"
    after = rows_written(hub.sql)
    assert after["offender"] - before["offender"] == 1


def test_a_late_retry_does_not_bring_a_sealed_record_back(punjab: Node, court: Node) -> None:
    request, import_row = creation(convict()), row(1, convict())
    entered = punjab.call(request).offender
    [imported] = punjab.import_rows([import_row])
    update = change(entered, "district")
    updated = punjab.call(update).offender
    court.call(court_event(updated, COURT_EVENT_SET_ASIDE))
    court.call(court_event(punjab.get(imported.offender), COURT_EVENT_SET_ASIDE))
    refusal = punjab.refused(request)
    assert (refusal.reason, refusal.metadata) == ("CONVICTION_SET_ASIDE", {"offender": entered.name})
    [again] = punjab.import_rows([import_row])
    assert dict(again.error.metadata) == {"offender": imported.offender}
    replayed = punjab.call(update).offender
    assert (replayed.etag, replayed.status) == (updated.etag, OFFENDER_STATUS_SEALED)
    assert not replayed.HasField("person"), "the first answer again, but for what was erased"


def test_another_conviction_of_the_same_person_makes_a_new_record(
    punjab: Node, sindh: Node, gateway: Node, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, tombstone, _ = sealed
    again = convict()
    again.person.CopyFrom(entered.person)
    written = sindh.create(again)
    assert written.offender.name != tombstone.name
    assert gateway.check(entered.person.cnic, written.revision).outcome == OUTCOME_HIT
    assert punjab.get(tombstone.name) == tombstone
    assert punjab.refused(creation(again)).reason == "OFFENDER_ALREADY_EXISTS"


def test_a_retrial_ends_in_a_conviction_of_its_own(
    punjab: Node, court: Node, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, tombstone, _ = sealed
    retried = deepcopy(entered)
    retried.convictions[0].conviction_date = "2026-06-02"  # the first was set aside the day before
    retried.convictions[0].ClearField("finality_date")
    record = punjab.create(retried).offender
    assert record.name != tombstone.name
    court.call(court_event(record, COURT_EVENT_SET_ASIDE, day="2026-07-01"))
    for conviction_date in ("2025-03-01", "2026-06-02"):
        retried.convictions[0].conviction_date = conviction_date
        assert punjab.refused(creation(retried)).reason == "CONVICTION_SET_ASIDE"


def test_a_conviction_that_was_set_aside_is_not_added_to_another_record(
    punjab: Node, court: Node, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, _, _ = sealed
    again = convict()
    again.person.CopyFrom(entered.person)
    record = punjab.create(again).offender
    record.convictions.append(entered.convictions[0])
    assert punjab.refused(change(record, "convictions")).reason == "CONVICTION_SET_ASIDE"


def test_of_two_counts_in_one_case_one_can_stand(punjab: Node, court: Node) -> None:
    offender = convict()
    offender.convictions.add().CopyFrom(offender.convictions[0])
    record = punjab.create(offender).offender
    record = court.call(court_event(record, COURT_EVENT_SET_ASIDE)).offender
    record.district = "Multan"
    assert punjab.update(record, "district", "convictions").offender.status == OFFENDER_STATUS_REGISTERED


def test_every_node_hears_of_the_end_and_no_answer_shows_what_was(
    hub: RunningHub, punjab: Node, sindh: Node, fia: Node, court: Node
) -> None:
    start = punjab.create()
    entered = punjab.create(convict())
    punjab.call(notification(entered.offender.name))
    answer = court.call(court_event(entered.offender, COURT_EVENT_SET_ASIDE))
    end = punjab.create()
    for watcher in (sindh, fia):
        watcher.check(end.offender.person.cnic, end.revision)  # so its worker has come that far
        changes = [c for e in watcher.events(start.revision, until=end.offender.name) for c in e.changes]
        versions = [c.offender for c in changes if c.offender.name == entered.offender.name]
        assert [version.etag for version in versions] == [entered.offender.etag, answer.offender.etag]
        assert versions[-1] == answer.offender
        assert not any(version.HasField("person") for version in versions), "nor of the versions before"
        [notice] = [c.notice for c in changes if c.notice.name.startswith(entered.offender.name)]
        assert (notice.WhichOneof("detail"), notice.notified_date) == (None, "")
    with hub.channel("fia") as channel:
        request = GetSnapshotRequest(at_least_revision=end.revision)
        parts = list(FederationServiceStub(channel).GetSnapshot(request, timeout=30))
    assert answer.offender in [offender for part in parts for offender in part.offenders]
    assert not [n for part in parts for n in part.notices if n.name.startswith(entered.offender.name)]


def test_a_check_finds_nothing_once_the_record_is_sealed(
    hub: RunningHub, sealed: tuple[Offender, Offender, str]
) -> None:
    entered, _, revision = sealed
    for name in ("sms-7000", "sed-punjab", "punjab-police", "npb"):
        for line in range(4):
            answer = node(hub, name, line).check(entered.person.cnic, revision)
            assert (answer.outcome, answer.HasField("person")) == (OUTCOME_NO_RECORD, False)


def test_an_edit_and_a_court_that_sets_aside_at_once_do_not_mix(hub: RunningHub, punjab: Node) -> None:
    for _ in range(3):
        record = punjab.create(convict()).offender

        def attempt(line: int, record: Offender = record) -> object:
            if line % 2:
                return node(hub, "lahore-high-court", line).call(court_event(record, COURT_EVENT_SET_ASIDE))
            return node(hub, "punjab-police", line).update(record, "district")

        answers = at_once(6, attempt)
        [winner] = [answer for answer in answers if not isinstance(answer, Refusal)]
        assert {a.reason for a in answers if isinstance(a, Refusal)} <= {"ETAG_MISMATCH", "OFFENDER_SEALED"}
        assert punjab.get(record.name) == winner.offender


def test_a_conviction_that_is_set_aside_while_it_is_entered_again_stays_out(hub: RunningHub, punjab: Node) -> None:
    for _ in range(5):
        record = punjab.create(convict()).offender

        def attempt(line: int, record: Offender = record) -> object:
            if line == 0:
                return node(hub, "lahore-high-court").call(court_event(record, COURT_EVENT_SET_ASIDE))
            return node(hub, "sindh-police", line).call(creation(record))

        sealed, *others = at_once(5, attempt)
        assert sealed.offender.status == OFFENDER_STATUS_SEALED
        reasons = {"OFFENDER_ALREADY_EXISTS", "CONVICTION_SET_ASIDE", "HUB_UNAVAILABLE"}
        assert {refusal.reason for refusal in others} <= reasons
