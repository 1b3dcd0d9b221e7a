"""Traces and metrics, exported over OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` says so, and nowhere else.

No attribute holds personal data: spans carry methods and codes, the database's spans the SQL text with placeholders.
"""

import os
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.engine.interfaces import ExecutionContext

# Seconds: a collector that is gone must not hold up the end of a process.
_TIMEOUT = 2.0

# Characters of a statement in its span: an import's has a placeholder for every value of every row.
_TEXT = 2000


def start(engine: Engine) -> None:
    """Begins to export this process's traces and metrics, those of its database engine among them."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        return
    resource = Resource.create({"service.name": "nsor-hub", "service.instance.id": str(os.getpid())})
    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_TIMEOUT)))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(
        MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_TIMEOUT))], resource=resource)
    )
    _trace_statements(engine)


def _trace_statements(engine: Engine) -> None:
    """One client span for each statement that serves a call; what the hub does by itself is no trace.

    The text has placeholders: no value ever stands in it.
    """
    tracer = trace.get_tracer("nsor.hub")
    spans: WeakKeyDictionary[ExecutionContext, Span] = WeakKeyDictionary()

    def begin(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if trace.get_current_span().is_recording():
            operation = statement.split(None, 1)[0].upper()
            attributes = {
                "db.system.name": "postgresql",
                "db.operation.name": operation,
                "db.query.text": statement[:_TEXT],
            }
            spans[context] = tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)

    def end(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if span := spans.pop(context, None):
            span.end()

    def fail(failure: ExceptionContext) -> None:
        if failure.execution_context and (span := spans.pop(failure.execution_context, None)):
            # Its type only: the text of a database error can quote data.
            span.set_status(StatusCode.ERROR, type(failure.original_exception).__name__)
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
