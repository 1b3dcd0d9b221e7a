"""Who may call what: generated from the contract's descriptors, and tried with every node of the federation."""

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from nsor.common.v1 import access_pb2
from nsor.common.v1.error_reason_pb2 import ErrorReason, status_code
from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.monitoring.v1.monitoring_service_pb2 import ListNoticesRequest
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.access_request_pb2 import ACCESS_SCOPE_PERSON, AccessRequest
from nsor.registry.v1.offender_pb2 import COURT_EVENT_APPEAL_FILED, Offender, Person, VictimClass
from nsor.registry.v1.registry_service_pb2 import CreateOffenderResponse, GetOffenderRequest
from tests.support.access import asking, declining, forwarding, granting, obtain, revoking
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    METHODS,
    NODES,
    OVERSIGHT,
    SERVICES,
    Node,
    access,
    change,
    court_event,
    merging,
    node,
    notification,
    path,
    proposal,
    proto_files,
    refusal_of,
)
from tests.support.hub import RunningHub

pytest_plugins = ["tests.support.nodes"]

ROLES = {
    "nadra": access_pb2.ROLE_NADRA,
    "npb": access_pb2.ROLE_NPB,
    "punjab-police": access_pb2.ROLE_POLICE,
    "sindh-police": access_pb2.ROLE_POLICE,
    "punjab-prosecution": access_pb2.ROLE_PROSECUTION,
    "sindh-prosecution": access_pb2.ROLE_PROSECUTION,
    "lahore-high-court": access_pb2.ROLE_COURTS,
    "fia": access_pb2.ROLE_FIA,
    "sed-punjab": access_pb2.ROLE_VETTING_AGENCY,
    "sms-7000": access_pb2.ROLE_PUBLIC_GATEWAY,
}
CALLS = [pytest.param(method, name, id=f"{method.name}-{name}") for method, name in product(METHODS.values(), NODES)]


@pytest.fixture(scope="module")
def written(punjab: Node) -> CreateOffenderResponse:
    """A record of Punjab."""
    return punjab.create()


@pytest.mark.parametrize(("method", "name"), CALLS)
def test_a_role_may_call_what_lists_it_and_nothing_else(hub: RunningHub, method: MethodDescriptor, name: str) -> None:
    caller = node(hub, name)
    if ROLES[name] in access(method).roles:
        try:
            caller.call_bytes(method, b"")
        except grpc.RpcError:
            assert refusal_of(lambda: caller.call_bytes(method, b"")).reason == "INVALID_FIELD"
    else:
        refusal = refusal_of(lambda: caller.call_bytes(method, b""))
        assert refusal.reason == "ROLE_NOT_ALLOWED"
        assert refusal.metadata == {"role": access_pb2.Role.Name(ROLES[name])}


@pytest.mark.parametrize("method", [method for method in METHODS.values() if access(method).officer_required])
def test_an_officer_is_named_where_one_is_required(
    hub: RunningHub, written: CreateOffenderResponse, method: MethodDescriptor
) -> None:
    asked = AccessRequest(name=f"accessRequests/{uuid4()}", etag='"1"', scopes=[ACCESS_SCOPE_PERSON])
    steps = [asking(written.offender.name), forwarding(asked), granting(asked), declining(asked), revoking(asked)]
    steps.append(merging(written.offender, Offender(name=f"offenders/{uuid4()}", etag='"1"')))
    request: Any = next((s for s in steps if s.DESCRIPTOR is method.input_type), GetMessageClass(method.input_type)())
    request.ClearField("officer")
    for field in {"name", "parent"} & set(method.input_type.fields_by_name):
        name = asked.name if "AccessRequest" in method.name else written.offender.name
        setattr(request, field, name)
    if "cnic" in method.input_type.fields_by_name:
        request.cnic = written.offender.person.cnic
    caller = next(name for name in ("punjab-police", *ROLES) if ROLES[name] in access(method).roles)
    assert list(node(hub, caller).refused(request).fields) == ["officer"]


@pytest.mark.parametrize(
    ("officer", "field"),
    [
        (OfficerContext(purpose="PURPOSE_RECORD_MAINTENANCE"), "officer.officer_id"),
        (OfficerContext(officer_id="P-10249"), "officer.purpose"),
        (OfficerContext(officer_id="P-10249", purpose="PURPOSE_INVESTIGATION"), "officer.fir_number"),
    ],
)
def test_an_officer_states_who_and_why_and_for_which_fir(
    punjab: Node, written: CreateOffenderResponse, officer: OfficerContext, field: str
) -> None:
    refusal = punjab.refused(GetOffenderRequest(name=written.offender.name, officer=officer))
    assert list(refusal.fields) == [field]


def test_only_the_owner_and_npb_write_a_record(sindh: Node, npb: Node, written: CreateOffenderResponse) -> None:
    name = written.offender.name
    for request in (change(written.offender, "district"), notification(name), proposal(written.offender, npb.name)):
        refusal = sindh.refused(request)
        assert refusal.reason == "NOT_OWNER"
        assert refusal.metadata == {"owner": "nodes/punjab-police"}
    by_npb = change(written.offender, "district")
    assert list(npb.refused(by_npb).fields) == ["reason"], "NPB says why"
    by_npb.reason = "ordered by the Director General"
    updated = npb.call(by_npb).offender
    assert updated.owner == "nodes/punjab-police", "NPB may change a record without taking it over"
    assert npb.call(notification(name)).notice.recorder == "nodes/npb"


def test_not_even_the_owner_decides_for_a_court(punjab: Node, written: CreateOffenderResponse) -> None:
    assert punjab.refused(court_event(written.offender, COURT_EVENT_APPEAL_FILED)).reason == "ROLE_NOT_ALLOWED"


def test_maintenance_reads_own_records_only(
    hub: RunningHub, punjab: Node, sindh: Node, written: CreateOffenderResponse
) -> None:
    name = written.offender.name
    obtain(hub, sindh, name)
    for request in (
        GetOffenderRequest(name=name, officer=MAINTENANCE),
        ListNoticesRequest(parent=name, officer=MAINTENANCE),
    ):
        punjab.call(request)
        assert sindh.refused(request).reason == "PURPOSE_NOT_ALLOWED"
        request.officer.CopyFrom(INVESTIGATION)
        sindh.call(request)


def test_oversight_is_for_npb(npb: Node, sindh: Node, written: CreateOffenderResponse) -> None:
    request = GetOffenderRequest(name=written.offender.name, officer=OVERSIGHT)
    assert npb.call(request).offender.name == written.offender.name
    assert sindh.refused(request).reason == "PURPOSE_NOT_ALLOWED"


def test_every_rpc_states_who_may_call_it() -> None:
    for method in METHODS.values():
        assert method.GetOptions().HasExtension(access_pb2.access), f"{method.full_name} has no access rule"
        assert bool(access(method).roles) != access(method).enrolment, f"{method.full_name}: for whom?"
        assert access_pb2.ROLE_UNSPECIFIED not in access(method).roles
        if access(method).officer_required:
            assert "officer" in method.input_type.fields_by_name


def test_every_service_of_the_contract_is_tested() -> None:
    declared = {f"{file.package}.{service.name}" for file in nsor_files() for service in file.service}
    assert declared == {service.full_name for service in SERVICES}


def test_every_reason_has_a_status_and_a_sample_of_itself() -> None:
    [file] = [file for file in nsor_files() if file.name.endswith("error_reason.proto")]
    [enum] = file.enum_type
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for index, value in enumerate(enum.value):
        options = ErrorReason.DESCRIPTOR.values_by_name[value.name].GetOptions()
        assert options.HasExtension(status_code), f"{value.name} has no status"
        assert options.Extensions[status_code] in [code.value[0] for code in grpc.StatusCode]
        if value.number:
            sample = comments[5, 0, 2, index].partition("{")
            assert json.JSONDecoder().raw_decode(sample[1] + sample[2])[0]["reason"] == value.name


def test_nothing_in_the_contract_can_hold_a_survivors_identity() -> None:
    # s.26 of the Act: of a victim the register knows the class, and nothing else.
    about_victims = re.compile("victim|survivor|complain|prosecutrix|witness|injured|minor|aggrieved", re.IGNORECASE)
    found = {field.full_name for field in fields() if about_victims.search(field.name)}
    assert found == {"nsor.registry.v1.Conviction.victim_class"}
    [victim_class] = [field for field in fields() if field.full_name in found]
    assert victim_class.enum_type.full_name == VictimClass.DESCRIPTOR.full_name


def test_the_texts_of_a_record_are_these() -> None:
    # Free text is where a victim's name would end up: whoever adds a field to this list has thought of that.
    texts = {
        field.full_name.removeprefix("nsor.").replace(".v1", "")
        for root in (Offender.DESCRIPTOR, Notice.DESCRIPTOR)
        for field in reachable(root)
        if field.type == FieldDescriptor.TYPE_STRING
    }
    assert texts == {
        "registry.Offender.name",
        "registry.Offender.district",
        "registry.Offender.owner",
        "registry.Offender.etag",
        "registry.Offender.merged_into",
        "registry.Transfer.offender",
        "registry.Transfer.sender",
        "registry.Transfer.receiver",
        "registry.Person.cnic",
        "registry.Person.full_name",
        "registry.Person.full_name_ur",
        "registry.Person.guardian_name",
        "registry.Person.guardian_name_ur",
        "registry.Person.date_of_birth",
        "registry.Person.old_nic",
        "registry.Passport.country",
        "registry.Passport.number",
        "registry.IdentityHistory.death_date",
        "registry.FormerName.full_name",
        "registry.FormerName.full_name_ur",
        "registry.FormerName.begin_date",
        "registry.FormerName.end_date",
        "registry.FormerGuardian.guardian_name",
        "registry.FormerGuardian.guardian_name_ur",
        "registry.FormerGuardian.begin_date",
        "registry.FormerGuardian.end_date",
        "registry.FormerCnic.cnic",
        "registry.FormerCnic.begin_date",
        "registry.FormerCnic.end_date",
        "registry.Conviction.court",
        "registry.Conviction.case_number",
        "registry.Conviction.fir_number",
        "registry.Conviction.police_station",
        "registry.Conviction.offence_code",
        "registry.Conviction.conviction_date",
        "registry.Conviction.finality_date",
        "monitoring.Notice.name",
        "monitoring.Notice.notified_date",
        "monitoring.Notice.recorder",
        "monitoring.NameChange.full_name",
        "monitoring.NameChange.full_name_ur",
        "monitoring.NameChange.effective_date",
        "monitoring.AddressChange.address",
        "monitoring.AddressChange.district",
        "monitoring.AddressChange.effective_date",
        "monitoring.Travel.destination",
        "monitoring.Travel.departure_date",
        "monitoring.Travel.return_date",
    }


def test_a_person_in_a_record_is_the_offender() -> None:
    persons = [field.full_name for field in fields() if field.message_type is Person.DESCRIPTOR]
    assert persons == ["nsor.registry.v1.Offender.person", "nsor.registry.v1.Offender.other_identities"]


def test_names_numbers_and_addresses_of_people_are_marked_personal() -> None:
    personal = re.compile("^(cnic|old_nic|number|full_name.*|guardian_name.*|date_of_birth|death_date|address)$")
    for field in fields():
        if field.type == FieldDescriptor.TYPE_STRING and personal.search(field.name):
            sensitivity = field.GetOptions().Extensions[access_pb2.sensitivity]
            assert sensitivity == access_pb2.SENSITIVITY_PERSONAL, field.full_name


def test_passcodes_are_marked_secret() -> None:
    marks = [field.GetOptions().Extensions[access_pb2.sensitivity] for field in fields() if field.name == "passcode"]
    assert marks == [access_pb2.SENSITIVITY_SECRET] * 2, "as it is sent, and as it is given"


@pytest.mark.parametrize("name", NODES)
def test_health_answers_every_node(hub: RunningHub, name: str) -> None:
    with hub.channel(name) as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=30)
    assert answer.status == HealthCheckResponse.SERVING


def test_reflection_is_off(hub: RunningHub) -> None:
    with hub.channel("npb") as channel:
        answers = ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ServerReflectionRequest(list_services="")]), timeout=30
        )
        with pytest.raises(grpc.RpcError) as error:
            next(answers)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_method_that_the_contract_does_not_have_is_not_there(hub: RunningHub) -> None:
    with hub.channel("npb") as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(path(METHODS["GetOffender"]).replace("Get", "Delete"))(b"", timeout=30)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def nsor_files() -> list[FileDescriptorProto]:
    """The files of the contract, without those that they import."""
    return [file for file in proto_files().file if file.package.startswith("nsor.")]


def fields() -> Iterator[FieldDescriptor]:
    """Every field of every message that a call can carry, each once."""
    found = {
        field.full_name: field
        for method in METHODS.values()
        for root in (method.input_type, method.output_type)
        for field in reachable(root)
    }
    yield from found.values()


def reachable(root: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a message and of the messages in it."""
    for field in root.fields:
        yield field
        if field.message_type:
            yield from reachable(field.message_type)
