"""Two records of one person become one: nothing that found either is lost, and both ends are the same end."""

from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.domain.cnic import Cnic
from hub.lookup.index import LookupIndex
from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from hub.transport import convert
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_NO_RECORD
from nsor.lookup.v1.watch_list_pb2 import ALERT_KIND_ON_REGISTER, ALERT_KIND_SET_ASIDE
from nsor.registry.v1.access_desk_service_pb2 import ListAccessRequestsRequest
from nsor.registry.v1.access_request_pb2 import ACCESS_SCOPE_HISTORY, ACCESS_SCOPE_PERSON
from nsor.registry.v1.identity_pb2 import NewCnic, NewName
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_APPEAL_WINDOW,
    FINALITY_FINAL,
    FINALITY_SET_ASIDE,
    FINALITY_UNDER_APPEAL,
    OFFENDER_STATUS_MERGED,
    OFFENDER_STATUS_SEALED,
    Offender,
    Passport,
)
from nsor.registry.v1.registry_service_pb2 import (
    FindOffenderRequest,
    GetOffenderRequest,
    ListOffenderRevisionsRequest,
    ListOffendersRequest,
    SearchOffendersRequest,
)
from nsor_client.mirror import KEY_BYTES, Mirror
from tests.support.access import asking, forwarding, obtain, prosecution
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    OVERSIGHT,
    Node,
    Refusal,
    acceptance,
    at_once,
    change,
    court_event,
    creation,
    identity_event,
    merging,
    node,
    notices_of,
    notification,
    proposal,
    row,
    rows_written,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender, fresh_old_nic, fresh_passport
from tests.support.vetting import School, told

pytest_plugins = ["tests.support.nodes"]


@pytest.fixture(scope="session")
def nadra(hub: RunningHub) -> Node:
    """The National Database and Registration Authority."""
    return node(hub, "nadra")


@pytest.fixture
def school(hub: RunningHub) -> Iterator[School]:
    """A school with an empty watch list."""
    school = School(hub)
    with school.client:
        yield school


def convict(**person: Any) -> Offender:
    """A convict whom no other test uses, whose conviction is final."""
    offender = fresh_offender(**person)
    offender.convictions[0].finality = FINALITY_FINAL
    offender.convictions[0].conviction_date = "2025-03-01"
    offender.convictions[0].ClearField("finality_date")
    return offender


@pytest.fixture
def kept(punjab: Node) -> Offender:
    """The record that stays, of Punjab."""
    return punjab.create(convict()).offender


@pytest.fixture
def duplicate(sindh: Node) -> Offender:
    """The other one of the same person, of Sindh."""
    return sindh.create(convict()).offender


def test_the_record_that_stays_has_what_either_had(punjab: Node, sindh: Node, npb: Node, nadra: Node) -> None:
    first, second = convict(old_nic=fresh_old_nic()), convict(old_nic=fresh_old_nic())
    second.person.passports.append(fresh_passport())
    second.convictions[0].finality = FINALITY_APPEAL_WINDOW
    kept, other = punjab.create(first).offender, sindh.create(second).offender
    former, new = other.person.cnic, fresh_cnic()
    nadra.call(identity_event(former, new_cnic=NewCnic(cnic=new)))
    other = sindh.get(other.name)
    merged = npb.call(merging(kept, other)).offender
    expected = deepcopy(kept)
    expected.other_identities.append(other.person)
    expected.convictions.append(other.convictions[0])
    expected.convictions[1].number = 2
    expected.etag = merged.etag
    expected.update_time.CopyFrom(merged.update_time)
    assert merged == punjab.get(kept.name) == expected
    assert merged.other_identities[0].history.former_cnics[0].cnic == former, "with the periods of what was before"


def test_the_other_record_is_empty_and_tells_where_it_went(
    punjab: Node, sindh: Node, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    sindh.call(notification(duplicate.name))
    punjab.call(notification(kept.name))
    npb.call(merging(kept, duplicate))
    after = sindh.get(duplicate.name)
    assert after == Offender(
        name=duplicate.name,
        owner=sindh.name,
        status=OFFENDER_STATUS_MERGED,
        merged_into=kept.name,
        etag=after.etag,
        create_time=duplicate.create_time,
        update_time=after.update_time,
    )
    assert after.etag != duplicate.etag
    merged = ListOffendersRequest(filter="status = OFFENDER_STATUS_MERGED", page_size=200, officer=MAINTENANCE)
    assert after in [found for page in sindh.pages(merged) for found in page.offenders]
    parents = [notice.name.rpartition("/notices/")[0] for notice in punjab.call(notices_of(kept.name)).notices]
    assert sorted(parents) == sorted([kept.name, duplicate.name]), "notices keep their names"
    assert not sindh.call(notices_of(duplicate.name)).notices


def test_every_number_of_either_finds_the_one_that_stays(
    hub: RunningHub, punjab: Node, sindh: Node, npb: Node, fia: Node, gateway: Node, nadra: Node, tmp_path: Path
) -> None:
    first, second = convict(), convict(old_nic=fresh_old_nic())
    second.person.passports.append(fresh_passport())
    kept, other = punjab.create(first).offender, sindh.create(second).offender
    cnics = [kept.person.cnic, other.person.cnic, fresh_cnic()]
    before = nadra.call(identity_event(cnics[1], new_cnic=NewCnic(cnic=cnics[2]))).revision
    obtain(hub, fia, kept.name)
    with hub.client("fia") as client, Mirror(tmp_path / "mirror.db", bytes(KEY_BYTES)) as mirror:
        list(mirror.build(client, at_least_revision=before))
        revision = npb.call(merging(kept, sindh.get(other.name))).revision
        for line in range(3):
            for cnic in cnics:
                answer = node(hub, "sms-7000", line).check(cnic, revision)
                assert (answer.outcome, answer.person.full_name) == (OUTCOME_HIT, kept.person.full_name)
        with closing(mirror.follow(client)) as steps:
            while {mirror.check(cnic).response.person.full_name for cnic in cnics} != {kept.person.full_name}:
                next(steps)
        with Mirror(tmp_path / "anew.db", bytes(KEY_BYTES)) as anew:
            list(anew.build(client, at_least_revision=revision))
            assert {anew.check(cnic).response.person.full_name for cnic in cnics} == {kept.person.full_name}
    documents: list[dict[str, Any]] = [{"cnic": cnic} for cnic in cnics]
    documents += [{"old_nic": second.person.old_nic}, {"passport": second.person.passports[0]}]
    for document in documents:
        assert fia.call(FindOffenderRequest(officer=INVESTIGATION, **document)).offender.name == kept.name
    again = [convict(cnic=cnic) for cnic in cnics] + [convict(cnic="", old_nic=second.person.old_nic)]
    for offender in again:
        refusal = sindh.refused(creation(offender))
        assert (refusal.reason, refusal.metadata["offender"]) == ("OFFENDER_ALREADY_EXISTS", kept.name)


async def test_a_worker_that_starts_has_every_number(hub: RunningHub, punjab: Node, sindh: Node, npb: Node) -> None:
    """Its index comes from a snapshot, and the feed may repeat what led to that."""
    vault = Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))
    database = PostgresDatabase(hub.dsn, vault)
    store, index = FeedStore(database, vault), LookupIndex(convert.lookup.disclosed_person)
    place = (await store.head()).place
    kept, other = punjab.create(convict()).offender, sindh.create(convict()).offender
    revision = npb.call(merging(kept, other)).revision
    npb.check(kept.person.cnic, revision)  # so it is in the feed
    async for records in store.checked_records():
        index.load(records)
    numbers = [vault.index(Cnic.parse(each.person.cnic)) for each in (kept, other)]
    from_snapshot = [index.find(number) for number in numbers]
    assert from_snapshot[0] == from_snapshot[1]
    assert from_snapshot[0].finalities
    for event in await store.events(place, 10_000):
        index.apply(event)
    assert [index.find(number) for number in numbers] == from_snapshot
    await database.close()


def test_people_find_it_by_the_names_of_both(
    hub: RunningHub, npb: Node, fia: Node, sindh: Node, kept: Offender, duplicate: Offender
) -> None:
    npb.call(merging(kept, duplicate))
    name, born = duplicate.person.full_name, duplicate.person.date_of_birth
    search = SearchOffendersRequest(person_name=name, date_of_birth=born, officer=INVESTIGATION)
    found = {candidate.offender: candidate.score for candidate in fia.call(search).candidates}
    assert found[kept.name] == 1.0
    assert duplicate.name not in found
    alike = convict()
    cnic = alike.person.cnic
    alike.person.CopyFrom(duplicate.person)
    alike.person.cnic = cnic
    refusal = sindh.refused(creation(alike))
    assert refusal.reason == "LIKELY_DUPLICATE"
    assert [each.partition("=")[0] for each in refusal.metadata["candidates"].split(",")] == [kept.name]


def test_both_histories_stay_readable(
    hub: RunningHub, punjab: Node, sindh: Node, npb: Node, fia: Node, kept: Offender, duplicate: Offender
) -> None:
    request = merging(kept, duplicate)
    npb.call(request)
    # By the owner of the record that stays, the former one of the other, and who may read the history of the first.
    obtain(hub, fia, kept.name)
    for reader, officer in ((punjab, MAINTENANCE), (sindh, MAINTENANCE), (npb, OVERSIGHT), (fia, INVESTIGATION)):
        history = ListOffenderRevisionsRequest(name=duplicate.name, officer=officer)
        last, first = reader.call(history).revisions
        assert (last.version, last.reason, last.node) == (2, request.reason, npb.name)
        assert {"status", "merged_into", "person"} <= set(last.changed_fields)
        assert first.method.endswith("CreateOffender")
        past = reader.call(GetOffenderRequest(name=duplicate.name, version=1, officer=officer)).offender
        assert past == duplicate
    [last, _] = punjab.call(ListOffenderRevisionsRequest(name=kept.name, officer=MAINTENANCE)).revisions
    assert set(last.changed_fields) == {"other_identities[0]", "convictions[1]"}
    assert punjab.call(GetOffenderRequest(name=kept.name, version=1, officer=MAINTENANCE)).offender == kept


def test_grants_of_the_other_record_do_not_reach_the_one_that_stays(
    hub: RunningHub, punjab: Node, fia: Node, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    obtain(hub, fia, duplicate.name)
    asked = fia.call(asking(duplicate.name)).access_request
    npb.call(merging(kept, duplicate))
    for name in (kept.name, duplicate.name):
        refusal = fia.refused(GetOffenderRequest(name=name, officer=INVESTIGATION))
        assert refusal.reason == "ACCESS_NOT_GRANTED"
        assert refusal.metadata["offender"] == kept.name, "what to ask for"
    for refusal in (
        fia.refused(asking(duplicate.name)),
        prosecution(hub, fia).refused(forwarding(asked)),
    ):
        assert (refusal.reason, refusal.metadata) == ("OFFENDER_MERGED", {"offender": kept.name})
    listed = npb.pages(ListAccessRequestsRequest(page_size=200, officer=OVERSIGHT))
    assert asked.name not in [each.name for page in listed for each in page.access_requests]
    obtain(hub, fia, kept.name, ACCESS_SCOPE_PERSON, ACCESS_SCOPE_HISTORY)
    read = fia.call(GetOffenderRequest(name=kept.name, officer=INVESTIGATION)).offender
    assert read.other_identities
    assert not read.convictions


def test_nothing_changes_a_record_that_was_merged(
    hub: RunningHub, punjab: Node, sindh: Node, npb: Node, court: Node, kept: Offender, duplicate: Offender
) -> None:
    merged = npb.call(merging(kept, duplicate)).offender
    duplicate.etag = sindh.get(duplicate.name).etag
    third = punjab.create(convict()).offender
    before = rows_written(hub.sql)
    for by, request in (
        (sindh, change(duplicate, "district")),
        (sindh, notification(duplicate.name)),
        (sindh, proposal(duplicate, punjab.name)),
        (sindh, acceptance(duplicate)),
        (court, court_event(duplicate, COURT_EVENT_SET_ASIDE)),
        (npb, merging(duplicate, third)),
        (npb, merging(third, duplicate)),
        (npb, merging(merged, duplicate)),
    ):
        refusal = by.refused(request)
        assert (refusal.reason, refusal.metadata) == ("OFFENDER_MERGED", {"offender": kept.name})
    assert rows_written(hub.sql) == before


def test_what_is_merged_twice_tells_of_the_one_that_stays_at_last(
    punjab: Node, sindh: Node, npb: Node, gateway: Node, kept: Offender, duplicate: Offender
) -> None:
    second = punjab.create(convict()).offender
    of_second = npb.call(merging(second, duplicate)).offender
    written = npb.call(merging(kept, of_second))
    assert [who.cnic for who in written.offender.other_identities] == [second.person.cnic, duplicate.person.cnic]
    assert len(written.offender.convictions) == 3
    assert punjab.get(second.name).merged_into == sindh.get(duplicate.name).merged_into == kept.name
    for cnic in (second.person.cnic, duplicate.person.cnic):
        assert gateway.check(cnic, written.revision).outcome == OUTCOME_HIT


def test_one_event_brings_both_to_every_node(
    hub: RunningHub, punjab: Node, sindh: Node, fia: Node, npb: Node, kept: Offender
) -> None:
    written = sindh.create(convict())
    merged = npb.call(merging(kept, written.offender))
    end = punjab.create()
    for watcher in (punjab, sindh, fia):
        events = watcher.events(written.revision, until=end.offender.name)
        [event] = [event for event in events if event.revision == merged.revision]
        assert [change.offender for change in event.changes] == [merged.offender, sindh.get(written.offender.name)]
    with hub.client("fia") as client:
        for name in (kept.name, written.offender.name):
            assert client.get_propagation(name).revision == merged.revision
            client.acknowledge_changes(merged.revision)
            receipts = {receipt.node: receipt.applied for receipt in client.get_propagation(name).receipts}
            assert receipts["nodes/fia"]
        parts = [
            offender for part in client.get_snapshot(at_least_revision=end.revision) for offender in part.offenders
        ]
    assert merged.offender in parts
    assert sindh.get(written.offender.name) in parts


def test_a_court_decides_on_a_conviction_of_the_other_record_in_the_one_that_stays(
    punjab: Node, npb: Node, court: Node, kept: Offender, duplicate: Offender
) -> None:
    merged = npb.call(merging(kept, duplicate)).offender
    after = court.call(court_event(merged, COURT_EVENT_APPEAL_FILED, number=2)).offender
    assert [conviction.finality for conviction in after.convictions] == [FINALITY_FINAL, FINALITY_UNDER_APPEAL]
    merged = court.call(court_event(after, COURT_EVENT_SET_ASIDE, number=2)).offender
    assert merged.convictions[1].finality == FINALITY_SET_ASIDE
    merged.convictions.append(duplicate.convictions[0])
    assert punjab.refused(change(merged, "convictions")).reason == "CONVICTION_SET_ASIDE"


def test_when_the_last_conviction_is_set_aside_both_records_are_shredded(
    hub: RunningHub, punjab: Node, sindh: Node, npb: Node, court: Node, fia: Node, kept: Offender, tmp_path: Path
) -> None:
    written = sindh.create(convict())
    duplicate = written.offender
    sindh.call(notification(duplicate.name))
    first = punjab.create(convict()).offender
    npb.call(merging(duplicate, first))  # a record that was merged into one that was merged
    merged = npb.call(merging(kept, sindh.get(duplicate.name)))
    ids = [UUID(each.name.removeprefix("offenders/")) for each in (kept, duplicate, first)]
    keys = "SELECT count(*) FROM offender WHERE id = ANY(%s) AND wrapped_key IS NOT NULL"
    with hub.client("fia") as client, Mirror(tmp_path / "mirror.db", bytes(KEY_BYTES)) as mirror:
        list(mirror.build(client, at_least_revision=merged.revision))
        notices = mirror.status().notices
        record = merged.offender
        for number in (1, 2, 3):
            assert hub.sql(keys, ids) == [(3,)], "the versions before are readable as long as one conviction stands"
            answer = court.call(court_event(record, COURT_EVENT_SET_ASIDE, number=number))
            record = answer.offender
        assert hub.sql(keys, ids) == [(0,)]
        for reader, name in ((punjab, kept.name), (sindh, duplicate.name), (punjab, first.name)):
            now = reader.get(name)
            assert (now.status, now.merged_into, now.HasField("person")) == (OFFENDER_STATUS_SEALED, "", False)
            past = reader.call(GetOffenderRequest(name=name, version=1, officer=MAINTENANCE)).offender
            assert (past.status, past.HasField("person")) == (OFFENDER_STATUS_SEALED, False)
            assert client.get_propagation(name).revision == answer.revision
        end = punjab.create()
        changes = [c for e in sindh.events(written.revision, until=end.offender.name) for c in e.changes]
        names = {kept.name, duplicate.name, first.name}
        assert not [c for c in changes if c.offender.name in names and c.offender.HasField("person")]
        with closing(mirror.follow(client)) as steps:
            while mirror.status().notices == notices:
                next(steps)
        for each in (kept, duplicate, first):
            assert mirror.check(each.person.cnic).response.outcome == OUTCOME_NO_RECORD
            assert fia.check(each.person.cnic, answer.revision).outcome == OUTCOME_NO_RECORD
            for cnic in (kept.person.cnic, duplicate.person.cnic):
                late = deepcopy(each)
                late.person.cnic = cnic
                assert sindh.refused(creation(late)).reason == "CONVICTION_SET_ASIDE"


def test_a_conviction_that_was_set_aside_in_one_does_not_stand_in_the_other(
    punjab: Node, sindh: Node, npb: Node, court: Node
) -> None:
    entered, same = convict(), convict()
    same.convictions[0].CopyFrom(entered.convictions[0])
    same.convictions.add().CopyFrom(convict().convictions[0])
    one, other = punjab.create(entered).offender, sindh.create(same).offender
    other = court.call(court_event(other, COURT_EVENT_SET_ASIDE)).offender
    for request in (merging(one, other), merging(other, one)):
        refusal = npb.refused(request)
        assert (refusal.reason, refusal.metadata) == ("CONVICTION_SET_ASIDE", {"offender": other.name})
    one.convictions.add().CopyFrom(convict().convictions[0])
    one = punjab.update(one, "convictions").offender
    one = court.call(court_event(one, COURT_EVENT_SET_ASIDE)).offender
    assert len(npb.call(merging(one, other)).offender.convictions) == 4


def test_a_record_that_is_proposed_is_not_merged(
    punjab: Node, sindh: Node, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    proposed = sindh.call(proposal(duplicate, punjab.name)).offender
    for request in (merging(kept, proposed), merging(proposed, kept)):
        refusal = npb.refused(request)
        assert (refusal.reason, refusal.metadata) == ("TRANSFER_ALREADY_OPEN", {"receiver": punjab.name})


def test_a_merge_needs_both_etags_and_is_done_once(
    hub: RunningHub, sindh: Node, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    stale = deepcopy(duplicate)
    duplicate = sindh.update(duplicate, "district").offender
    assert npb.refused(merging(kept, stale)).reason == "ETAG_MISMATCH"
    assert npb.refused(merging(stale, kept)).reason == "ETAG_MISMATCH"
    request = merging(kept, duplicate)
    first = npb.call(request)
    before = rows_written(hub.sql)
    assert npb.call(request) == first
    request.reason = "another one"
    assert npb.refused(request).reason == "REQUEST_ID_REUSED"
    assert rows_written(hub.sql) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offender", "offenders/1"),
        ("duplicate", "nodes/npb"),
        ("etag", "garbage"),
        ("duplicate_etag", ""),
        ("reason", " "),
        ("request_id", "1"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(
    npb: Node, kept: Offender, duplicate: Offender, field: str, value: str
) -> None:
    request = merging(kept, duplicate)
    setattr(request, field, value)
    assert list(npb.refused(request).fields) == [field]


def test_what_together_is_no_record_is_not_merged(punjab: Node, sindh: Node, npb: Node, kept: Offender) -> None:
    assert npb.refused(merging(kept, kept)).fields == {"duplicate": "SAME_RECORD"}
    nobody = Offender(name=f"offenders/{uuid4()}", etag='"1"')
    assert npb.refused(merging(kept, nobody)).reason == "OFFENDER_NOT_FOUND"
    assert npb.refused(merging(nobody, kept)).reason == "OFFENDER_NOT_FOUND"
    many = convict()
    for number in range(2, 51):
        many.convictions.add().CopyFrom(many.convictions[0])
        many.convictions[-1].fir_number = f"{number}/2024"
    full = sindh.create(many).offender
    assert npb.refused(merging(kept, full)).fields == {"duplicate": "TOO_MANY_CONVICTIONS"}
    young = punjab.create(convict(date_of_birth="2010-01-01")).offender
    before_birth = convict(date_of_birth="1980-01-01")
    before_birth.convictions[0].offence_code, before_birth.convictions[0].conviction_date = "PPC-376", "2009-06-01"
    early = sindh.create(before_birth).offender
    refusal = npb.refused(merging(young, early))
    assert refusal.fields == {"offender.convictions[1].conviction_date": "BEFORE_BIRTH"}


def test_late_replays_of_the_other_record_make_no_second_one(
    hub: RunningHub, sindh: Node, npb: Node, court: Node, kept: Offender
) -> None:
    first = row(1, convict())
    [entered] = sindh.import_rows([first])
    duplicate = sindh.get(entered.offender)
    merged = npb.call(merging(kept, duplicate)).offender
    before = rows_written(hub.sql)
    [again] = sindh.import_rows([first])
    assert again == entered, "the first answer"
    [other] = sindh.import_rows([row(1, first.offender)])
    assert other.error.metadata["offender"] == kept.name
    assert rows_written(hub.sql) == before
    for number in (1, 2):
        merged = court.call(court_event(merged, COURT_EVENT_SET_ASIDE, number=number)).offender
    [sealed] = sindh.import_rows([first])
    assert dict(sealed.error.metadata) == {"offender": duplicate.name}


def test_watchers_hear_nothing_of_a_merge_and_all_that_follows(
    school: School, punjab: Node, sindh: Node, npb: Node, court: Node, kept: Offender, duplicate: Offender
) -> None:
    names = school.watches(kept.person.cnic, duplicate.person.cnic)
    alerts = school.alerts()
    assert sorted(told(alerts)) == sorted((name, ALERT_KIND_ON_REGISTER) for name in names)
    merged = npb.call(merging(kept, duplicate)).offender
    assert school.alerts(alerts[-1].name) == [], "nobody was lifted, nobody is new"
    for number in (1, 2):
        merged = court.call(court_event(merged, COURT_EVENT_SET_ASIDE, number=number)).offender
    ends = school.alerts(alerts[-1].name)
    assert sorted(told(ends)) == sorted((name, ALERT_KIND_SET_ASIDE) for name in names)


def test_an_alert_that_was_not_sent_yet_outlives_a_merge(
    school: School, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    [name] = school.watches(duplicate.person.cnic)
    npb.call(merging(kept, duplicate))
    [alert] = school.alerts()
    assert (alert.watched_person.name, alert.kind) == (name, ALERT_KIND_ON_REGISTER)
    assert alert.person.full_name == kept.person.full_name
    assert [each.name for each in school.alerts()] == [alert.name]


def test_watchers_hear_of_who_is_on_the_register_by_a_merge_only(
    school: School, sindh: Node, npb: Node, kept: Offender
) -> None:
    hidden = convict()
    hidden.convictions[0].finality = FINALITY_UNDER_APPEAL
    duplicate = sindh.create(hidden).offender
    [name] = school.watches(duplicate.person.cnic)
    assert school.alerts() == []
    npb.call(merging(kept, duplicate))
    assert told(school.alerts()) == [(name, ALERT_KIND_ON_REGISTER)]


def test_registers_are_compared_by_the_record_that_stays(hub: RunningHub, sindh: Node, npb: Node) -> None:
    one, other = sindh.create(convict()).offender, sindh.create(convict()).offender
    revision = npb.call(merging(one, other)).revision
    with hub.client("sindh-police") as client:
        found = client.reconcile([one.person.cnic, other.person.cnic], at_least_revision=revision)
    assert one.name not in found.only_at_hub
    assert other.name not in found.only_at_hub
    assert found.only_at_node == [other.person.cnic], "which is how the node learns of the merge"


def test_nadra_reports_on_either_card(
    npb: Node, nadra: Node, gateway: Node, punjab: Node, kept: Offender, duplicate: Offender
) -> None:
    npb.call(merging(kept, duplicate))
    new = fresh_cnic()
    nadra.call(identity_event(duplicate.person.cnic, new_name=NewName(full_name="Rashid Minhas")))
    revision = nadra.call(identity_event(duplicate.person.cnic, new_cnic=NewCnic(cnic=new))).revision
    now = punjab.get(kept.name)
    assert now.person == kept.person, "what is reported of one card is of that"
    [other] = now.other_identities
    assert (other.full_name, other.cnic) == ("Rashid Minhas", new)
    assert other.history.former_names[0].full_name == duplicate.person.full_name
    for cnic in (kept.person.cnic, duplicate.person.cnic, new):
        assert gateway.check(cnic, revision).outcome == OUTCOME_HIT
    # What led to the merge can be reported now: the one card was replaced by the other.
    nadra.call(identity_event(new, day="2026-05-02", new_cnic=NewCnic(cnic=kept.person.cnic)))


def test_the_owner_goes_on_with_the_record_that_stays(
    punjab: Node, npb: Node, kept: Offender, duplicate: Offender
) -> None:
    merged = npb.call(merging(kept, duplicate)).offender
    merged.district = "Multan"
    merged.person.passports.append(Passport(country="AFG", number="P9900001"))
    after = punjab.update(merged, "district", "person").offender
    assert after.other_identities == merged.other_identities
    assert [len(after.person.passports), len(after.convictions)] == [1, 2]


def test_of_two_merges_the_other_way_round_one_is_done(hub: RunningHub, punjab: Node, sindh: Node) -> None:
    for _ in range(3):
        one, other = punjab.create(convict()).offender, sindh.create(convict()).offender

        def attempt(line: int, records: tuple[Offender, Offender] = (one, other)) -> object:
            return node(hub, "npb", line).call(merging(*records) if line % 2 else merging(*reversed(records)))

        answers = at_once(4, attempt)
        [winner] = [answer for answer in answers if not isinstance(answer, Refusal)]
        losers = sorted(answer.reason for answer in answers if isinstance(answer, Refusal))
        assert losers == ["ETAG_MISMATCH", "OFFENDER_MERGED", "OFFENDER_MERGED"]
        assert len(winner.offender.convictions) == 2


def test_both_records_are_in_the_audit_log(hub: RunningHub, npb: Node, kept: Offender, duplicate: Offender) -> None:
    npb.call(merging(kept, duplicate))
    for each in (kept, duplicate):
        id = UUID(each.name.removeprefix("offenders/")).bytes
        entries = hub.sql("SELECT method, officer_id FROM audit_entry WHERE subject = %s ORDER BY id DESC LIMIT 1", id)
        assert entries == [("nsor.registry.v1.RegistryService/MergeOffenders", OVERSIGHT.officer_id)]
