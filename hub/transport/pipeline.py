"""What happens to every call, in this order: trace, identity, access, rules, use case.

On the way back, what the role may not read is taken out, and errors become statuses.
"""

import asyncio
import logging
import secrets
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import Any

import grpc
from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import SpanKind, StatusCode

from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.node import Caller, Role
from hub.domain.ports import AuditLog
from hub.transport import convert
from hub.transport.contract import MethodPolicy
from hub.transport.convoy import Convoy
from hub.transport.errors import to_status
from hub.transport.gathering import GatheringHistogram
from hub.transport.identity import Identifier
from hub.transport.redaction import redact
from hub.transport.validation import decode, validate

log = logging.getLogger(__name__)
tracer = trace.get_tracer("nsor.hub")
_duration = GatheringHistogram(
    metrics.get_meter("nsor.hub").create_histogram(
        "rpc.server.call.duration",
        "s",
        "Time from the arrival of a call to its end, by method and status.",
        # Of OpenTelemetry's conventions for RPC metrics; the default is made for milliseconds.
        explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    )
)
_TRACE_HEADERS = propagate.get_global_textmap().fields
_caller: ContextVar[Caller] = ContextVar("caller")
# Nodes are read twice a second; so whoever is thrown out is out within one.
_RECHECK_SECONDS = 0.2
_DENIALS = {
    Reason.ROLE_NOT_ALLOWED,
    Reason.NOT_OWNER,
    Reason.NOT_RECEIVER,
    Reason.PURPOSE_NOT_ALLOWED,
    Reason.ACCESS_NOT_GRANTED,
}


def current_caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


def time_left(context: Any) -> float:
    """Seconds until half a second before the caller gives up, so that it still hears why; infinite if it never does."""
    left: float | None = context.time_remaining()
    return float("inf") if left is None else max(0, left - 0.5)


def sender_of(message: Any) -> Caller:
    """Who sends a message of a stream, with the officer whom it names.

    Raises:
        Refused: INVALID_FIELD: the message breaks a rule of the contract.
    """
    validate(message)
    caller = current_caller()
    return _with_officer(caller, message) if message.HasField("officer") else caller


def _with_officer(caller: Caller, message: Any) -> Caller:
    return replace(caller, officer=convert.common.officer(message.officer))


class Pipeline:
    """Wraps every method of the contract. Calls with one request and one response go through it in convoys.

    Args:
        policies: of `hub.transport.contract.method_policies`.
        gate: of the enrolment port, where callers have no certificate: only methods for them are served there, and
            each call passes the gate instead of the checks of identity and role. None on the normal port.
    """

    def __init__(
        self,
        policies: Mapping[str, MethodPolicy],
        identifier: Identifier,
        audit: AuditLog,
        clock: Callable[[], datetime],
        gate: Callable[[], None] | None = None,
    ) -> None:
        self._policies = policies
        self.identifier = identifier
        self._audit = audit
        self._clock = clock
        self.gate = gate
        self._convoy = None if gate else Convoy(*_STAGES)

    def wrap(self, name: str, handler: Any) -> Any:
        """The handler of a method, wrapped; None where it is not to be served.

        Args:
            name: in full, for example "nsor.registry.v1.RegistryService/GetOffender".

        Raises:
            KeyError: the contract does not know the method.
        """
        policy = self._policies[name]
        if self.gate and not policy.enrolment:
            return None

        def deserialize(data: bytes) -> Any:
            return decode(policy.request_type, data)

        async def unary(request: Any, context: Any) -> Any:
            async with _Call(self, policy, context, request, self._convoy):
                response = await handler.unary_unary(request, context)
                if not self.gate:
                    redact(response, current_caller().node.role)
                return response

        async def server_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with _Call(self, policy, context, request):
                async for response in self._while_admitted(handler.unary_stream(request, context), context):
                    yield response

        async def both_streams(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async with _Call(self, policy, context, None):
                requests = self._rightful(requests, context)
                async for response in self._while_admitted(handler.stream_stream(requests, context), context):
                    yield response

        if handler.unary_unary:
            make, behaviour = grpc.unary_unary_rpc_method_handler, unary
        elif handler.unary_stream:
            make, behaviour = grpc.unary_stream_rpc_method_handler, server_stream
        else:
            make, behaviour = grpc.stream_stream_rpc_method_handler, both_streams
        return make(behaviour, deserialize, handler.response_serializer)

    async def _while_admitted(self, responses: AsyncGenerator[Any], context: Any) -> AsyncGenerator[Any]:
        """Responses of a stream, which must not outlive its caller's right to it: asked for again and again."""
        pending: asyncio.Task[Any] | None = None
        try:
            while True:
                pending = asyncio.create_task(_next(responses))
                while not (await asyncio.wait({pending}, timeout=_RECHECK_SECONDS))[0]:
                    self._check_again(context)
                try:
                    response = pending.result()
                except StopAsyncIteration:
                    return
                redact(response, self._check_again(context))
                yield response
        finally:
            if pending:
                pending.cancel()
                await asyncio.wait({pending})
            await responses.aclose()

    async def _rightful(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """The messages that a caller sends on a stream, while it has a right to it."""
        async for message in messages:
            self._check_again(context)
            if isinstance(message, Refused):
                raise message
            yield message

    def _check_again(self, context: Any) -> Role:
        """The role of whoever opened a stream; raises if it has no right to it any more.

        A stream ends with the role that it was opened with: whether the new one may have it is decided at the next try.
        """
        role = self.identifier.identify(context.auth_context()).role
        if role is not current_caller().node.role:
            raise Refused(Reason.HUB_UNAVAILABLE, "the role of this node has changed; open the stream anew")
        return role

    async def refusal(self, policy: MethodPolicy, error: Exception) -> Refused:
        """What the caller is told of an error. Denials of access are logged like any access."""
        if not isinstance(error, Refused):
            # Where nobody collects traces there is no id; then one of our own joins the answer and the log.
            trace_id = f"{trace.get_current_span().get_span_context().trace_id or secrets.randbits(128):032x}"
            # Without the text of the exception, which can quote data: its type and its place are enough.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("fault in %s, trace %s: %s\n%s", policy.name, trace_id, type(error).__name__, place)
            return Refused(Reason.INTERNAL, "a fault of the hub", metadata={"trace_id": trace_id})
        if error.reason in _DENIALS:
            try:
                await self._audit.append(AuditEntry(self._clock(), current_caller(), None, error.reason))
            except Exception as unaudited:  # whatever it is, the caller is still refused
                cause = unaudited.reason if isinstance(unaudited, Refused) else type(unaudited).__name__
                log.error("a denial in %s was not logged: %s", policy.name, cause)
        return error


async def _next(responses: AsyncIterator[Any]) -> Any:
    return await anext(responses)


class _Call:
    """A call: its span and its measure, who makes it and whether it may, and its error as a status.

    The block is the use case; it runs only for a caller who may, with a request that follows the rules. Written out,
    since every check passes here: generators and the tracer's own context managers cost twice as much.

    Args:
        request: None where requests are a stream: the method checks each itself.
        convoy: with which it goes; None for a call that goes by itself.
    """

    __slots__ = ("_began", "_caller", "_context", "_convoy", "_pipeline", "_policy", "_request", "_span", "_started")

    def __init__(
        self,
        pipeline: Pipeline,
        policy: MethodPolicy,
        context: Any,
        request: Any,
        convoy: "Convoy[_Call] | None" = None,
    ) -> None:
        self._began, self._started = time.perf_counter(), time.time_ns()
        self._pipeline = pipeline
        self._policy = policy
        self._context = context
        self._request = request
        self._convoy = convoy
        self._span = trace.INVALID_SPAN
        self._caller: Caller | None = None

    def begin(self) -> None:
        """Begins the span."""
        name = self._policy.name
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}
        parent = _parent(self._context.invocation_metadata())
        self._span = tracer.start_span(name, parent, SpanKind.SERVER, attributes, start_time=self._started)

    def identify(self) -> None:
        """Finds out who calls; raises where that is nobody who may call at all, or what was sent cannot be read."""
        if isinstance(self._request, Refused):
            raise self._request
        if self._pipeline.gate:
            self._pipeline.gate()
        else:
            node = self._pipeline.identifier.identify(self._context.auth_context())
            self._caller = Caller(node, self._policy.name)

    def judge(self) -> None:
        """Raises where the caller may not call this method, or the request breaks a rule."""
        policy, request = self._policy, self._request
        if self._caller and self._caller.node.role not in policy.roles:
            raise Refused(
                Reason.ROLE_NOT_ALLOWED,
                "the caller's role may not call this method",
                metadata={"role": f"ROLE_{self._caller.node.role}"},
            )
        if request is None:
            return
        validate(request)
        if self._caller and policy.has_officer and request.HasField("officer"):
            self._caller = _with_officer(self._caller, request)
        elif policy.officer_required:
            raise invalid(Violation("officer", "REQUIRED", "must name who reads, and why"))

    async def __aenter__(self) -> None:
        try:
            await self._admit()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _admit(self) -> None:
        try:
            try:
                if self._convoy:
                    await self._convoy.join(self)
                else:
                    self._pass(_STAGES)
            finally:
                # Never detached, as the caller is never unset: gRPC runs each call in a task, whose context ends with
                # it. A stream that was cut can end in another context, where a token of this one would be refused.
                attach(trace.set_span_in_context(self._span))
        except Refused as refused:
            if refused.reason is not Reason.CERTIFICATE_NOT_ENROLLED:
                raise
            # It can be a moment old.
            await self._pipeline.identifier.catch_up()
            self._pass(_STAGES[1:])
        finally:
            if self._caller:
                _caller.set(self._caller)

    def _pass(self, stages: "Iterable[Callable[[_Call], None]]") -> None:
        for stage in stages:
            stage(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        code = "OK" if error is None else "CANCELLED"
        try:
            if isinstance(error, Exception):
                status = to_status(await self._pipeline.refusal(self._policy, error))
                code = status.code.name
                self._span.set_status(StatusCode.ERROR, code)
                await self._context.abort_with_status(status)
        finally:
            self._span.set_attribute("rpc.response.status_code", code)
            self._span.end()
            _duration.record(time.perf_counter() - self._began, _attributes(self._policy.name, code))


_STAGES = (_Call.begin, _Call.identify, _Call.judge)


def _parent(metadata: Iterable[tuple[str, str | bytes]]) -> Context | None:
    """The caller's span, where it sent one."""
    carrier = {key: value for key, value in metadata if key in _TRACE_HEADERS and isinstance(value, str)}
    return propagate.extract(carrier) if carrier else None


@cache
def _attributes(method: str, code: str) -> Mapping[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": code}
