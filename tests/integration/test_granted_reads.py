"""Reads of other nodes' records: as far, as long and for the FIR for which the access desk has granted it."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message

from hub.domain.access import AccessScope
from hub.transport.access_desk import release
from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.registry.v1.access_request_pb2 import (
    ACCESS_REQUEST_STATE_REVOKED,
    ACCESS_SCOPE_CONVICTIONS,
    ACCESS_SCOPE_HISTORY,
    ACCESS_SCOPE_NOTICES,
    ACCESS_SCOPE_PERSON,
)
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    OFFENDER_STATUS_MERGED,
    Offender,
)
from nsor.registry.v1.registry_service_pb2 import GetOffenderRequest, ListOffenderRevisionsRequest
from tests.support.access import asking, declining, forwarding, obtain, prosecution, revoking
from tests.support.contract import INVESTIGATION, Node, court_event, node, notices_of, notification
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]

OTHER_FIR = OfficerContext(officer_id="P-40961", purpose="PURPOSE_INVESTIGATION", fir_number="124/2026")
ON_ITS_OWN = {"name", "owner", "status", "etag", "create_time", "update_time"}
PARTS = {ACCESS_SCOPE_PERSON: {"person", "district"}, ACCESS_SCOPE_CONVICTIONS: {"convictions"}}


@pytest.fixture
def record(sindh: Node) -> Offender:
    """A record of Sindh with a notice."""
    record = sindh.create().offender
    sindh.call(notification(record.name))
    return record


def reads(name: str, officer: OfficerContext = INVESTIGATION) -> list[Message]:
    """Every way to read of a record."""
    return [
        GetOffenderRequest(name=name, officer=officer),
        GetOffenderRequest(name=name, version=1, officer=officer),
        ListOffenderRevisionsRequest(name=name, officer=officer),
        notices_of(name, officer),
    ]


def assert_nothing_is_granted(reader: Node, name: str, officer: OfficerContext = INVESTIGATION) -> None:
    for request, scope in zip(reads(name, officer), ("", "HISTORY", "HISTORY", "NOTICES"), strict=True):
        refusal = reader.refused(request)
        assert refusal.reason == "ACCESS_NOT_GRANTED"
        assert refusal.metadata == {"offender": name} | ({"scope": f"ACCESS_SCOPE_{scope}"} if scope else {})
        assert "CreateAccessRequest" in refusal.text


def test_without_a_grant_police_and_fia_read_nothing_of_others(
    hub: RunningHub, punjab: Node, fia: Node, npb: Node, record: Offender
) -> None:
    assert_nothing_is_granted(fia, record.name)
    asked = punjab.call(asking(record.name)).access_request
    assert_nothing_is_granted(punjab, record.name)
    forwarded = prosecution(hub, punjab).call(forwarding(asked)).access_request
    assert_nothing_is_granted(punjab, record.name)
    npb.call(declining(forwarded))
    assert_nothing_is_granted(punjab, record.name)


def test_what_npb_takes_back_ends_with_the_next_read_at_every_worker(
    hub: RunningHub, punjab: Node, npb: Node, record: Offender
) -> None:
    revoked = npb.call(revoking(obtain(hub, punjab, record.name))).access_request
    assert revoked.state == ACCESS_REQUEST_STATE_REVOKED
    for line in range(4):
        assert_nothing_is_granted(node(hub, "punjab-police", line), record.name)
    assert (revoked.decision.node, revoked.revocation.node) == (npb.name, npb.name)
    assert revoked.revocation.reason == "the officer left the case"
    assert not revoked.granted_scopes
    refusal = npb.refused(revoking(revoked))
    assert (refusal.reason, refusal.metadata) == (
        "ACCESS_STEP_NOT_POSSIBLE", {"state": "ACCESS_REQUEST_STATE_REVOKED"}
    )  # fmt: skip
    request = revoking(obtain(hub, punjab, record.name))
    assert npb.call(request) == npb.call(request)
    request = revoking(obtain(hub, punjab, record.name), reason=" ")
    assert list(npb.refused(request).fields) == ["reason"]


def test_a_grant_of_everything_shows_the_whole_record(
    hub: RunningHub, punjab: Node, fia: Node, record: Offender
) -> None:
    obtain(hub, punjab, record.name)
    whole, first, history, notices = map(punjab.call, reads(record.name))
    assert whole.offender == first.offender == record
    assert len(history.revisions) == len(notices.notices) == 1
    assert_nothing_is_granted(fia, record.name)
    assert_nothing_is_granted(punjab, record.name, OTHER_FIR)


@pytest.mark.parametrize("scope", [*PARTS, ACCESS_SCOPE_NOTICES, ACCESS_SCOPE_HISTORY])
def test_what_was_not_granted_is_left_out(hub: RunningHub, fia: Node, record: Offender, scope: int) -> None:
    obtain(hub, fia, record.name, scope)  # type: ignore[arg-type]
    get, get_version, list_history, list_notices = reads(record.name)
    shown = fia.call(get).offender
    assert {field.name for field, _ in shown.ListFields()} == ON_ITS_OWN | PARTS.get(scope, set())
    for request, needed in ((list_notices, ACCESS_SCOPE_NOTICES), (list_history, ACCESS_SCOPE_HISTORY)):
        if scope == needed:
            fia.call(request)
        else:
            assert fia.refused(request).reason == "ACCESS_NOT_GRANTED"
    if scope == ACCESS_SCOPE_HISTORY:
        assert fia.call(get_version).offender == shown, "an earlier version shows no more"


def test_grants_for_one_fir_add_up(hub: RunningHub, fia: Node, record: Offender) -> None:
    for scope in PARTS:
        obtain(hub, fia, record.name, scope)
    assert fia.get(record.name, INVESTIGATION) == record


def test_a_grant_ends_with_its_time(hub: RunningHub, fia: Node, record: Offender) -> None:
    granted = obtain(hub, fia, record.name)
    assert fia.get(record.name, INVESTIGATION) == record
    past = datetime.now(UTC) - timedelta(seconds=1)
    id = granted.name.removeprefix("accessRequests/")
    with hub.connect() as connection:
        connection.execute("ALTER TABLE access_step DISABLE TRIGGER access_step_append_only")
        connection.execute(
            "UPDATE access_step SET expires_at = %s WHERE access_request_id = %s AND state = 'GRANTED'", [past, id]
        )
        connection.execute("ALTER TABLE access_step ENABLE TRIGGER access_step_append_only")
    assert_nothing_is_granted(fia, record.name)


def test_a_grant_ends_with_the_record(hub: RunningHub, sindh: Node, fia: Node, court: Node) -> None:
    convict = fresh_offender()
    convict.convictions[0].finality = FINALITY_FINAL
    record = sindh.create(convict).offender
    obtain(hub, fia, record.name)
    court.call(court_event(record, COURT_EVENT_SET_ASIDE))
    assert_nothing_is_granted(fia, record.name)


def test_who_does_not_investigate_reads_for_its_task(hub: RunningHub, court: Node, record: Offender) -> None:
    for reader in (court, node(hub, "nadra")):
        shown = reader.get(record.name, INVESTIGATION)
        assert (shown.person, shown.etag) == (record.person, record.etag)


def test_a_denial_is_audited(hub: RunningHub, fia: Node, record: Offender) -> None:
    count = "SELECT count(*) FROM audit_entry WHERE decision = 'ACCESS_NOT_GRANTED' AND node_id = 'fia'"
    [[before]] = hub.sql(count)
    assert_nothing_is_granted(fia, record.name)
    [[after]] = hub.sql(count)
    assert after - before == len(reads(record.name))


def test_every_field_of_a_record_is_released_by_a_scope_or_says_nothing_of_the_person() -> None:
    """Whoever adds a field decides by which: until then it needs all of them."""
    status = OFFENDER_STATUS_MERGED
    message = Offender(name="x", district="x", owner="x", status=status, etag="x", merged_into="x")
    message.convictions.add()
    message.other_identities.add()
    for field in Offender.DESCRIPTOR.fields:
        if field.message_type and not field.is_repeated:
            getattr(message, field.name).SetInParent()
    assert len(message.ListFields()) == len(Offender.DESCRIPTOR.fields)
    release(message, frozenset({AccessScope.PERSON, AccessScope.CONVICTIONS}))
    assert len(message.ListFields()) == len(Offender.DESCRIPTOR.fields)
    release(message, frozenset())
    assert {field.name for field, _ in message.ListFields()} == ON_ITS_OWN | {"transfer", "merged_into"}
