"""What surrounds every call: a span, the trace context in the metadata, and typed errors."""

from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nsor_client.channel import Endpoint
from nsor_client.errors import NsorError, Unavailable, error_from_rpc

Metadata = tuple[tuple[str, str], ...]

_Result = TypeVar("_Result")

# W3C Trace Context whatever the application has set up for itself: it is what the hub reads. Baggage stays at
# home, it could hold anything.
_PROPAGATOR = TraceContextTextMapPropagator()

# What gRPC says itself, see `Outgoing.keep_status`.
_OF_CORE = "Internal error from Core"


@cache
def method_name(request: type[Message]) -> str:
    """Full name of the RPC that takes this request, for example "nsor.lookup.v1.LookupService/CheckCnic"."""
    return next(
        f"{service.full_name}/{method.name}"
        for service in request.DESCRIPTOR.file.services_by_name.values()
        for method in service.methods
        if method.input_type.full_name == request.DESCRIPTOR.full_name
    )


class Outgoing:
    """A call on its way: its metadata, and the status that the hub ended it with."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        self._status: grpc.aio.AioRpcError | None = None

    def keep_status(self, call: object) -> None:
        """Remembers the first status of a call that streams requests.

        grpc.aio may replace it by "INTERNAL: Internal error from Core", or give that first, when a write fails because
        the hub has just ended the stream (grpc/grpc#36066), and the reason of the hub would be lost. The sync API does
        not.
        """
        if isinstance(call, grpc.aio.Call):
            call.add_done_callback(self._keep)

    def _keep(self, call: grpc.aio.Call) -> None:
        code, details = _at_once(call.code()), _at_once(call.details())
        trailing = _at_once(call.trailing_metadata())
        self._status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)

    def error(self, raised: grpc.RpcError, endpoint: Endpoint, request_id: str) -> NsorError:
        """The error of the call, from what gRPC raised and what it knew before."""
        cause = raised if self._status is None or self._status.details() == _OF_CORE else self._status
        if cause.code() is grpc.StatusCode.OK:
            return ended_early()
        return error_from_rpc(cause, explain=endpoint.explain, request_id=request_id)


def ended_early() -> NsorError:
    """The error of a stream that the hub ended well, but before everything was done."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "The hub ended the stream before everything had its result.")


def _at_once(result: Coroutine[Any, Any, _Result]) -> _Result:
    """What a coroutine gives that has nothing to wait for, as those of a call that is done."""
    try:
        result.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the call is not done")


@contextmanager
def outgoing_call(
    tracer: Tracer, endpoint: Endpoint, request: type[Message], request_id: str = ""
) -> Generator[Outgoing]:
    """Begins one call, and turns the gRPC error that leaves the block into an NsorError.

    The call is one client span, named and described by OpenTelemetry's conventions for RPCs; nothing of the
    request or the response goes into it. The span is not made the current one, since a stream outlives the
    step that began it.
    """
    method = method_name(request)
    span = tracer.start_span(
        method,
        kind=SpanKind.CLIENT,
        attributes={
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "server.address": endpoint.host,
            "server.port": endpoint.port,
        },
    )
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span))
    outgoing = Outgoing(tuple(carrier.items()))
    status = grpc.StatusCode.OK
    try:
        yield outgoing
    except grpc.RpcError as cause:
        error = outgoing.error(cause, endpoint, request_id)
        status = error.code
        span.set_attribute("error.type", error.reason_name or error.code.name)
        span.set_status(StatusCode.ERROR)
        raise error from cause
    except BaseException:
        # The caller gave up: cancelled its task, closed the stream, or failed while it read it.
        status = grpc.StatusCode.CANCELLED
        raise
    finally:
        span.set_attribute("rpc.response.status_code", status.name)
        span.end()
