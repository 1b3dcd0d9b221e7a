"""What NADRA reports of persons: kept with its period, found by every number, told to everybody who may know."""

from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from hub.domain.cnic import Cnic
from hub.lookup.index import LookupIndex
from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from hub.transport import convert
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_NO_RECORD
from nsor.registry.v1.identity_pb2 import Death, NewCnic, NewGuardian, NewName
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    GUARDIAN_RELATION_HUSBAND,
    FormerCnic,
    FormerGuardian,
    FormerName,
    Offender,
)
from nsor.registry.v1.registry_service_pb2 import ListOffenderRevisionsRequest, ReportIdentityEventResponse
from nsor_client.mirror import KEY_BYTES, Mirror
from tests.support.contract import (
    MAINTENANCE,
    Node,
    Refusal,
    at_once,
    change,
    court_event,
    creation,
    identity_event,
    node,
    proposal,
    row,
    rows_written,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender

pytest_plugins = ["tests.support.nodes"]


@pytest.fixture
def nadra(hub: RunningHub) -> Node:
    return node(hub, "nadra")


def convict(convictions: int = 1) -> Offender:
    """A convict of no other test, finally convicted in so many cases."""
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_FINAL
    for number in range(2, convictions + 1):
        offender.convictions.add().CopyFrom(offender.convictions[0])
        offender.convictions[-1].fir_number = f"{number}00/2024"
    return offender


def replaced(nadra: Node, cnic: str, new: str = "", day: str = "2026-05-01") -> ReportIdentityEventResponse:
    """The holder of a card gets another number."""
    return nadra.call(identity_event(cnic, day=day, new_cnic=NewCnic(cnic=new or fresh_cnic())))


def test_a_record_keeps_names_guardians_and_numbers_with_their_periods(punjab: Node, nadra: Node) -> None:
    written = punjab.create(convict()).offender
    born, second, third = written.person, fresh_cnic(), fresh_cnic()
    named = NewName(full_name="Somebody Else", full_name_ur="کوئی اور")
    wedded = NewGuardian(guardian_name="Her Husband", guardian_relation=GUARDIAN_RELATION_HUSBAND)
    reports = [
        identity_event(born.cnic, day="2025-02-01", new_name=named),
        identity_event(born.cnic, day="2025-01-01", new_cnic=NewCnic(cnic=second)),
        identity_event(born.cnic, day="2025-03-01", new_cnic=NewCnic(cnic=third.replace("-", ""))),
        identity_event(second, day="2025-02-01", new_guardian=wedded),
        identity_event(third, day="2026-01-01", death=Death()),
    ]
    answers = [nadra.call(report) for report in reports]
    assert {answer.offender for answer in answers} == {written.name}
    expected = deepcopy(written)
    who, past = expected.person, expected.person.history
    who.cnic, who.full_name, who.full_name_ur = third, named.full_name, named.full_name_ur
    who.guardian_name, who.guardian_name_ur = wedded.guardian_name, ""
    who.guardian_relation = wedded.guardian_relation
    past.former_names.append(
        FormerName(full_name=born.full_name, full_name_ur=born.full_name_ur, end_date="2025-02-01")
    )
    past.former_guardians.append(
        FormerGuardian(
            guardian_name=born.guardian_name,
            guardian_name_ur=born.guardian_name_ur,
            guardian_relation=born.guardian_relation,
            end_date="2025-02-01",
        )
    )
    past.former_cnics.append(FormerCnic(cnic=born.cnic, end_date="2025-01-01"))
    past.former_cnics.append(FormerCnic(cnic=second, begin_date="2025-01-01", end_date="2025-03-01"))
    past.death_date = "2026-01-01"
    after = punjab.get(written.name)
    expected.etag = '"6"'
    expected.update_time.CopyFrom(after.update_time)
    assert after == expected, "and nothing else of the record changes, its owner among that"


def test_every_number_of_a_person_hits_with_the_name_that_they_have_now(
    hub: RunningHub, punjab: Node, nadra: Node
) -> None:
    written = punjab.create(convict())
    old, new = written.offender.person.cnic, fresh_cnic()
    replaced(nadra, old, new)
    revision = nadra.call(identity_event(new, new_name=NewName(full_name="Somebody Else"))).revision
    for line in range(4):
        for number in (old, new):
            answer = node(hub, "fia", line).check(number, revision)
            assert (answer.outcome, answer.person.full_name) == (OUTCOME_HIT, "Somebody Else")
    with hub.client("sed-punjab") as school:
        roster = school.check_many([new, fresh_cnic(), old], at_least_revision=revision)
        assert [answer.outcome for answer in roster] == [OUTCOME_HIT, OUTCOME_NO_RECORD, OUTCOME_HIT]


async def test_a_worker_that_starts_has_every_number(hub: RunningHub, punjab: Node, nadra: Node, court: Node) -> None:
    """Its index comes from a snapshot, not from the feed."""
    standing, sealed = (punjab.create(convict()).offender for _ in range(2))
    numbers = [standing.person.cnic, fresh_cnic(), sealed.person.cnic, fresh_cnic()]
    replaced(nadra, numbers[0], numbers[1])
    replaced(nadra, numbers[2], numbers[3])
    court.call(court_event(punjab.get(sealed.name), COURT_EVENT_SET_ASIDE))
    vault = Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))
    index = LookupIndex(convert.lookup.disclosed_person)
    database = PostgresDatabase(hub.dsn, vault)
    async for records in FeedStore(database, vault).checked_records():
        index.load(records)
    await database.close()
    known = [index.find(vault.index(Cnic.parse(number))) for number in numbers]
    assert known[0] == known[1]
    assert [bool(each.finalities) for each in known] == [True, True, False, False]


def test_a_mirror_finds_a_person_by_every_number(
    hub: RunningHub, punjab: Node, nadra: Node, court: Node, tmp_path: Path
) -> None:
    one, other = (punjab.create(convict()).offender for _ in range(2))
    numbers = [one.person.cnic, fresh_cnic(), other.person.cnic, fresh_cnic()]
    before = replaced(nadra, numbers[0], numbers[1]).revision
    with hub.client("fia") as client, Mirror(tmp_path / "mirror.db", bytes(KEY_BYTES)) as mirror:

        def outcomes() -> list[int]:
            return [mirror.check(number).response.outcome for number in numbers]

        list(mirror.build(client, at_least_revision=before))
        assert outcomes() == [OUTCOME_HIT, OUTCOME_HIT, OUTCOME_HIT, OUTCOME_NO_RECORD]
        replaced(nadra, numbers[2], numbers[3])
        court.call(court_event(punjab.get(one.name), COURT_EVENT_SET_ASIDE))
        with closing(mirror.follow(client)) as steps:
            while outcomes() != [OUTCOME_NO_RECORD, OUTCOME_NO_RECORD, OUTCOME_HIT, OUTCOME_HIT]:
                next(steps)


def test_the_feed_and_snapshots_bring_what_was_before(hub: RunningHub, punjab: Node, sindh: Node, nadra: Node) -> None:
    written = punjab.create(convict())
    replaced(nadra, written.offender.person.cnic)
    after = punjab.get(written.offender.name)
    end = punjab.create()
    events = sindh.events(written.revision, until=end.offender.name)
    assert after in [change.offender for event in events for change in event.changes]
    with hub.client("fia") as client:
        parts = client.get_snapshot(at_least_revision=end.revision)
        assert after in [offender for part in parts for offender in part.offenders]


def test_registers_are_compared_by_the_numbers_of_now(hub: RunningHub, punjab: Node, nadra: Node) -> None:
    written = punjab.create(convict()).offender
    old, new = written.person.cnic, fresh_cnic()
    revision = replaced(nadra, old, new).revision
    with hub.client("punjab-police") as client:
        by_old = client.reconcile([old], at_least_revision=revision)
        assert (written.name in by_old.only_at_hub, by_old.only_at_node) == (True, [old])
        by_new = client.reconcile([new], at_least_revision=revision)
        assert (written.name in by_new.only_at_hub, by_new.only_at_node) == (False, [])


def test_nobody_is_entered_again_by_a_former_number(hub: RunningHub, punjab: Node, sindh: Node, nadra: Node) -> None:
    written = punjab.create(convict()).offender
    new = fresh_cnic()
    replaced(nadra, written.person.cnic, new)
    before = rows_written(hub.sql)
    for number in (written.person.cnic, new):
        refusal = sindh.refused(creation(fresh_offender(cnic=number)))
        assert refusal.reason == "OFFENDER_ALREADY_EXISTS"
        assert refusal.metadata == {"offender": written.name, "owner": punjab.name}
        [result] = sindh.import_rows([row(1, fresh_offender(cnic=number))])
        assert result.error.metadata["offender"] == written.name
    assert rows_written(hub.sql) == before


def test_a_number_of_another_record_is_for_npb_to_merge(
    hub: RunningHub, punjab: Node, sindh: Node, nadra: Node
) -> None:
    one, other = punjab.create(convict()).offender, sindh.create(convict()).offender
    before = rows_written(hub.sql)
    refusal = nadra.refused(identity_event(one.person.cnic, new_cnic=NewCnic(cnic=other.person.cnic)))
    assert refusal.reason == "OFFENDER_DUPLICATE"
    assert refusal.metadata == {"offender": one.name, "duplicate": other.name}
    assert rows_written(hub.sql) == before


def test_of_two_who_claim_a_number_at_once_one_has_it(hub: RunningHub, punjab: Node) -> None:
    for _ in range(3):
        one, other = (punjab.create(convict()).offender for _ in range(2))
        cnic = fresh_cnic()

        def attempt(line: int, holders: tuple[Offender, ...] = (one, other), cnic: str = cnic) -> object:
            if line == 2:
                return node(hub, "sindh-police").create(fresh_offender(cnic=cnic))
            return replaced(node(hub, "nadra", line), holders[line].person.cnic, cnic)

        answers = at_once(3, attempt)
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        assert len(refusals) == 2
        assert {refusal.reason for refusal in refusals} <= {"OFFENDER_DUPLICATE", "OFFENDER_ALREADY_EXISTS"}


def test_of_an_edit_and_a_report_at_once_none_undoes_the_other(hub: RunningHub, punjab: Node) -> None:
    for _ in range(3):
        record = punjab.create(convict()).offender
        record.person.full_name_ur = "کوئی اور"

        def attempt(line: int, record: Offender = record) -> object:
            if line % 2:
                return replaced(node(hub, "nadra", line), record.person.cnic)
            return node(hub, "punjab-police", line).update(record, "person.full_name_ur")

        edits, reports = (answers := at_once(4, attempt))[::2], answers[1::2]
        assert {answer.reason for answer in edits if isinstance(answer, Refusal)} <= {"ETAG_MISMATCH"}
        assert not [answer for answer in reports if isinstance(answer, Refusal)], "NADRA reads no etag"
        after = punjab.get(record.name)
        written = sum(not isinstance(answer, Refusal) for answer in edits)
        assert written <= 1
        assert (after.person.full_name_ur == "کوئی اور") == bool(written)
        assert len(after.person.history.former_cnics) == 2
        assert after.etag == f'"{1 + 2 + written}"'


def test_an_owner_does_not_write_what_nadra_reports(punjab: Node, nadra: Node) -> None:
    sent = convict()
    sent.person.history.former_cnics.add(cnic=fresh_cnic(), end_date="2020-01-01")
    sent.person.history.death_date = "2020-01-01"
    written = punjab.create(sent).offender
    assert not written.person.HasField("history")
    replaced(nadra, written.person.cnic)
    known = punjab.get(written.name)
    edit = deepcopy(known)
    edit.person.ClearField("history")
    edit.person.full_name = "Somebody Else"
    edited = punjab.update(edit, "person").offender
    assert edited.person.history == known.person.history
    for path in ("person.history", "person.history.death_date"):
        assert list(punjab.refused(change(edited, path)).fields) == ["update_mask"]


def test_a_report_is_kept_once_and_says_who_made_it(punjab: Node, nadra: Node) -> None:
    record = punjab.create(convict()).offender
    request = identity_event(record.person.cnic, death=Death())
    request.officer.CopyFrom(MAINTENANCE)
    first = nadra.call(request)
    assert nadra.call(request) == first
    assert punjab.get(record.name).etag == '"2"'
    request.event.event_date = "2026-05-02"
    assert nadra.refused(request).reason == "REQUEST_ID_REUSED"
    history = punjab.call(ListOffenderRevisionsRequest(name=record.name, officer=MAINTENANCE))
    made = history.revisions[0]
    assert (made.node, made.method.rpartition("/")[2]) == (nadra.name, "ReportIdentityEvent")
    assert (made.officer, list(made.changed_fields)) == (MAINTENANCE, ["person.history"])


def test_a_transfer_goes_on_and_the_owner_stays(punjab: Node, sindh: Node, nadra: Node) -> None:
    proposed = punjab.call(proposal(punjab.create(convict()).offender, sindh.name)).offender
    replaced(nadra, proposed.person.cnic)
    after = punjab.get(proposed.name)
    assert (after.owner, after.transfer) == (punjab.name, proposed.transfer)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ({"day": "2026-02-30", "death": Death()}, ["event.event_date"]),
        ({"day": "2999-01-01", "death": Death()}, ["event.event_date"]),
        ({"day": "1899-12-31", "death": Death()}, ["event.event_date"]),
        ({"new_name": NewName(full_name="کوئی اور")}, ["event.new_name.full_name"]),
        ({"new_name": NewName(full_name="A", full_name_ur="A")}, ["event.new_name.full_name_ur"]),
        ({"new_name": NewName()}, ["event.new_name.full_name"]),
        ({"new_guardian": NewGuardian(guardian_name="A")}, ["event.new_guardian.guardian_relation"]),
        ({"new_cnic": NewCnic(cnic="91234-567890")}, ["event.new_cnic.cnic"]),
        ({}, ["event.detail"]),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(
    hub: RunningHub, punjab: Node, nadra: Node, event: dict[str, Any], fields: list[str]
) -> None:
    cnic = punjab.create(convict()).offender.person.cnic
    before = rows_written(hub.sql)
    assert list(nadra.refused(identity_event(cnic, **event)).fields) == fields
    assert rows_written(hub.sql) == before


def test_a_report_that_cannot_follow_is_refused(punjab: Node, nadra: Node) -> None:
    cnic = punjab.create(convict()).offender.person.cnic
    nadra.call(identity_event(cnic, day="2026-01-02", death=Death()))
    again = nadra.refused(identity_event(cnic, day="2026-01-03", death=Death()))
    assert list(again.fields) == ["event.event_date"]
    again = nadra.refused(identity_event(cnic, day="2026-01-01", death=Death()))
    assert (again.reason, again.metadata) == ("IDENTITY_EVENT_NOT_POSSIBLE", {"cause": "DIED_BEFORE"})
    same = nadra.refused(identity_event(cnic, day="2026-01-01", new_cnic=NewCnic(cnic=cnic)))
    assert (same.reason, same.metadata) == ("IDENTITY_EVENT_NOT_POSSIBLE", {"cause": "KNOWN_ALREADY"})


def test_a_number_of_no_record_makes_none_and_leaves_a_trace(hub: RunningHub, nadra: Node) -> None:
    before = rows_written(hub.sql)
    [(newest,)] = hub.sql("SELECT max(id) FROM audit_entry")
    assert nadra.refused(identity_event(fresh_cnic(), death=Death())).reason == "OFFENDER_NOT_FOUND"
    assert rows_written(hub.sql) == before
    entries = hub.sql(
        """SELECT decision, length(subject) FROM audit_entry
        WHERE id > %s AND method LIKE '%%/ReportIdentityEvent'""",
        newest,
    )
    assert entries == [("OFFENDER_NOT_FOUND", 32)]


def test_a_sealed_record_is_found_by_none_of_its_numbers_and_never_entered_again(
    hub: RunningHub, punjab: Node, sindh: Node, nadra: Node, court: Node
) -> None:
    entered = punjab.create(convict(2)).offender
    numbers = [entered.person.cnic, fresh_cnic(), fresh_cnic()]
    report = identity_event(numbers[0], day="2025-01-01", new_cnic=NewCnic(cnic=numbers[1]))
    reported = nadra.call(report)
    court.call(court_event(punjab.get(entered.name), COURT_EVENT_SET_ASIDE))
    # The number that came after it must not bring that conviction back either.
    replaced(nadra, numbers[1], numbers[2])
    sealed = court.call(court_event(punjab.get(entered.name), COURT_EVENT_SET_ASIDE, number=2))
    assert not sealed.offender.HasField("person")
    for number in numbers:
        for line in range(4):
            assert node(hub, "fia", line).check(number, sealed.revision).outcome == OUTCOME_NO_RECORD
        for conviction in entered.convictions:
            late = fresh_offender(cnic=number)
            late.convictions[0].CopyFrom(conviction)
            assert sindh.refused(creation(late)).reason == "CONVICTION_SET_ASIDE"
        assert nadra.refused(identity_event(number, death=Death())).reason == "OFFENDER_NOT_FOUND"
    assert nadra.call(report) == reported, "a retry gives the first answer"
    again = sindh.create(fresh_offender(cnic=numbers[0])).offender
    assert again.name != entered.name, "of another conviction, and of another record"
    assert nadra.call(identity_event(numbers[0], death=Death())).offender == again.name


def test_a_number_under_which_the_conviction_was_set_aside_is_for_a_court(
    punjab: Node, sindh: Node, nadra: Node, court: Node
) -> None:
    acquitted = punjab.create(convict()).offender
    twin = convict()
    twin.convictions[0].CopyFrom(acquitted.convictions[0])
    twin = sindh.create(twin).offender
    court.call(court_event(acquitted, COURT_EVENT_SET_ASIDE))
    refusal = nadra.refused(identity_event(twin.person.cnic, new_cnic=NewCnic(cnic=acquitted.person.cnic)))
    assert (refusal.reason, refusal.metadata) == ("CONVICTION_SET_ASIDE", {"offender": acquitted.name})
