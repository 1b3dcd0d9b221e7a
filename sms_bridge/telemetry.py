"""What the bridge tells OpenTelemetry: a trace from SMS to hub, and a few figures; never a number or a text.

Span names and attributes follow the semantic conventions for messaging, as far as they fit SMS.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_EXPORT_TIMEOUT: Final = 2.0
"""Seconds for one export: a collector that is gone holds up the end of the process for little longer."""

_TRACEPARENT: Final = "traceparent"
_W3C: Final = TraceContextTextMapPropagator()


@contextmanager
def exported(service_name: str) -> Generator[None]:
    """Export traces and metrics over OTLP/gRPC while inside; without OTEL_EXPORTER_OTLP_ENDPOINT, do nothing.

    The other OTEL_* variables of the OpenTelemetry specification apply too.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        yield
        return
    # Half a second to import, which `nsor-sms-bridge text` need not wait for.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service_name})
    tracer_provider = TracerProvider(resource=resource)
    tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_TIMEOUT)))
    trace.set_tracer_provider(tracer_provider)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_EXPORT_TIMEOUT))
    meter_provider = MeterProvider([reader], resource)
    metrics.set_meter_provider(meter_provider)
    try:
        yield
    finally:
        tracer_provider.shutdown()
        meter_provider.shutdown()


class Telemetry:
    """The spans and the metrics of a bridge. Without providers it uses those that the process has set up."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("sms_bridge", tracer_provider=tracer_provider)
        meter = metrics.get_meter("sms_bridge", meter_provider=meter_provider)
        self._ended = meter.create_counter(
            "nsor.sms.conversations", "{conversation}", "Conversations that ended, by outcome and by end"
        )
        self._queue = meter.create_gauge(
            "nsor.sms.queue", "{conversation}", "Conversations that have begun and not ended, each minute"
        )

    def receive(self, shortcode: str) -> AbstractContextManager[Span]:
        """The span of a deliver_sm until its acknowledgement."""
        return self._span("sms receive", SpanKind.CONSUMER, "receive", shortcode)

    def conversation(self, shortcode: str, traceparent: str) -> AbstractContextManager[Span]:
        """The span of a conversation, in the trace of its deliver_sm, also after a restart."""
        return self._span("sms conversation", SpanKind.CONSUMER, "process", shortcode, traceparent)

    def submit(self) -> AbstractContextManager[Span]:
        """The span of one segment of a reply, until the SMSC has taken it."""
        return self._span("sms submit", SpanKind.PRODUCER, "send")

    def queue(self, length: int) -> None:
        """Report how many conversations go on."""
        self._queue.set(length)

    def ended(self, outcome: str, end: str) -> None:
        """Count a conversation that ended: what the hub said, and how the reply went."""
        self._ended.add(1, {"nsor.outcome": outcome, "nsor.sms.end": end})

    def _span(
        self, name: str, kind: SpanKind, operation: str, destination: str = "", traceparent: str = ""
    ) -> AbstractContextManager[Span]:
        attributes = {
            "messaging.system": "smpp",
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
        }
        if destination:  # of a submit it is a person's number
            attributes["messaging.destination.name"] = destination
        return self._tracer.start_as_current_span(
            name,
            context=_W3C.extract({_TRACEPARENT: traceparent}) if traceparent else None,
            kind=kind,
            attributes=attributes,
            # The text of an exception of somebody else's could hold anything.
            record_exception=False,
            set_status_on_exception=False,
        )


def traceparent() -> str:
    """The current span as W3C Trace Context, for the journal; empty where there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(_TRACEPARENT, "")
