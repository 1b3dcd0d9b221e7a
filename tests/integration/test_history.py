"""The history of a record: who, when, why, what; and the record as it was."""

from copy import deepcopy
from uuid import uuid4

import pytest

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.registry.v1.access_request_pb2 import ACCESS_SCOPE_HISTORY
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    OFFENDER_STATUS_SEALED,
    Offender,
)
from nsor.registry.v1.registry_service_pb2 import (
    GetOffenderRequest,
    ListOffenderRevisionsRequest,
    ListOffendersRequest,
    OffenderRevision,
)
from tests.support.access import obtain
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    OVERSIGHT,
    Node,
    acceptance,
    change,
    court_event,
    creation,
    proposal,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]


def convict() -> Offender:
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_FINAL
    return offender


def history(caller: Node, name: str, officer: OfficerContext = MAINTENANCE, size: int = 2) -> list[OffenderRevision]:
    """The whole history of a record, oldest first."""
    request = ListOffenderRevisionsRequest(name=name, page_size=size, officer=officer)
    return [revision for page in caller.pages(request) for revision in page.revisions][::-1]


def version(caller: Node, name: str, number: int, officer: OfficerContext = MAINTENANCE) -> Offender:
    """A record as it was at a version."""
    return caller.call(GetOffenderRequest(name=name, version=number, officer=officer)).offender


def test_every_version_says_who_made_it_and_why_and_what_it_changed(
    punjab: Node, sindh: Node, npb: Node, court: Node
) -> None:
    entering = creation(convict())
    entering.officer.CopyFrom(MAINTENANCE)
    written = [punjab.call(entering).offender]
    edit = deepcopy(written[0])
    edit.district, edit.person.full_name = "Multan", "Somebody Else"
    edit.convictions[0].court = "Another Court"
    edit.convictions.add().CopyFrom(edit.convictions[0])
    by_npb = change(edit, "district", "person.full_name", "convictions")
    by_npb.reason = "order of the Director General"
    written.append(npb.call(by_npb).offender)
    written.append(court.call(court_event(written[1], COURT_EVENT_APPEAL_FILED, number=2)).offender)
    written.append(punjab.call(proposal(written[2], sindh.name)).offender)
    written.append(sindh.call(acceptance(written[3])).offender)
    found = history(sindh, written[0].name)
    assert [revision.version for revision in found] == [1, 2, 3, 4, 5]
    assert [(r.node, r.method.rpartition("/")[2], r.reason, list(r.changed_fields)) for r in found] == [
        (punjab.name, "CreateOffender", "", []),
        (npb.name, "UpdateOffender", "order of the Director General",
         ["person.full_name", "district", "convictions[0].court", "convictions[1]"]),
        (court.name, "RecordCourtEvent", "Crl. Appeal 120/2026, Lahore High Court",
         ["convictions[1].finality", "convictions[1].finality_date"]),
        (punjab.name, "ProposeTransfer", "moved", ["transfer"]),
        (sindh.name, "AcceptTransfer", "", ["owner", "transfer"]),
    ]  # fmt: skip
    assert found[0].officer == MAINTENANCE
    assert not found[1].HasField("officer")
    assert [revision.change_time for revision in found] == [offender.update_time for offender in written]
    assert [version(sindh, written[0].name, number) for number in range(1, 6)] == written
    assert found == history(sindh, written[0].name, size=5) == history(sindh, written[0].name, size=200)


def test_history_is_read_like_the_record(hub: RunningHub, punjab: Node, sindh: Node, npb: Node) -> None:
    name = punjab.create().offender.name
    requests = [
        ListOffenderRevisionsRequest(name=name, officer=MAINTENANCE),
        GetOffenderRequest(name=name, version=1, officer=MAINTENANCE),
    ]
    for request in requests:
        assert sindh.refused(request).reason == "PURPOSE_NOT_ALLOWED"
    obtain(hub, sindh, name, ACCESS_SCOPE_HISTORY)
    assert history(sindh, name, INVESTIGATION) == history(npb, name, OVERSIGHT) == history(punjab, name)


def test_a_new_owner_reads_what_was_before_and_the_old_one_no_longer(punjab: Node, sindh: Node) -> None:
    first = punjab.create().offender
    sindh.call(acceptance(punjab.call(proposal(first, sindh.name)).offender))
    assert version(sindh, first.name, 1) == first
    refused = punjab.refused(GetOffenderRequest(name=first.name, version=1, officer=MAINTENANCE))
    assert refused.reason == "PURPOSE_NOT_ALLOWED"


def test_there_is_no_version_that_was_never_written(punjab: Node) -> None:
    name = punjab.create().offender.name
    assert punjab.refused(GetOffenderRequest(name=name, version=2, officer=MAINTENANCE)).reason == "OFFENDER_NOT_FOUND"
    unknown = ListOffenderRevisionsRequest(name=f"offenders/{uuid4()}", officer=MAINTENANCE)
    assert punjab.refused(unknown).reason == "OFFENDER_NOT_FOUND"


def test_of_a_sealed_record_it_is_left_who_and_when(punjab: Node, court: Node) -> None:
    entering = creation(convict())
    entering.officer.CopyFrom(MAINTENANCE)
    first = punjab.call(entering).offender
    second = punjab.update(first, "district").offender
    sealed = court.call(court_event(second, COURT_EVENT_SET_ASIDE)).offender
    found = history(punjab, first.name)
    assert [(r.node, r.method.rpartition("/")[2]) for r in found] == [
        (punjab.name, "CreateOffender"),
        (punjab.name, "UpdateOffender"),
        (court.name, "RecordCourtEvent"),
    ]
    assert not any(r.reason or r.HasField("officer") or r.changed_fields for r in found)
    old = version(punjab, first.name, 1)
    assert (old.etag, old.status, old.HasField("person")) == (first.etag, OFFENDER_STATUS_SEALED, False)
    assert version(punjab, first.name, 3) == sealed


def test_reads_can_ask_for_a_revision(punjab: Node, sindh: Node) -> None:
    for police in (punjab, sindh):
        written = police.create()
        get = GetOffenderRequest(name=written.offender.name, officer=MAINTENANCE, at_least_revision=written.revision)
        assert police.call(get).offender == written.offender
        listing = ListOffendersRequest(page_size=1, officer=MAINTENANCE, at_least_revision=written.revision)
        assert police.call(listing).offenders[0] == written.offender


@pytest.mark.parametrize("token", ["garbage", "0", "w1", "00000000.s1"])
def test_a_revision_that_is_none_is_refused(punjab: Node, token: str) -> None:
    name = punjab.create().offender.name
    for request in (
        GetOffenderRequest(name=name, officer=MAINTENANCE, at_least_revision=token),
        ListOffendersRequest(officer=MAINTENANCE, at_least_revision=token),
    ):
        assert punjab.refused(request).reason in ("INVALID_REVISION", "REVISION_EPOCH_CHANGED")
