"""Refusals as gRPC statuses: a code and exactly one `ErrorInfo` (AIP-193)."""

from math import ceil

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import Status
from grpc_status import rpc_status

from hub.domain.errors import Refused
from hub.transport.contract import reason_value, status_code
from nsor.common.v1 import error_reason_pb2

DOMAIN = "nsor"
_RETRY_SECONDS = 1
_UNAVAILABLE = 14


def to_status(refused: Refused) -> Status:
    """The status of a refusal, with its details."""
    code = status_code(refused.reason)
    name = error_reason_pb2.ErrorReason.Name(reason_value(refused.reason))
    info = error_details_pb2.ErrorInfo(reason=name, domain=DOMAIN, metadata=refused.metadata)
    details: list[Message] = [info]
    if refused.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=v.field, reason=v.reason, description=v.description
                    )
                    for v in refused.violations
                ]
            )
        )
    retry_after = _RETRY_SECONDS if code == _UNAVAILABLE else refused.retry_after
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(ceil(retry_after * 1000))
        details.append(retry)
    return rpc_status.to_status(  # pyright: ignore[reportUnknownMemberType] - the package has no types
        status_pb2.Status(code=code, message=refused.message, details=[_pack(detail) for detail in details])
    )


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
