"""Limits of a running hub: who asks too often is told when to come back, and nobody else is affected."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_NO_RECORD
from nsor_client import InvalidRequest, ResourceExhausted
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.vetting import teacher


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that lets an officer and a person ask twice at once, and again after an hour."""
    limits = {"OFFICER_CHECKS_BURST": "2", "END_USER_CHECKS_BURST": "2", "END_USER_CHECKS_PER_HOUR": "1"}
    limits |= {"OFFICER_CHECKS_PER_SECOND": str(1 / 3600)}
    environment = {f"NSOR_{name}": value for name, value in limits.items()}
    with RunningHub(tmp_path_factory.mktemp("limits") / "state", workers=1, environment=environment) as running:
        yield running


def officer(name: str) -> OfficerContext:
    return OfficerContext(officer_id=name, purpose=PURPOSE_VETTING)


def test_a_person_behind_a_gateway_asks_so_often_and_no_more(hub: RunningHub) -> None:
    with hub.client("sms-7000") as gateway:
        for _ in range(2):
            assert gateway.check_cnic(fresh_cnic(), end_user=b"a" * 16).outcome == OUTCOME_NO_RECORD
        [[before]] = hub.sql("SELECT count(*) FROM audit_entry")
        with pytest.raises(ResourceExhausted) as refused:
            gateway.check_cnic(fresh_cnic(), end_user=b"a" * 16)
        assert refused.value.reason == ErrorReason.ERROR_REASON_TOO_MANY_REQUESTS
        assert refused.value.metadata == {"limit": "end_user"}
        assert refused.value.retry_after is not None
        assert 3000 < refused.value.retry_after <= 3600
        assert hub.sql("SELECT count(*) FROM audit_entry") == [(before,)], "there was no answer to account for"
        gateway.check_cnic(fresh_cnic(), end_user=b"b" * 16)
        gateway.check_cnic(fresh_cnic())


@pytest.mark.parametrize("end_user", [b"a" * 15, b"a" * 33])
def test_what_stands_for_a_person_has_a_bounded_length(hub: RunningHub, end_user: bytes) -> None:
    with hub.client("sms-7000") as gateway, pytest.raises(InvalidRequest) as refused:
        gateway.check_cnic(fresh_cnic(), end_user=end_user)
    assert [violation.field for violation in refused.value.field_violations] == ["end_user"]


def test_an_officer_has_a_limit_for_single_checks_and_rosters_together(hub: RunningHub) -> None:
    with hub.client("sed-punjab") as agency:
        agency.check_cnic(fresh_cnic(), officer=officer("A-1"))
        assert len(list(agency.check_many([fresh_cnic()], officer=officer("A-1")))) == 1
        for refused in (
            lambda: agency.check_cnic(fresh_cnic(), officer=officer("A-1")),
            lambda: list(agency.check_many([fresh_cnic()], officer=officer("A-1"))),
            lambda: list(agency.check_many([fresh_cnic() for _ in range(3)], officer=officer("A-2"))),
        ):
            with pytest.raises(ResourceExhausted) as error:
                refused()
            assert error.value.metadata == {"limit": "officer"}
        agency.check_cnic(fresh_cnic(), officer=officer("A-3"))


def test_who_gives_up_before_its_turn_comes_is_told_when_to_come_back_and_loses_nothing(folder: Path) -> None:
    limits = {"NSOR_OFFICER_CHECKS_BURST": "2", "NSOR_OFFICER_CHECKS_PER_SECOND": str(1 / 20)}
    with RunningHub(folder, workers=1, environment=limits) as hub, hub.client("sed-punjab") as agency:
        people = [teacher(fresh_cnic()) for _ in range(3)]
        with pytest.raises(ResourceExhausted) as refused:
            agency.add_watched_people(people, officer=officer("A-1"), timeout=5)
        assert refused.value.retry_after is not None
        assert 15 < refused.value.retry_after <= 20
        assert agency.add_watched_people(people[:2], officer=officer("A-1"), timeout=5).added_count == 2
