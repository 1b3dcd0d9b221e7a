"""Odd use of checks is noticed, once, and reported to NPB without a word about who was asked about."""

from collections.abc import Iterator
from itertools import count

import pytest

from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.lookup.v1.alarm_pb2 import (
    ALARM_KIND_MANY_ASKERS,
    ALARM_KIND_MANY_MISSES,
    ALARM_KIND_NEAR_NUMBERS,
    LookupAlarm,
)
from nsor.lookup.v1.lookup_service_pb2 import ListLookupAlarmsRequest
from tests.support.contract import node
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of one worker, that is soon alarmed."""
    environment = {"NSOR_NEAR_NUMBERS_ALARM": "5", "NSOR_ASKERS_ALARM": "3", "NSOR_MISSES_ALARM": "40"}
    with RunningHub(tmp_path_factory.mktemp("alarms") / "state", workers=1, environment=environment) as running:
        yield running


_blocks = count()


def officer(name: str) -> OfficerContext:
    return OfficerContext(officer_id=name, purpose=PURPOSE_VETTING)


def alarms(hub: RunningHub) -> list[LookupAlarm]:
    """All alarms, the oldest first."""
    with hub.client("npb") as npb:
        return list(npb.list_lookup_alarms(page_size=2))[::-1]


def spread(size: int) -> list[str]:
    """Numbers that are far from each other, and that nobody asked about yet."""
    return [f"9{next(_blocks):09d}000" for _ in range(size)]


def test_who_goes_through_numbers_is_named(hub: RunningHub) -> None:
    before = alarms(hub)
    near = fresh_cnic().replace("-", "")[:10]
    with hub.client("sed-punjab") as agency:
        for _ in range(2):
            agency.check_cnic(f"{near}001", officer=officer("A-1"))
        list(agency.check_many([f"{near}{last:03d}" for last in range(2, 5)], officer=officer("A-1")))
        assert alarms(hub) == before, "the same number again is not a further one"
        list(agency.check_many([f"{near}{last:03d}" for last in range(5, 30)], officer=officer("A-1")))
        [alarm] = alarms(hub)[len(before) :]
    assert (alarm.kind, alarm.check_count) == (ALARM_KIND_NEAR_NUMBERS, 5)
    assert (alarm.node, alarm.officer_id) == ("nodes/sed-punjab", "A-1")
    assert alarm.begin_time.ToNanoseconds() <= alarm.create_time.ToNanoseconds()


def test_who_tries_many_numbers_is_named(hub: RunningHub) -> None:
    before = alarms(hub)
    with hub.client("sed-punjab") as agency:
        list(agency.check_many(spread(39), officer=officer("A-2")))
        assert alarms(hub) == before
        agency.check_cnic("no number", officer=officer("A-2"))
        agency.check_cnic(spread(1)[0], officer=officer("A-2"))
        [alarm] = alarms(hub)[len(before) :]
    assert (alarm.kind, alarm.officer_id, alarm.check_count) == (ALARM_KIND_MANY_MISSES, "A-2", 40)


def test_a_number_that_many_ask_about_is_not_named(hub: RunningHub) -> None:
    before = alarms(hub)
    [cnic] = spread(1)
    with hub.client("sms-7000") as gateway, hub.client("sed-punjab") as agency:
        for _ in range(4):
            gateway.check_cnic(cnic, end_user=b"a" * 16)
        agency.check_cnic(cnic, officer=officer("A-3"))
        assert alarms(hub) == before, "the same asker again is not a further one"
        for name in (b"b", b"c", b"d"):
            gateway.check_cnic(cnic, end_user=name * 16)
    [alarm] = alarms(hub)[len(before) :]
    assert (alarm.kind, alarm.check_count) == (ALARM_KIND_MANY_ASKERS, 3)
    assert (alarm.node, alarm.officer_id) == ("", "")


def test_alarms_come_page_by_page_and_only_with_the_token_of_the_page_before(hub: RunningHub) -> None:
    npb = node(hub, "npb")
    pages = list(npb.pages(ListLookupAlarmsRequest(page_size=1)))
    assert [alarm.name for page in pages for alarm in page.alarms] == [alarm.name for alarm in alarms(hub)[::-1]]
    assert npb.refused(ListLookupAlarmsRequest(page_token="x")).reason == "INVALID_PAGE_TOKEN"
