"""What the contract says of its methods and errors, read from the descriptors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hub.domain.errors import Reason
from hub.domain.node import Role
from nsor.common.v1 import access_pb2, error_reason_pb2
from nsor.federation.v1 import federation_service_pb2
from nsor.lookup.v1 import consent_service_pb2, lookup_service_pb2, vetting_service_pb2
from nsor.monitoring.v1 import monitoring_service_pb2
from nsor.registry.v1 import access_desk_service_pb2, registry_service_pb2

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (
        registry_service_pb2,
        access_desk_service_pb2,
        lookup_service_pb2,
        consent_service_pb2,
        vetting_service_pb2,
        federation_service_pb2,
        monitoring_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """Who may call a method, as its `nsor.common.v1.access` option says.

    Attributes:
        name: full name, for example "nsor.registry.v1.RegistryService/GetOffender".
        has_officer: whether the request has a field `officer`.
        enrolment: it is served on the enrolment port, to callers without a certificate, and nowhere else.
        owner_only: the use case itself asks for the owner, since only it has the record at hand.
    """

    name: str
    roles: frozenset[Role]
    enrolment: bool
    owner_only: bool
    officer_required: bool
    has_officer: bool
    request_type: type[Message]


class ContractError(Exception):
    """The contract leaves open what it must state."""


def method_policies(services: Iterable[ServiceDescriptor] = SERVICES) -> Mapping[str, MethodPolicy]:
    """The policy of every method, by full name.

    Raises:
        ContractError: a method has no access option, or one that lets nobody call: the hub must not start.
    """
    policies: dict[str, MethodPolicy] = {}
    for service in services:
        for method in service.methods:
            name = f"{service.full_name}/{method.name}"
            access = method.GetOptions().Extensions[access_pb2.access]
            if bool(access.roles) == access.enrolment:
                raise ContractError(f"{name} has no access option with either roles or enrolment")
            policies[name] = MethodPolicy(
                name=name,
                roles=frozenset(Role[access_pb2.Role.Name(r).removeprefix("ROLE_")] for r in access.roles),
                enrolment=access.enrolment,
                owner_only=access.owner_only,
                officer_required=access.officer_required,
                has_officer="officer" in method.input_type.fields_by_name,
                request_type=GetMessageClass(method.input_type),
            )
            if access.officer_required and not policies[name].has_officer:
                raise ContractError(f"{name} requires an officer, but its request has no such field")
    return policies


def reason_value(reason: Reason) -> error_reason_pb2.ErrorReason.ValueType:
    """The contract's value of a reason."""
    return error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")


def status_code(reason: Reason) -> int:
    """The gRPC status code that the contract gives a reason."""
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_number[reason_value(reason)]
    return value.GetOptions().Extensions[error_reason_pb2.status_code]
