"""Client of the hub of Pakistan's National Sex Offenders Register.

The messages are those of the contract, in the package `nsor`, for example
`nsor.registry.v1.offender_pb2.Offender`.
"""

from nsor_client._async.client import AsyncClient
from nsor_client._sync.client import Client
from nsor_client.credentials import Credentials, CredentialsError
from nsor_client.enrolment import enrol
from nsor_client.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InternalError,
    InvalidRequest,
    NotFound,
    NsorError,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from nsor_client.following import LineState

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Client",
    "Conflict",
    "Credentials",
    "CredentialsError",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "InternalError",
    "InvalidRequest",
    "LineState",
    "NotFound",
    "NsorError",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "enrol",
]
