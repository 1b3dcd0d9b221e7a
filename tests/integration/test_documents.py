"""People without a CNIC: on the register by another document, found by the police, never by a check."""

from pathlib import Path

import pytest

from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_INVALID_CNIC
from nsor.registry.v1.identity_pb2 import IdentityEvent, NewCnic
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, FINALITY_FINAL, Offender, Passport, Person
from nsor.registry.v1.registry_service_pb2 import FindOffenderRequest
from nsor_client.mirror import KEY_BYTES, Mirror
from tests.support.access import obtain
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    Node,
    change,
    court_event,
    creation,
    identity_event,
    node,
    row,
    rows_written,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender, fresh_old_nic, fresh_passport

pytest_plugins = ["tests.support.nodes"]


def known_by(*, cnic: str = "", old_nic: str = "", passport: Passport | None = None) -> Offender:
    """A convict who is known by these documents."""
    offender = fresh_offender(cnic=cnic, old_nic=old_nic)
    offender.person.passports.extend([passport] if passport else [])
    offender.convictions[0].finality = FINALITY_FINAL
    return offender


def test_a_person_is_entered_by_any_document(punjab: Node) -> None:
    passport = fresh_passport()
    for offender in (known_by(old_nic=fresh_old_nic()), known_by(passport=passport)):
        written = punjab.create(offender).offender
        assert written.person == offender.person
        assert punjab.get(written.name) == written
    nic = fresh_old_nic()
    spelt = known_by(old_nic=" ".join(nic.replace("-", "")))
    assert punjab.create(spelt).offender.person.old_nic == nic


def test_a_person_without_any_document_is_not_entered(hub: RunningHub, punjab: Node) -> None:
    before = rows_written(hub.sql)
    assert punjab.refused(creation(known_by())).fields == {"offender.person.cnic": "REQUIRED"}
    written = punjab.create(known_by(passport=fresh_passport())).offender
    del written.person.passports[:]
    assert punjab.refused(change(written, "person.passports")).fields == {"offender.person.cnic": "REQUIRED"}
    assert rows_written(hub.sql)["offender"] == before["offender"] + 1


def test_a_document_stands_on_one_record(hub: RunningHub, punjab: Node, sindh: Node) -> None:
    cnic, nic, passport = fresh_cnic(), fresh_old_nic(), fresh_passport()
    written = punjab.create(known_by(cnic=cnic, old_nic=nic, passport=passport)).offender
    before = rows_written(hub.sql)
    respelt = Passport(country=passport.country, number=f"{passport.number[:4]} {passport.number[4:]}")
    for again in (
        known_by(cnic=cnic),
        known_by(old_nic=nic.replace("-", "")),
        known_by(passport=respelt),
        known_by(cnic=fresh_cnic(), passport=passport),
    ):
        refusal = sindh.refused(creation(again))
        assert refusal.reason == "OFFENDER_ALREADY_EXISTS"
        assert refusal.metadata == {"offender": written.name, "owner": punjab.name}
    assert rows_written(hub.sql) == before
    refused = known_by(cnic=fresh_cnic(), passport=passport)
    del refused.person.passports[:]
    assert sindh.create(refused).offender, "of a record that was refused no number is kept"
    assert sindh.create(known_by(passport=Passport(country="IRN", number=passport.number))).offender


def test_rows_of_one_import_that_share_a_document_are_one_record(punjab: Node) -> None:
    passport = fresh_passport()
    results = punjab.import_rows(
        [row(number, known_by(cnic=fresh_cnic(), passport=passport)) for number in range(1, 4)]
    )
    assert [result.HasField("error") for result in results] == [False, True, True]
    assert {result.error.metadata["offender"] for result in results[1:]} == {results[0].offender}


def test_checks_know_nothing_but_the_cnic(hub: RunningHub, punjab: Node, tmp_path: Path) -> None:
    nic, passport = fresh_old_nic(), fresh_passport()
    revision = punjab.create(known_by(old_nic=nic, passport=passport)).revision
    texts = [nic, nic.replace("-", ""), f"NIC {nic}", passport.number, f"{passport.country}{passport.number}"]
    for caller in ("sms-7000", "sed-punjab", "punjab-police", "fia"):
        for text in texts:
            assert node(hub, caller).check(text, revision).outcome == OUTCOME_INVALID_CNIC
    with hub.client("punjab-police") as client, Mirror(tmp_path / "mirror.db", bytes(KEY_BYTES)) as mirror:
        list(mirror.build(client, at_least_revision=revision))
        assert nic in [offender.person.old_nic for offender in mirror.offenders()], "but it is there"
        assert {mirror.check(text).response.outcome for text in texts} == {OUTCOME_INVALID_CNIC}
        assert client.reconcile([], at_least_revision=revision).records == 0


def test_an_owner_adds_documents_and_mends_them(punjab: Node, sindh: Node) -> None:
    first, second, wrong = (fresh_passport() for _ in range(3))
    taken = sindh.create(known_by(passport=fresh_passport())).offender
    record = punjab.create(known_by(passport=wrong)).offender

    record.person.cnic = cnic = fresh_cnic()
    written = punjab.update(record, "person.cnic")
    assert punjab.check(cnic, written.revision).outcome == OUTCOME_HIT
    record = written.offender
    record.person.cnic = fresh_cnic()
    assert punjab.refused(change(record, "person.cnic")).fields == {"offender.person.cnic": "IMMUTABLE"}

    record.person.cnic = cnic
    del record.person.passports[:]
    record.person.passports.extend([first, second])
    record = punjab.update(record, "person.passports").offender
    assert list(record.person.passports) == [first, second]
    assert sindh.create(known_by(passport=wrong)).offender, "it was typed wrong and is another person's"

    record.person.passports.extend(taken.person.passports)
    refusal = punjab.refused(change(record, "person"))
    assert refusal.reason == "OFFENDER_DUPLICATE"
    assert refusal.metadata == {"offender": record.name, "duplicate": taken.name}


def test_nadra_knows_who_holds_an_old_card(hub: RunningHub, punjab: Node) -> None:
    nadra, nic, cnic = node(hub, "nadra"), fresh_old_nic(), fresh_cnic()
    record = punjab.create(known_by(old_nic=nic)).offender
    request = identity_event("", new_cnic=NewCnic(cnic=cnic))
    assert list(nadra.refused(request).fields) == ["event.cnic"]
    request.event.old_nic = nic
    written = nadra.call(request)
    assert written.offender == record.name
    assert punjab.get(record.name).person == Person.FromString(
        record.person.SerializeToString() + Person(cnic=cnic).SerializeToString()
    )
    assert node(hub, "sms-7000").check(cnic, written.revision).outcome == OUTCOME_HIT
    both = IdentityEvent(cnic=cnic, old_nic=nic, event_date="2026-05-01", new_cnic=NewCnic(cnic=fresh_cnic()))
    request.event.CopyFrom(both)
    assert list(nadra.refused(request).fields) == ["event.cnic"]
    request.event.CopyFrom(IdentityEvent(old_nic="1", event_date="2026-05-01", new_cnic=NewCnic(cnic=cnic)))
    assert list(nadra.refused(request).fields) == ["event.old_nic"]


def test_an_investigator_finds_a_person_by_every_document(hub: RunningHub, punjab: Node, fia: Node) -> None:
    old, new, nic, passport = fresh_cnic(), fresh_cnic(), fresh_old_nic(), fresh_passport()
    record = punjab.create(known_by(cnic=old, old_nic=nic, passport=passport)).offender
    refusal = fia.refused(FindOffenderRequest(old_nic=nic, officer=INVESTIGATION))
    assert (refusal.reason, refusal.metadata) == ("ACCESS_NOT_GRANTED", {"offender": record.name}), "to ask with"
    obtain(hub, fia, record.name)
    revision = node(hub, "nadra").call(identity_event(old, new_cnic=NewCnic(cnic=new))).revision
    known = punjab.get(record.name)
    small = Passport(country=passport.country, number=f" {passport.number[:3]}-{passport.number[3:]}")
    for document in ({"cnic": old}, {"cnic": new.replace("-", "")}, {"old_nic": nic}, {"passport": small}):
        request = FindOffenderRequest(**document, officer=INVESTIGATION, at_least_revision=revision)
        assert fia.call(request).offender == known
        request.officer.CopyFrom(MAINTENANCE)
        assert punjab.call(request).offender == known, "an owner finds its own"
        assert fia.refused(request).reason == "PURPOSE_NOT_ALLOWED"


def test_a_search_leaves_its_trace_whether_it_finds_anybody(hub: RunningHub, punjab: Node, fia: Node) -> None:
    nic = fresh_old_nic()
    obtain(hub, fia, punjab.create(known_by(old_nic=nic)).offender.name)
    [(newest,)] = hub.sql("SELECT max(id) FROM audit_entry")
    fia.call(FindOffenderRequest(old_nic=nic, officer=INVESTIGATION))
    for nobody in ({"old_nic": fresh_old_nic()}, {"cnic": fresh_cnic()}, {"passport": fresh_passport()}):
        request = FindOffenderRequest(**nobody, officer=INVESTIGATION)
        assert fia.refused(request).reason == "OFFENDER_NOT_FOUND"
    entries = hub.sql(
        """SELECT decision, officer_id, fir_number, length(subject), count(*) OVER (PARTITION BY subject)
        FROM audit_entry WHERE id > %s AND method LIKE '%%/FindOffender' ORDER BY id""",
        newest,
    )
    who = (INVESTIGATION.officer_id, INVESTIGATION.fir_number, 32, 1)
    assert entries == [("ALLOWED", *who)] + [("OFFENDER_NOT_FOUND", *who)] * 3


def test_nobody_finds_a_sealed_record(punjab: Node, court: Node) -> None:
    record = punjab.create(known_by(old_nic=(nic := fresh_old_nic()))).offender
    court.call(court_event(record, COURT_EVENT_SET_ASIDE))
    request = FindOffenderRequest(old_nic=nic, officer=INVESTIGATION)
    assert punjab.refused(request).reason == "OFFENDER_NOT_FOUND"


@pytest.mark.parametrize("kind", ["cnic", "old_nic", "passports"])
def test_what_was_set_aside_is_so_under_every_document(punjab: Node, sindh: Node, court: Node, kind: str) -> None:
    record = punjab.create(known_by(cnic=fresh_cnic(), old_nic=fresh_old_nic(), passport=fresh_passport())).offender
    court.call(court_event(record, COURT_EVENT_SET_ASIDE))
    late = fresh_offender()
    late.convictions[0].CopyFrom(record.convictions[0])
    late.person.ClearField("cnic")
    late.person.MergeFrom(Person(**{kind: getattr(record.person, kind)}))
    refusal = sindh.refused(creation(late))
    assert (refusal.reason, refusal.metadata) == ("CONVICTION_SET_ASIDE", {"offender": record.name})
    late.convictions[0].fir_number = "77/2024"
    assert sindh.create(late).offender.name != record.name, "the documents are free for another conviction"
