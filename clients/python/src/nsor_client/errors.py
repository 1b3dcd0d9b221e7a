"""The errors of the SDK: one class for each kind of failure, decoded from the hub's google.rpc.Status."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from nsor.common.v1.error_reason_pb2 import ErrorReason

_DETAILS_KEY = "grpc-status-details-bin"
_DOMAIN = "nsor"
_TOO_LARGE = ("CLIENT: Sent message larger than max", "SERVER: Received message larger than max")


@dataclass(frozen=True)
class FieldViolation:
    """A field of the request that breaks a rule."""

    field: str
    """Path of the field from the request, for example "offender.person.cnic"."""
    reason: str
    """The rule, for example "UNKNOWN_DISTRICT"."""
    description: str
    """What is wrong, in a sentence without personal data."""


class NsorError(Exception):
    """A call that brought no answer. Its class follows the gRPC status; `reason` is the precise cause.

    Attributes:
        code: status of the call.
        message: what happened, for people, without personal data.
        reason_name: reason as the hub named it, for example "ERROR_REASON_NOT_OWNER"; empty where the failure
            is not the hub's own, such as a line that is down.
        metadata: more about the reason; the contract (error_reason.proto) lists the keys.
        field_violations: the fields that break a rule.
        retry_after: seconds to wait before another try, where the hub asks for it.
        request_id: of a write, the id that it was sent with. After `Unavailable` and `DeadlineExceeded` it is
            not known whether the write took place: the same request with the same id can be sent again and
            counts once.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason_name: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.reason_name = reason_name
        self.metadata = dict(metadata or {})
        self.field_violations = field_violations
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def reason(self) -> ErrorReason.ValueType | None:
        """The reason; None where the hub gave none, or one newer than this SDK (then see `reason_name`)."""
        try:
            return ErrorReason.Value(self.reason_name)
        except ValueError:
            return None

    def __str__(self) -> str:
        head = f"{self.code.name} {self.reason_name}".rstrip()
        return "; ".join(
            [
                f"{head}: {self.message}",
                *(f"{v.field}: {v.description} [{v.reason}]" for v in self.field_violations),
            ]
        )


class InvalidRequest(NsorError):
    """INVALID_ARGUMENT: a field breaks a rule, see `field_violations`."""


class Unauthenticated(NsorError):
    """UNAUTHENTICATED: the hub does not accept the certificate of this node."""


class PermissionDenied(NsorError):
    """PERMISSION_DENIED: the hub knows this node and does not allow it this call."""


class NotFound(NsorError):
    """NOT_FOUND: there is no such record, or none that this node may know of."""


class AlreadyExists(NsorError):
    """ALREADY_EXISTS: the CNIC is registered, or the request_id was used for another request."""


class Conflict(NsorError):
    """ABORTED: the record changed since it was read."""


class FailedPrecondition(NsorError):
    """FAILED_PRECONDITION: the register is not in the state that the call needs."""


class OutOfRange(NsorError):
    """OUT_OF_RANGE: what is asked for is no longer kept, such as changes after an old revision."""


class ResourceExhausted(NsorError):
    """RESOURCE_EXHAUSTED: larger or more than the hub takes."""


class DeadlineExceeded(NsorError):
    """DEADLINE_EXCEEDED: no answer in time. A write may have taken place, see `request_id`."""


class Unavailable(NsorError):
    """UNAVAILABLE: no line to the hub, or the hub cannot serve now. A write may have taken place."""


class InternalError(NsorError):
    """INTERNAL, UNKNOWN or DATA_LOSS: a fault of the hub or on the way to it."""


_CLASSES: dict[grpc.StatusCode, type[NsorError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
}


def error_from_rpc(error: grpc.RpcError, *, explain: Callable[[str], str] = str, request_id: str = "") -> NsorError:
    """Decodes an error of a gRPC call. Details that cannot be read are left out, the status never is.

    Args:
        explain: makes a message of gRPC's text where there is no line to the hub.
    """
    code, text = error.code(), error.details() or "no message"
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in _status(error).details:
        with suppress(DecodeError):
            for message in (info, bad_request, retry):
                detail.Unpack(message)
    ours = info.domain == _DOMAIN
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and text.startswith(_TOO_LARGE):
        # Both ends measure a request before it reaches the hub's code, which so cannot name the reason.
        info.reason, ours = ErrorReason.Name(ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE), True
    return _CLASSES.get(code, NsorError)(
        code,
        explain(text) if code is grpc.StatusCode.UNAVAILABLE and not ours else text,
        reason_name=info.reason if ours else "",
        metadata=info.metadata if ours else None,
        field_violations=tuple(FieldViolation(v.field, v.reason, v.description) for v in bad_request.field_violations),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        request_id=request_id,
    )


def _status(error: grpc.RpcError) -> status_pb2.Status:
    # The sync and the async API give different types here; both give pairs when iterated.
    metadata = cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ())
    with suppress(DecodeError):
        return status_pb2.Status.FromString(dict(metadata).get(_DETAILS_KEY, b""))
    return status_pb2.Status()
