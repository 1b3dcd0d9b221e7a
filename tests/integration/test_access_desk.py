"""The access desk: an officer asks, a prosecutor forwards, NPB decides; one step after the other, each once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nsor.registry.v1.access_desk_service_pb2 import GetAccessRequestRequest, ListAccessRequestsRequest
from nsor.registry.v1.access_request_pb2 import (
    ACCESS_REQUEST_STATE_DECLINED,
    ACCESS_REQUEST_STATE_EXPIRED,
    ACCESS_REQUEST_STATE_FORWARDED,
    ACCESS_REQUEST_STATE_GRANTED,
    ACCESS_REQUEST_STATE_REQUESTED,
    ACCESS_SCOPE_CONVICTIONS,
    ACCESS_SCOPE_NOTICES,
    ACCESS_SCOPE_PERSON,
    AccessRequest,
)
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, FINALITY_FINAL
from tests.support.access import PROSECUTOR, asking, declining, forwarding, granting, obtain
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    OVERSIGHT,
    Node,
    Refusal,
    at_once,
    court_event,
    node,
    rows_written,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender
from tests.support.waiting import eventually

pytest_plugins = ["tests.support.nodes"]


@pytest.fixture(scope="session")
def prosecutor(hub: RunningHub) -> Node:
    """The prosecution of Punjab."""
    return node(hub, "punjab-prosecution")


@pytest.fixture
def asked(punjab: Node, sindh: Node) -> AccessRequest:
    """What Punjab asks about a record of Sindh."""
    return punjab.call(asking(sindh.create().offender.name)).access_request


@pytest.fixture
def forwarded(prosecutor: Node, asked: AccessRequest) -> AccessRequest:
    """The same once the prosecutor forwarded it."""
    return prosecutor.call(forwarding(asked, "the lead is credible")).access_request


def read(caller: Node, name: str) -> AccessRequest:
    return caller.call(GetAccessRequestRequest(name=name, officer=OVERSIGHT)).access_request


def listed(caller: Node, **only: Any) -> list[AccessRequest]:
    """Every request that a node may list."""
    request = ListAccessRequestsRequest(page_size=2, officer=OVERSIGHT, **only)
    return [each for page in caller.pages(request) for each in page.access_requests]


def test_a_request_goes_from_the_officer_to_the_prosecutor_to_npb(
    punjab: Node, prosecutor: Node, npb: Node, asked: AccessRequest
) -> None:
    assert (asked.state, asked.node, asked.officer) == (ACCESS_REQUEST_STATE_REQUESTED, punjab.name, INVESTIGATION)
    assert asked.due_time.ToDatetime() - asked.create_time.ToDatetime() == timedelta(hours=48)
    assert not asked.HasField("forwarding")
    forwarded = prosecutor.call(forwarding(asked, "the lead is credible")).access_request
    assert forwarded.state == ACCESS_REQUEST_STATE_FORWARDED
    step = forwarded.forwarding
    assert (step.node, step.officer, step.reason) == (prosecutor.name, PROSECUTOR, "the lead is credible")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    request = granting(forwarded, ACCESS_SCOPE_PERSON, ACCESS_SCOPE_NOTICES, reason="the convictions are not needed")
    request.expire_time.FromDatetime(until)
    granted = npb.call(request).access_request
    assert granted.state == ACCESS_REQUEST_STATE_GRANTED
    assert list(granted.granted_scopes) == [ACCESS_SCOPE_PERSON, ACCESS_SCOPE_NOTICES]
    assert granted.expire_time.ToDatetime(UTC) == until
    assert (granted.decision.node, granted.decision.officer) == (npb.name, OVERSIGHT)
    assert granted.forwarding == step
    assert len({each.etag for each in (asked, forwarded, granted)}) == 3
    assert read(punjab, asked.name) == read(prosecutor, asked.name) == read(npb, asked.name) == granted


def test_access_is_granted_for_30_days_where_npb_says_nothing_else(npb: Node, forwarded: AccessRequest) -> None:
    granted = npb.call(granting(forwarded)).access_request
    assert granted.expire_time.ToDatetime() - granted.decision.time.ToDatetime() == timedelta(days=30)
    assert granted.granted_scopes == forwarded.scopes


def test_access_is_asked_for_an_investigation(sindh: Node, punjab: Node) -> None:
    request = asking(sindh.create().offender.name, officer=MAINTENANCE)
    assert punjab.refused(request).reason == "PURPOSE_NOT_ALLOWED"
    assert punjab.refused(asking(f"offenders/{uuid4()}")).reason == "OFFENDER_NOT_FOUND"


def test_a_request_is_known_to_those_concerned(hub: RunningHub, fia: Node, prosecutor: Node, sindh: Node) -> None:
    others = [node(hub, "sindh-prosecution"), sindh]
    of_punjab = node(hub, "punjab-police").call(asking(sindh.create().offender.name)).access_request
    for other in others:
        request = GetAccessRequestRequest(name=of_punjab.name, officer=OVERSIGHT)
        assert other.refused(request).reason == "ACCESS_REQUEST_NOT_FOUND"
        assert of_punjab not in listed(other)
    assert others[0].refused(forwarding(of_punjab)).reason == "ACCESS_REQUEST_NOT_FOUND"
    of_fia = fia.call(asking(sindh.create().offender.name)).access_request
    assert read(others[0], of_fia.name) == read(prosecutor, of_fia.name) == of_fia, "a national body has no province"


def test_npb_waits_for_the_prosecutor(npb: Node, asked: AccessRequest) -> None:
    for request in (granting(asked, reason="urgent"), declining(asked)):
        refusal = npb.refused(request)
        assert refusal.reason == "ACCESS_STEP_NOT_POSSIBLE"
        due = asked.due_time.ToDatetime().replace(microsecond=0).isoformat()
        assert refusal.metadata == {"state": "ACCESS_REQUEST_STATE_REQUESTED", "due_time": f"{due}Z"}


def test_a_prosecutor_declines_what_is_to_be_forwarded(
    hub: RunningHub, prosecutor: Node, npb: Node, asked: AccessRequest, forwarded: AccessRequest
) -> None:
    assert asked.name == forwarded.name
    assert prosecutor.refused(declining(forwarded)).reason == "ACCESS_STEP_NOT_POSSIBLE", "it is NPB's by then"
    other = node(hub, "punjab-police").call(asking(asked.offender)).access_request
    assert node(hub, "sindh-prosecution").refused(declining(other)).reason == "ACCESS_REQUEST_NOT_FOUND"
    declined = prosecutor.call(declining(other)).access_request
    assert (declined.state, declined.decision.node) == (ACCESS_REQUEST_STATE_DECLINED, prosecutor.name)
    assert npb.refused(granting(declined, reason="urgent")).reason == "ACCESS_STEP_NOT_POSSIBLE"


def test_nothing_follows_on_a_decision(prosecutor: Node, npb: Node, forwarded: AccessRequest) -> None:
    declined = npb.call(declining(forwarded)).access_request
    assert (declined.state, declined.decision.reason) == (ACCESS_REQUEST_STATE_DECLINED, "unrelated to the FIR")
    assert not declined.granted_scopes
    assert not declined.HasField("expire_time")
    for caller, request in ((prosecutor, forwarding(declined)), (npb, granting(declined)), (npb, declining(declined))):
        refusal = caller.refused(request)
        assert refusal.reason == "ACCESS_STEP_NOT_POSSIBLE"
        assert refusal.metadata == {"state": "ACCESS_REQUEST_STATE_DECLINED"}


def test_npb_grants_no_more_than_was_asked_and_not_for_ever(
    punjab: Node, prosecutor: Node, npb: Node, sindh: Node
) -> None:
    asked = punjab.call(asking(sindh.create().offender.name, ACCESS_SCOPE_PERSON)).access_request
    request = granting(prosecutor.call(forwarding(asked)).access_request, ACCESS_SCOPE_CONVICTIONS)
    for days, rule in ((-1, "IN_PAST"), (31, "TOO_LATE")):
        request.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=days))
        assert npb.refused(request).fields == {"scopes": "NOT_ASKED", "expire_time": rule}
    request.expire_time.seconds = 2**62
    assert npb.refused(request).fields == {"expire_time": "INVALID_TIME"}


def test_what_is_sent_again_gives_the_first_answer_again(
    hub: RunningHub, punjab: Node, prosecutor: Node, npb: Node, sindh: Node
) -> None:
    ask = asking(sindh.create().offender.name)
    asked = punjab.call(ask)
    forward = forwarding(asked.access_request)
    forwarded = prosecutor.call(forward)
    grant = granting(forwarded.access_request)
    granted = npb.call(grant)
    before = rows_written(hub.sql)
    for caller, request, answer in ((punjab, ask, asked), (prosecutor, forward, forwarded), (npb, grant, granted)):
        assert caller.call(request) == answer
    assert rows_written(hub.sql) == before
    ask.access_request.reason = forward.reason = grant.reason = "another one"
    for caller, request in ((punjab, ask), (prosecutor, forward), (npb, grant)):
        assert caller.refused(request).reason == "REQUEST_ID_REUSED"


def test_a_step_is_taken_on_what_was_read(prosecutor: Node, npb: Node, asked: AccessRequest) -> None:
    forwarded = prosecutor.call(forwarding(asked)).access_request
    assert npb.refused(granting(asked)).reason == "ETAG_MISMATCH"
    assert prosecutor.refused(forwarding(asked)).reason == "ETAG_MISMATCH"
    assert npb.call(declining(forwarded)).access_request.state == ACCESS_REQUEST_STATE_DECLINED


def test_of_a_grant_and_a_refusal_at_once_one_wins(hub: RunningHub, npb: Node, forwarded: AccessRequest) -> None:
    requests = [granting(forwarded), declining(forwarded)]
    answers = at_once(6, lambda line: node(hub, "npb", line).call(requests[line % 2]))
    written = [answer.access_request for answer in answers if not isinstance(answer, Refusal)]
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {"ETAG_MISMATCH"}
    assert written == [read(npb, forwarded.name)] * 3, "the three lines of one request get one answer"


def test_requests_are_listed_newest_first_and_by_state(
    punjab: Node, sindh: Node, npb: Node, prosecutor: Node, forwarded: AccessRequest
) -> None:
    name = sindh.create().offender.name
    newer = [punjab.call(asking(name)).access_request for _ in range(3)]
    for caller in (punjab, prosecutor, npb):
        found = listed(caller)
        assert found[:4] == [*newer[::-1], forwarded]
        assert len({each.name for each in found}) == len(found)
        waiting = listed(caller, state=ACCESS_REQUEST_STATE_REQUESTED)
        assert waiting[:3] == newer[::-1]
        assert forwarded not in waiting
        assert listed(caller, state=ACCESS_REQUEST_STATE_FORWARDED)[0] == forwarded
    assert listed(npb, overdue_only=True) == []


def test_with_its_record_a_request_is_erased(hub: RunningHub, punjab: Node, npb: Node, court: Node) -> None:
    convict = fresh_offender()
    convict.convictions[0].finality = FINALITY_FINAL
    record = node(hub, "sindh-police").create(convict).offender
    granted = obtain(hub, punjab, record.name)
    open_one = punjab.call(asking(record.name)).access_request
    court.call(court_event(record, COURT_EVENT_SET_ASIDE))
    found = read(npb, granted.name)
    assert (found.node, found.granted_scopes, found.decision.time) == (
        punjab.name, granted.granted_scopes, granted.decision.time,
    )  # fmt: skip
    assert not any((found.reason, found.police_station, found.HasField("officer"), found.decision.HasField("officer")))
    assert not {granted.name, open_one.name} & {each.name for each in listed(npb)}
    assert node(hub, "punjab-prosecution").refused(forwarding(open_one)).reason == "OFFENDER_SEALED"
    assert punjab.refused(asking(record.name)).reason == "OFFENDER_SEALED"


def test_what_people_say_stands_sealed_and_all_of_it_is_audited(
    hub: RunningHub, punjab: Node, npb: Node, forwarded: AccessRequest
) -> None:
    npb.call(granting(forwarded, reason="the convictions are not needed"))
    assert list(listed(punjab))
    id, subject = (name.partition("/")[2] for name in (forwarded.name, forwarded.offender))
    [[request]] = hub.sql("SELECT to_jsonb(r) FROM access_request r WHERE id = %s", id)
    steps = [step for [step] in hub.sql("SELECT to_jsonb(s) FROM access_step s WHERE access_request_id = %s", id)]
    texts = ("123/2026", INVESTIGATION.officer_id, "named by", "Civil Lines", "credible", "not needed")
    assert not [text for text in texts if text in str(request) or any(text in str(step) for step in steps)]
    assert not [text for text in texts if any(text.encode().hex() in str(row) for row in (request, *steps))]
    audited = hub.sql("SELECT method FROM audit_entry WHERE subject = uuid_send(%s) ORDER BY id", subject)
    assert [method.rpartition("/")[2] for [method] in audited] == [
        "CreateOffender", "CreateAccessRequest", "ForwardAccessRequest", "GrantAccessRequest",
    ]  # fmt: skip
    lists = "SELECT at FROM audit_entry WHERE method LIKE '%%/ListAccessRequests' AND node_id = %s"
    assert hub.sql(lists, punjab.name.removeprefix("nodes/"))


@pytest.fixture
def hasty_hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub where prosecutors are late at once, and grants last for a millisecond."""
    hasty = {"NSOR_FORWARDING_HOURS": "1e-12", "NSOR_ACCESS_DAYS": "1.2e-8"}
    with RunningHub(tmp_path / "state", environment=hasty) as hub:
        yield hub


def test_npb_decides_on_what_is_overdue_with_a_reason(hasty_hub: RunningHub) -> None:
    punjab, npb, prosecutor = (node(hasty_hub, name) for name in ("punjab-police", "npb", "punjab-prosecution"))
    name = node(hasty_hub, "sindh-police").create().offender.name
    overdue = [punjab.call(asking(name)).access_request for _ in range(3)]
    forwarded = prosecutor.call(forwarding(punjab.call(asking(name)).access_request)).access_request
    assert listed(npb) == [*overdue[::-1], forwarded], "first what is overdue, then the newest"
    assert listed(npb, overdue_only=True) == overdue[::-1]
    assert list(npb.refused(granting(overdue[0])).fields) == ["reason"]
    granted = npb.call(granting(overdue[0], reason="the prosecutor is silent")).access_request
    assert not granted.HasField("forwarding")
    declined = npb.call(declining(overdue[1])).access_request
    assert declined.state == ACCESS_REQUEST_STATE_DECLINED
    assert prosecutor.call(forwarding(overdue[2])).access_request.state == ACCESS_REQUEST_STATE_FORWARDED, "late"
    assert listed(npb, overdue_only=True) == []
    eventually(lambda: read(npb, granted.name).state == ACCESS_REQUEST_STATE_EXPIRED)
    assert [each.name for each in listed(npb, state=ACCESS_REQUEST_STATE_EXPIRED)] == [granted.name]
    assert listed(npb, state=ACCESS_REQUEST_STATE_GRANTED) == []
