"""Notices: what a released offender tells the police that supervise them."""

from datetime import UTC, datetime

import pytest

from nsor.monitoring.v1.monitoring_service_pb2 import RecordNoticeRequest
from nsor.monitoring.v1.notice_pb2 import (
    TRAVEL_SCOPE_ABROAD,
    TRAVEL_SCOPE_DOMESTIC,
    AddressChange,
    NameChange,
    Notice,
    Travel,
)
from nsor.registry.v1.access_request_pb2 import ACCESS_SCOPE_NOTICES
from tests.support.access import obtain
from tests.support.contract import INVESTIGATION, OVERSIGHT, Node, notices_of, notification
from tests.support.hub import RunningHub

pytest_plugins = ["tests.support.nodes"]

TODAY = datetime.now(UTC).date().isoformat()
NAME = NameChange(full_name="Ahmed Khan", full_name_ur="احمد خان", effective_date="2026-01-01")
ADDRESS = AddressChange(address="House 1, Street 2", district="Lahore", effective_date="2099-12-31")
WITHIN = Travel(scope=TRAVEL_SCOPE_DOMESTIC, destination="Quetta", departure_date="2099-12-30")
ABROAD = Travel(scope=TRAVEL_SCOPE_ABROAD, destination="AE", departure_date="2099-12-30", return_date="2099-12-30")


@pytest.mark.parametrize(
    "notice",
    [
        Notice(name_change=NAME, notified_date=TODAY),
        Notice(address_change=ADDRESS, notified_date=TODAY),
        Notice(travel=WITHIN, notified_date="2026-02-20"),
        Notice(travel=ABROAD, notified_date="2026-02-20"),
    ],
    ids=["name", "address", "within Pakistan", "abroad"],
)
def test_a_notice_is_read_as_it_was_recorded(punjab: Node, notice: Notice) -> None:
    parent = punjab.create().offender.name
    request = notification(parent)
    request.notice.CopyFrom(notice)
    recorded = punjab.call(request).notice
    assert recorded.name.startswith(f"{parent}/notices/")
    assert recorded.recorder == punjab.name
    assert recorded.HasField("create_time")
    assert list(punjab.call(notices_of(parent)).notices) == [recorded]
    for output_only in ("name", "recorder", "create_time"):
        recorded.ClearField(output_only)
    assert recorded == notice


def test_output_only_fields_of_a_notice_are_ignored(punjab: Node) -> None:
    request = notification(punjab.create().offender.name)
    request.notice.name, request.notice.recorder = "offenders/x/notices/y", "nodes/npb"
    request.notice.create_time.FromJsonString("2001-01-01T00:00:00Z")
    recorded = punjab.call(request).notice
    assert recorded.name.startswith(request.parent)
    assert recorded.recorder == punjab.name
    assert recorded.create_time.ToDatetime().year != 2001


def test_a_district_is_written_in_one_way(punjab: Node) -> None:
    parent = punjab.create().offender.name
    request = notification(parent)
    request.notice.travel.CopyFrom(WITHIN)
    request.notice.travel.destination = " karachi  SOUTH "
    assert punjab.call(request).notice.travel.destination == "Karachi South"
    request = notification(parent)
    request.notice.address_change.CopyFrom(ADDRESS)
    request.notice.address_change.district = " karachi  SOUTH "
    assert punjab.call(request).notice.address_change.district == "Karachi South"


def test_pages_hold_every_notice_once_and_the_newest_first(punjab: Node) -> None:
    parent, other = (punjab.create().offender.name for _ in range(2))
    recorded = [punjab.call(notification(parent)).notice for _ in range(5)]
    punjab.call(notification(other))
    pages = list(punjab.pages(notices_of(parent, page_size=2)))
    assert [len(page.notices) for page in pages] == [2, 2, 1]
    assert [notice for page in pages for notice in page.notices] == recorded[::-1]


def test_an_offender_without_notices_has_an_empty_list(punjab: Node) -> None:
    assert not punjab.call(notices_of(punjab.create().offender.name)).notices


def test_the_border_authority_and_npb_read_notices(hub: RunningHub, punjab: Node, fia: Node, npb: Node) -> None:
    parent = punjab.create().offender.name
    recorded = punjab.call(notification(parent)).notice
    obtain(hub, fia, parent, ACCESS_SCOPE_NOTICES)
    for reader, officer in ((fia, INVESTIGATION), (npb, OVERSIGHT)):
        assert list(reader.call(notices_of(parent, officer)).notices) == [recorded]


def test_there_are_no_notices_of_a_record_that_was_never_entered(punjab: Node) -> None:
    parent = punjab.create().offender.name
    unknown = parent[:-4] + ("0000" if parent[-4:] != "0000" else "1111")
    assert punjab.refused(notices_of(unknown, INVESTIGATION)).reason == "OFFENDER_NOT_FOUND"
    assert punjab.refused(RecordNoticeRequest(parent=unknown)).reason == "INVALID_FIELD"
    assert punjab.refused(notification(unknown)).reason == "OFFENDER_NOT_FOUND"
