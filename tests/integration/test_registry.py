"""The register: what is entered once stays once, changes one at a time, and is listed whole."""

from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from nsor.federation.v1.federation_service_pb2 import ListNodesRequest
from nsor.registry.v1.offender_pb2 import (
    OFFENCE_BASIS_DEFINITION,
    OFFENCE_BASIS_SCHEDULE,
    OFFENDER_STATUS_REGISTERED,
    OFFENDER_STATUS_SEALED,
    Conviction,
    Offender,
)
from nsor.registry.v1.registry_service_pb2 import GetOffenderRequest, ListOffendersRequest
from tests.support.access import obtain
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    NODES,
    OVERSIGHT,
    Node,
    Refusal,
    at_once,
    change,
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


def test_a_record_is_read_as_it_was_entered(hub: RunningHub, punjab: Node, fia: Node) -> None:
    sent = fresh_offender()
    written = punjab.create(sent).offender
    assert written.person == sent.person
    assert written.district == sent.district
    assert [as_entered(conviction) for conviction in written.convictions] == list(sent.convictions)
    assert [conviction.number for conviction in written.convictions] == [1]
    assert all(conviction.offence_basis for conviction in written.convictions)
    assert (written.owner, written.status) == (punjab.name, OFFENDER_STATUS_REGISTERED)
    assert written.create_time == written.update_time
    obtain(hub, fia, written.name)
    assert punjab.get(written.name) == fia.get(written.name, INVESTIGATION) == written


def as_entered(conviction: Conviction) -> Conviction:
    """A conviction without what the hub derives."""
    bare = deepcopy(conviction)
    bare.ClearField("offence_basis")
    bare.ClearField("number")
    return bare


def test_output_only_fields_are_ignored(punjab: Node, npb: Node) -> None:
    sent, earlier = fresh_offender(), punjab.create().offender
    sent.name, sent.etag = earlier.name, earlier.etag
    sent.owner, sent.status = npb.name, OFFENDER_STATUS_SEALED
    sent.create_time.FromJsonString("2001-01-01T00:00:00Z")
    sent.update_time.FromJsonString("2001-01-01T00:00:00Z")
    sent.convictions[0].offence_basis = OFFENCE_BASIS_SCHEDULE
    sent.convictions[0].offence_code = "PPC-376"
    written = punjab.create(sent).offender
    assert written.name not in {"", earlier.name}
    assert (written.owner, written.status) == (punjab.name, OFFENDER_STATUS_REGISTERED)
    assert written.create_time.ToDatetime().year == written.update_time.ToDatetime().year != 2001
    assert written.convictions[0].offence_basis == OFFENCE_BASIS_DEFINITION


def test_a_cnic_and_a_district_are_written_in_one_way(punjab: Node) -> None:
    sent = fresh_offender()
    cnic = sent.person.cnic
    sent.person.cnic = f"CNIC {cnic.replace('-', ' ')}".translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    sent.district = "  karachi   SOUTH "
    written = punjab.create(sent).offender
    assert (written.person.cnic, written.district) == (cnic, "Karachi South")


def test_a_name_of_a_record_tells_nothing_of_the_person(punjab: Node) -> None:
    written = punjab.create().offender
    digits = written.person.cnic.replace("-", "")
    assert digits[:5] not in written.name.replace("-", "")
    assert digits not in written.etag


def test_a_person_without_urdu_names_can_be_entered(punjab: Node) -> None:
    written = punjab.create(fresh_offender(full_name_ur="", guardian_name_ur="")).offender
    assert (written.person.full_name_ur, written.person.guardian_name_ur) == ("", "")


def test_there_is_no_record_that_was_never_entered(punjab: Node) -> None:
    name = f"offenders/{uuid4()}"
    assert punjab.refused(GetOffenderRequest(name=name, officer=INVESTIGATION)).reason == "OFFENDER_NOT_FOUND"
    assert punjab.refused(change(Offender(name=name, etag='"1"'), "district")).reason == "OFFENDER_NOT_FOUND"
    assert punjab.refused(notification(name)).reason == "OFFENDER_NOT_FOUND"


def test_a_request_sent_again_gives_the_first_answer_again(hub: RunningHub, punjab: Node) -> None:
    request = creation()
    first = punjab.call(request)
    moved = deepcopy(first.offender)
    moved.district = "Multan"
    punjab.update(moved, "district")
    before = rows_written(hub.sql)
    assert punjab.call(request) == first, "the answer is that of then, though the record has changed"
    assert rows_written(hub.sql) == before


def test_an_update_sent_again_gives_the_first_answer_again(hub: RunningHub, punjab: Node) -> None:
    request = change(punjab.create().offender, "district")
    first = punjab.call(request)
    punjab.update(first.offender, "district")
    before = rows_written(hub.sql)
    assert punjab.call(request) == first, "and not ETAG_MISMATCH"
    assert rows_written(hub.sql) == before


def test_a_notice_sent_again_is_recorded_once(hub: RunningHub, punjab: Node) -> None:
    request = notification(punjab.create().offender.name)
    first = punjab.call(request)
    before = rows_written(hub.sql)
    assert punjab.call(request) == first
    assert rows_written(hub.sql) == before


def test_a_request_id_stands_for_one_request(hub: RunningHub, punjab: Node, sindh: Node) -> None:
    request = creation()
    written = punjab.call(request).offender
    other, update, notice = creation(), change(written, "district"), notification(written.name)
    other.request_id = update.request_id = notice.request_id = request.request_id
    before = rows_written(hub.sql)
    for reused in (other, update, notice):
        assert punjab.refused(reused).reason == "REQUEST_ID_REUSED"
    assert rows_written(hub.sql) == before
    assert sindh.call(other).offender.owner == sindh.name, "each node has request_ids of its own"


def test_a_refused_request_does_not_use_up_its_request_id(punjab: Node) -> None:
    request = creation()
    district, request.offender.district = request.offender.district, "Nowhere"
    punjab.refused(request)
    request.offender.district = district
    assert punjab.call(request).offender.district == district


def test_one_request_delivered_many_times_at_once_is_written_once(hub: RunningHub) -> None:
    request = creation()
    before = rows_written(hub.sql)
    answers = at_once(16, lambda line: node(hub, "punjab-police", line).call(request))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].offender.person == request.offender.person
    after = rows_written(hub.sql)
    assert {table: after[table] - before[table] for table in after} == {
        "offender": 1, "offender_revision": 1, "notice": 0, "request": 1, "access_step": 0, "feed": 1,
    }  # fmt: skip


def test_a_cnic_is_entered_once(hub: RunningHub, punjab: Node, sindh: Node) -> None:
    written = punjab.create().offender
    before = rows_written(hub.sql)
    for spelling in ("{}", "CNIC {}", "\u200f{}\u200e"):
        for police in (punjab, sindh):
            for cnic in (written.person.cnic, written.person.cnic.replace("-", "")):
                refusal = police.refused(creation(fresh_offender(cnic=spelling.format(cnic))))
                assert refusal.reason == "OFFENDER_ALREADY_EXISTS"
                assert refusal.metadata == {"offender": written.name, "owner": punjab.name}
    assert rows_written(hub.sql) == before


def test_of_two_provinces_that_enter_a_cnic_at_once_one_wins(hub: RunningHub) -> None:
    cnic = fresh_offender().person.cnic
    police = ["punjab-police", "sindh-police"] * 4
    answers = at_once(8, lambda line: node(hub, police[line], line).create(fresh_offender(cnic=cnic)))
    [winner] = [answer for answer in answers if not isinstance(answer, Refusal)]
    losers = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {loser.reason for loser in losers} == {"OFFENDER_ALREADY_EXISTS"}
    for loser in losers:
        assert loser.metadata == {"offender": winner.offender.name, "owner": winner.offender.owner}


def test_an_update_changes_what_the_mask_names_and_nothing_else(punjab: Node) -> None:
    before = punjab.create().offender
    sent = fresh_offender()
    sent.name, sent.etag = before.name, before.etag
    sent.person.full_name, sent.district = "Somebody Else", "Multan"
    after = punjab.update(sent, "district", "person.full_name").offender
    expected = deepcopy(before)
    expected.person.full_name, expected.district = "Somebody Else", "Multan"
    expected.etag = after.etag
    expected.update_time.CopyFrom(after.update_time)
    assert after == expected
    assert after.etag != before.etag
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert punjab.get(before.name) == after


def test_a_field_that_the_mask_names_and_the_record_lacks_is_cleared(punjab: Node) -> None:
    written = punjab.create().offender
    written.person.ClearField("full_name_ur")
    assert punjab.update(written, "person.full_name_ur").offender.person.full_name_ur == ""


def test_a_person_can_be_changed_as_a_whole_but_for_the_cnic(punjab: Node) -> None:
    before = punjab.create().offender
    sent = deepcopy(before)
    sent.person.CopyFrom(fresh_offender(cnic=before.person.cnic.replace("-", "")).person)
    sent.person.date_of_birth = before.person.date_of_birth
    after = punjab.update(sent, "person").offender
    sent.person.cnic = before.person.cnic
    assert after.person == sent.person
    after.person.cnic = fresh_offender().person.cnic
    assert list(punjab.refused(change(after, "person")).fields) == ["offender.person.cnic"]


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["nothing"],
        [""],
        ["*"],
        ["person.history"],
        ["district", "person.history"],
        ["district", "nothing"],
        ["name"],
        ["owner"],
        ["status"],
        ["etag"],
        ["create_time"],
        ["person.full_name.x"],
        ["convictions.court"],
        ["convictions[0]"],
        ["Person"],
        ["offender.district"],
        ["district"] * 21,
    ],
    ids=lambda paths: f"{len(paths)}-{'-'.join(paths)}"[:40],
)
def test_a_mask_names_fields_that_may_change(hub: RunningHub, punjab: Node, paths: list[str]) -> None:
    written = punjab.create().offender
    before = rows_written(hub.sql)
    assert list(punjab.refused(change(written, *paths)).fields) == ["update_mask"]
    assert rows_written(hub.sql) == before


def test_an_update_needs_the_etag_that_was_read(hub: RunningHub, punjab: Node) -> None:
    read = punjab.create().offender
    punjab.update(read, "district")
    before = rows_written(hub.sql)
    for etag in (read.etag, '"0"', '"999"', "garbage"):
        read.etag = etag
        assert punjab.refused(change(read, "district")).reason == "ETAG_MISMATCH"
    assert rows_written(hub.sql) == before


def test_of_many_updates_at_once_one_wins(hub: RunningHub, punjab: Node) -> None:
    read = punjab.create().offender
    answers = at_once(8, lambda line: node(hub, "punjab-police", line).update(read, "district"))
    [winner] = [answer for answer in answers if not isinstance(answer, Refusal)]
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {"ETAG_MISMATCH"}
    assert punjab.get(read.name) == winner.offender


def test_pages_hold_every_record_once_and_the_newest_first(hub: RunningHub, sindh: Node) -> None:
    newest = [sindh.create().offender for _ in range(7)][::-1]
    pages = list(sindh.pages(ListOffendersRequest(page_size=3, officer=MAINTENANCE)))
    assert all(len(page.offenders) == 3 for page in pages[:-1])
    assert 1 <= len(pages[-1].offenders) <= 3
    listed = [offender for page in pages for offender in page.offenders]
    assert listed[:7] == newest
    assert all(offender.owner == sindh.name for offender in listed)
    assert sorted(offender.name for offender in listed) == sorted(
        f"offenders/{key}" for (key,) in hub.sql("SELECT id FROM offender WHERE owner = 'sindh-police'")
    )


def test_a_filter_narrows_a_list_and_its_pages(npb: Node, sindh: Node, punjab: Node) -> None:
    old, middle, new = (sindh.create().offender for _ in range(3))
    punjab.create()
    since = f'create_time >= "{middle.create_time.ToJsonString()}"'

    def names(node: Node, filter: str, size: int = 200) -> list[str]:
        purpose = OVERSIGHT if node is npb else MAINTENANCE
        pages = node.pages(ListOffendersRequest(filter=filter, page_size=size, officer=purpose))
        return [offender.name for page in pages for offender in page.offenders]

    assert names(sindh, since, size=1) == [new.name, middle.name]
    assert names(sindh, f"{since} AND status = SEALED") == []
    assert names(npb, f"{since} AND owner = {sindh.name}") == [new.name, middle.name]
    assert old.name in names(sindh, f'update_time < "{middle.create_time.ToJsonString()}"')
    assert sindh.refused(ListOffendersRequest(filter="cnic = 9", officer=MAINTENANCE)).fields == {
        "filter": "UNKNOWN_FIELD"
    }


def test_a_record_entered_meanwhile_neither_repeats_nor_hides_another(sindh: Node) -> None:
    entered = [sindh.create().offender.name for _ in range(4)]
    seen: list[str] = []
    for page in sindh.pages(ListOffendersRequest(page_size=2, officer=MAINTENANCE)):
        seen += [offender.name for offender in page.offenders]
        if len(seen) <= 4:
            sindh.create()
    assert seen[:4] == entered[::-1]
    assert len(seen) == len(set(seen))


def test_a_full_last_page_is_the_last(punjab: Node) -> None:
    name = punjab.create().offender.name
    for _ in range(2):
        punjab.call(notification(name))
    pages = list(punjab.pages(notices_of(name, page_size=1)))
    assert [len(page.notices) for page in pages] == [1, 1]


def test_npb_oversees_the_records_of_all(npb: Node, punjab: Node, sindh: Node) -> None:
    entered = {police.create().offender.name for police in (punjab, sindh)}
    first = npb.call(ListOffendersRequest(page_size=2, officer=OVERSIGHT))
    assert {offender.name for offender in first.offenders} == entered
    own = npb.call(ListOffendersRequest(page_size=200, officer=MAINTENANCE))
    assert {offender.owner for offender in own.offenders} <= {npb.name}


def test_a_page_holds_50_records_unless_told_and_200_at_most(sindh: Node) -> None:
    sindh.import_rows(row(number) for number in range(1, 202))
    for size, found in ((0, 50), (1, 1), (200, 200)):
        page = sindh.call(ListOffendersRequest(page_size=size, officer=MAINTENANCE))
        assert len(page.offenders) == found
        assert page.next_page_token


def test_a_page_token_is_good_for_its_request_and_caller_only(punjab: Node, sindh: Node, fia: Node, npb: Node) -> None:
    name, other = (punjab.create().offender.name for _ in range(2))
    for parent in (name, name, other, other):
        punjab.call(notification(parent))
    of_offenders = punjab.call(ListOffendersRequest(page_size=1, officer=MAINTENANCE)).next_page_token
    of_notices = punjab.call(notices_of(name, page_size=1)).next_page_token
    of_nodes = punjab.call(ListNodesRequest(page_size=1)).next_page_token
    wrong: list[tuple[Node, Any]] = [
        (sindh, ListOffendersRequest(page_size=1, page_token=of_offenders, officer=MAINTENANCE)),
        (npb, ListOffendersRequest(page_size=1, page_token=of_offenders, officer=OVERSIGHT)),
        (punjab, ListOffendersRequest(page_size=1, page_token=of_offenders, officer=INVESTIGATION)),
        (punjab, ListOffendersRequest(page_size=1, page_token=of_nodes, officer=MAINTENANCE)),
        (punjab, ListNodesRequest(page_size=1, page_token=of_offenders)),
        (fia, ListNodesRequest(page_size=1, page_token=of_nodes)),
        (punjab, notices_of(other, page_size=1, page_token=of_notices)),
        (punjab, notices_of(name, page_size=1, page_token=of_offenders)),
    ]
    for caller, request in wrong:
        assert caller.refused(request).reason == "INVALID_PAGE_TOKEN", request


def test_a_text_that_is_no_page_token_is_refused(punjab: Node) -> None:
    token = second_page_token(punjab)
    for text in ("garbage", "=", "٣", token[:-1], token[1:], f"{token}A", token * 2):
        request = ListOffendersRequest(page_size=1, page_token=text, officer=MAINTENANCE)
        assert punjab.refused(request).reason == "INVALID_PAGE_TOKEN", text
    too_long = ListOffendersRequest(page_token="A" * 257, officer=MAINTENANCE)
    assert list(punjab.refused(too_long).fields) == ["page_token"]


def test_a_page_token_that_was_changed_anywhere_is_refused(punjab: Node) -> None:
    token = second_page_token(punjab)
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    for text in (*changed, f" {token}", f"{token}="):
        request = ListOffendersRequest(page_size=1, page_token=text, officer=MAINTENANCE)
        assert punjab.refused(request).reason == "INVALID_PAGE_TOKEN", text


def second_page_token(police: Node) -> str:
    """A token of the second page of the node's records."""
    for _ in range(2):
        police.create()
    return police.call(ListOffendersRequest(page_size=1, officer=MAINTENANCE)).next_page_token


def test_nodes_are_listed_by_name(punjab: Node) -> None:
    pages = list(punjab.pages(ListNodesRequest(page_size=3)))
    assert {len(page.nodes) for page in pages[:-1]} == {3}
    names = [listed.name for page in pages for listed in page.nodes]
    assert names == sorted(set(names))
    assert {f"nodes/{name}" for name in NODES} <= set(names), "and those of other tests"
