"""Traces and metrics, exported over OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` says so, and nowhere else.

No attribute holds personal data: spans carry methods and codes, the database's spans the SQL text with placeholders.
"""

import os

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sqlalchemy import Engine

# Seconds: a collector that is gone must not hold up the end of a process.
_TIMEOUT = 2.0


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
    SQLAlchemyInstrumentor().instrument(engine=engine)
