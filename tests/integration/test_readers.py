"""What a node may see is decided by the contract's readers of each field, at every message."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from hub.domain.node import Role
from hub.transport.redaction import redact
from nsor.common.v1 import access_pb2
from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.federation.v1.federation_service_pb2 import Change, Event, WatchChangesResponse
from nsor.lookup.v1.consent_pb2 import Passcode
from nsor.lookup.v1.consent_service_pb2 import WatchPasscodesResponse
from nsor.monitoring.v1.notice_pb2 import TRAVEL_SCOPE_ABROAD, Notice, Travel
from nsor.registry.v1.offender_pb2 import VictimClass
from nsor_client import Client, PermissionDenied
from tests.support import certificates
from tests.support.contract import METHODS, access
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender
from tests.support.waiting import eventually

TRAVEL = Notice(travel=Travel(scope=TRAVEL_SCOPE_ABROAD, destination="AE", departure_date="2027-01-01"))


def seen_by(role: Role) -> WatchChangesResponse:
    response = WatchChangesResponse(
        events=[Event(changes=[Change(offender=fresh_offender()), Change(notice=TRAVEL)])] * 2
    )
    redact(response, role)
    return response


@pytest.mark.parametrize("role", [Role.NPB, Role.POLICE, Role.FIA, Role.PRISONS])
def test_readers_see_the_field_wherever_it_lies(role: Role) -> None:
    for event in seen_by(role).events:
        assert event.changes[0].offender.convictions[0].victim_class
        assert event.changes[1].notice == TRAVEL


def test_others_see_everything_but_the_field() -> None:
    for event in seen_by(Role.NADRA).events:
        conviction = event.changes[0].offender.convictions[0]
        assert not conviction.victim_class
        assert conviction.court
        assert event.changes[1].notice == Notice()


@pytest.mark.parametrize("role", Role)
def test_a_passcode_is_shown_to_nadra_alone(role: Role) -> None:
    response = WatchPasscodesResponse(passcodes=[Passcode(cnic="91234-0000000-1", passcode="135791")])
    redact(response, role)
    [passcode] = response.passcodes
    assert [bool(passcode.cnic), bool(passcode.passcode)] == [role is Role.NADRA] * 2


def fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a message, and of the messages in it."""
    for field in descriptor.fields:
        yield field
        if field.message_type:
            yield from fields(field.message_type)


@pytest.mark.parametrize("method", ["CreateOffender", "UpdateOffender", "ImportOffenders", "RecordNotice"])
def test_who_writes_a_field_may_read_it(method: str) -> None:
    """Or an update would erase what its sender was not shown."""
    writers = set(access(METHODS[method]).roles)
    for field in fields(METHODS[method].input_type):
        readers = field.GetOptions().Extensions[access_pb2.readers]
        assert not readers or writers <= set(readers), field.full_name


def test_a_stream_shows_what_the_role_may_read_by_then(hub: RunningHub) -> None:
    """A node's role can change while it watches: its stream ends, and the watch goes on as the new role."""
    id, credentials = certificates.new_node(hub)
    with hub.client("punjab-police") as punjab, Client(hub.target, credentials) as client:
        beginning = punjab.create_offender(fresh_offender()).revision
        with closing(client.watch_changes(beginning)) as responses:

            def next_class_seen() -> VictimClass.ValueType:
                name = punjab.create_offender(fresh_offender()).offender.name
                while True:
                    for event in next(responses).events:
                        for change in event.changes:
                            if change.offender.name == name:
                                return change.offender.convictions[0].victim_class

            assert next_class_seen()
            hub.sql("UPDATE node SET role = 'NADRA' WHERE id = %s", id)
            eventually(lambda: not next_class_seen())
            hub.sql("UPDATE node SET role = 'VETTING_AGENCY' WHERE id = %s", id)
            with pytest.raises(PermissionDenied) as refused:
                eventually(lambda: next_class_seen() and False)
            assert refused.value.reason == ErrorReason.ERROR_REASON_ROLE_NOT_ALLOWED
