"""What the SDK makes of the hub's refusals."""

import pickle
from typing import Any

import grpc
import pytest

import nsor_client
from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse
from nsor.registry.v1.offender_pb2 import Offender
from nsor_client import FieldViolation, NsorError
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, refuse, serving, settled

pytest_plugins = ["tests.support.sdk_fixtures"]


async def refused(client: Any) -> NsorError:
    with pytest.raises(NsorError) as caught:
        await settled(client.check_cnic("1", timeout=5))
    return caught.value


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("INVALID_ARGUMENT", "InvalidRequest"),
        ("UNAUTHENTICATED", "Unauthenticated"),
        ("PERMISSION_DENIED", "PermissionDenied"),
        ("NOT_FOUND", "NotFound"),
        ("ALREADY_EXISTS", "AlreadyExists"),
        ("ABORTED", "Conflict"),
        ("FAILED_PRECONDITION", "FailedPrecondition"),
        ("OUT_OF_RANGE", "OutOfRange"),
        ("RESOURCE_EXHAUSTED", "ResourceExhausted"),
        ("DEADLINE_EXCEEDED", "DeadlineExceeded"),
        ("INTERNAL", "InternalError"),
        ("UNKNOWN", "InternalError"),
        ("UNIMPLEMENTED", "NsorError"),
    ],
)
async def test_every_status_has_its_class(sdk_client: Any, sdk_hub: ScriptedHub, code: str, name: str) -> None:
    status = grpc.StatusCode[code]
    sdk_hub.on["CheckCnic"] = lambda _, context: context.abort(status, "why")
    error = await refused(sdk_client)
    assert type(error) is getattr(nsor_client, name)
    assert (error.code, error.message, error.reason) == (status, "why", None)


async def test_a_refusal_carries_all_that_the_hub_said(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context,
        grpc.StatusCode.INVALID_ARGUMENT,
        "a field breaks a rule",
        "ERROR_REASON_INVALID_FIELD",
        metadata={"k": "v"},
        fields=(("offender.district", "UNKNOWN_DISTRICT", "is not a district of Pakistan"),),
        retry_after=1.5,
    )
    error = await refused(sdk_client)
    assert error.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.metadata == {"k": "v"}
    assert error.retry_after == 1.5
    assert error.field_violations == (
        FieldViolation("offender.district", "UNKNOWN_DISTRICT", "is not a district of Pakistan"),
    )
    assert str(error) == (
        "INVALID_ARGUMENT ERROR_REASON_INVALID_FIELD: a field breaks a rule; "
        "offender.district: is not a district of Pakistan [UNKNOWN_DISTRICT]"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_a_reason_that_is_newer_than_the_sdk_keeps_its_name(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context, grpc.StatusCode.ABORTED, "why", "ERROR_REASON_OF_NEXT_YEAR"
    )
    error = await refused(sdk_client)
    assert (error.reason, error.reason_name) == (None, "ERROR_REASON_OF_NEXT_YEAR")


async def test_a_reason_of_another_domain_is_not_ours(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context, grpc.StatusCode.ABORTED, "why", "ERROR_REASON_INTERNAL", domain="proxy", metadata={"k": "v"}
    )
    error = await refused(sdk_client)
    assert (error.reason, error.reason_name, error.metadata) == (None, "", {})


@pytest.mark.parametrize("details", [b"\xff\xff", b"\x1a\x04\x0a\x02xx"])
async def test_details_that_cannot_be_read_leave_the_status(
    sdk_client: Any, sdk_hub: ScriptedHub, details: bytes
) -> None:
    def answer(_: Any, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(grpc.StatusCode.NOT_FOUND, "why")

    sdk_hub.on["CheckCnic"] = answer
    assert type(await refused(sdk_client)) is nsor_client.NotFound


async def test_a_request_that_is_too_large_is_refused_before_it_is_sent(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    with pytest.raises(nsor_client.ResourceExhausted) as caught:
        await settled(sdk_client.create_offender(Offender(etag="x" * 300_000)))
    assert caught.value.reason == ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE
    assert "CreateOffender" not in sdk_hub.requests


def test_a_request_that_is_too_large_for_this_hub_has_the_same_reason(sdk_ca: CertificateAuthority) -> None:
    options = [("grpc.max_receive_message_length", 1000)]
    with (
        serving(sdk_ca, options=options) as hub,
        nsor_client.Client(hub.target, sdk_ca.credentials()) as client,
        pytest.raises(nsor_client.ResourceExhausted) as caught,
    ):
        client.check_cnic("1" * 2000)
    assert caught.value.reason == ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE


async def test_an_answer_that_is_too_large_is_not_a_fault_of_the_request(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(revision="x" * 17_000_000))
    error = await refused(sdk_client)
    assert (type(error), error.reason) == (nsor_client.ResourceExhausted, None)


async def test_a_hub_that_stops_without_a_reason_is_named(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, "Cancelling all calls")
    error = await refused(sdk_client)
    assert type(error) is nsor_client.Unavailable
    assert error.message == f"No answer from the hub at {sdk_hub.target}: Cancelling all calls"
