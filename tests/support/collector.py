"""An OpenTelemetry collector that keeps what it gets."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Point:
    """A value of a metric, with the attributes that it was measured for."""

    metric: str
    attributes: Mapping[str, str]
    value: float
    """The number, or of a histogram the count."""


class Collector(TraceServiceServicer, MetricsServiceServicer):
    """Answers OTLP over gRPC; both services call their one method `Export`.

    Attributes:
        requests: all that was exported, as it came.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.requests: list[Message] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        if isinstance(request, ExportMetricsServiceRequest):
            return ExportMetricsServiceResponse()
        return ExportTraceServiceResponse()

    def spans(self, service: str) -> list[Span]:
        """The spans of a service so far."""
        return [
            span
            for request in tuple(self.requests)
            if isinstance(request, ExportTraceServiceRequest)
            for resource in request.resource_spans
            if attributes(resource.resource.attributes)["service.name"] == service
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def points(self, metric: str) -> list[Point]:
        """The values of a metric so far, of all services."""
        return [
            Point(metric, attributes(point.attributes), getattr(point, "count", 0) or _number(point))
            for request in tuple(self.requests)
            if isinstance(request, ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for kind in (found.gauge, found.sum, found.histogram)
            for point in kind.data_points
        ]


def _number(point: Any) -> float:
    return getattr(point, point.WhichOneof("value"))


def attributes(pairs: Any) -> dict[str, str]:
    """Attributes of a span, a point or a resource, as texts."""
    found: list[KeyValue] = list(pairs)
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in found}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector on a free port."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(collector, server)
    add_MetricsServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
