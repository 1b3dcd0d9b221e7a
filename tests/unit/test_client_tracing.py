"""The spans of the SDK: one for each call, in the trace of the caller, without personal data."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.federation.v1.federation_service_pb2 import ListNodesResponse, WatchChangesResponse
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, CheckCnicResponse, DisclosedPerson
from nsor_client import AsyncClient, Client, PermissionDenied
from tests.support.sdk_hub import (
    CertificateAuthority,
    ScriptedHub,
    closed,
    gathered,
    refuse,
    settled,
    snapshot_of,
    step,
)

pytest_plugins = ["tests.support.sdk_fixtures"]

CHECK = "nsor.lookup.v1.LookupService/CheckCnic"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture(params=[AsyncClient, Client], ids=["async", "sync"])
async def client(
    request: pytest.FixtureRequest, sdk_ca: CertificateAuthority, sdk_hub: ScriptedHub, provider: TracerProvider
) -> AsyncIterator[Any]:
    client = request.param(sdk_hub.target, sdk_ca.credentials(), tracer_provider=provider)
    yield client
    await settled(client.close())


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_call_is_one_client_span_in_the_trace_of_its_caller(
    client: Any, sdk_hub: ScriptedHub, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
    with provider.get_tracer("test").start_as_current_span("caller") as caller:
        await settled(client.check_cnic("1"))
    span = exporter.get_finished_spans()[0]
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, span.kind, span.status.status_code) == (CHECK, SpanKind.CLIENT, StatusCode.UNSET)
    assert span.parent.span_id == caller.get_span_context().span_id
    assert attributes(span) == {
        "rpc.system.name": "grpc",
        "rpc.method": CHECK,
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
        "server.port": int(sdk_hub.target.rpartition(":")[2]),
    }
    ids = f"{span.context.trace_id:032x}-{span.context.span_id:016x}"
    assert sdk_hub.metadata["CheckCnic"]["traceparent"].startswith(f"00-{ids}-")


async def test_a_refusal_is_on_the_span(client: Any, sdk_hub: ScriptedHub, exporter: InMemorySpanExporter) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context, grpc.StatusCode.PERMISSION_DENIED, "why", "ERROR_REASON_ROLE_NOT_ALLOWED"
    )
    with pytest.raises(PermissionDenied):
        await settled(client.check_cnic("1"))
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["rpc.response.status_code"] == "PERMISSION_DENIED"
    assert attributes(span)["error.type"] == "ERROR_REASON_ROLE_NOT_ALLOWED"


async def test_each_page_of_a_list_is_a_call(client: Any, sdk_hub: ScriptedHub, exporter: InMemorySpanExporter) -> None:
    sdk_hub.on["ListNodes"] = lambda request, _: ListNodesResponse(next_page_token="" if request.page_token else "t")
    await gathered(client.list_nodes())
    assert [span.name.rpartition("/")[2] for span in exporter.get_finished_spans()] == ["ListNodes"] * 2


async def test_a_stream_is_one_span_until_it_is_closed(
    client: Any, sdk_hub: ScriptedHub, exporter: InMemorySpanExporter
) -> None:
    def changes(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        while context.is_active():
            yield WatchChangesResponse()

    sdk_hub.on["WatchChanges"] = changes
    responses = client.watch_changes()
    await step(responses)
    assert exporter.get_finished_spans() == ()
    await closed(responses)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["rpc.response.status_code"] == "CANCELLED"
    assert sdk_hub.metadata["WatchChanges"]["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"  # type: ignore[union-attr]


async def test_streams_that_are_read_by_turns_keep_their_spans_apart(
    sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    sdk_hub.on["GetSnapshot"] = lambda request, _: iter(snapshot_of(2))
    async with AsyncClient(sdk_hub.target, sdk_ca.credentials(), tracer_provider=provider) as client:
        await asyncio.gather(*(gathered(client.get_snapshot()) for _ in range(3)))
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    assert {span.parent for span in spans} == {None}


async def test_nothing_of_a_person_is_in_a_span(
    client: Any, sdk_hub: ScriptedHub, exporter: InMemorySpanExporter
) -> None:
    person = DisclosedPerson(full_name="Name-In-Answer")
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT, person=person))
    await settled(client.check_cnic("35202-0000000-1", officer=OfficerContext(officer_id="Officer-9")))
    sdk_hub.on["CheckCnic"] = lambda _, context: context.abort(grpc.StatusCode.INTERNAL, "Name-In-Error")
    with pytest.raises(Exception, match="INTERNAL"):
        await settled(client.check_cnic("35202-0000000-1"))
    text = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert CHECK in text
    for secret in ("35202", "Name-In", "Officer-9"):
        assert secret not in text


async def test_without_an_opentelemetry_sdk_nothing_is_sent(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse())
    await settled(sdk_client.check_cnic("1"))
    assert "traceparent" not in sdk_hub.metadata["CheckCnic"]
