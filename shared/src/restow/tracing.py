"""Traces that continue across the log by W3C trace context; off unless `start_tracing` was called.

The only importer of OpenTelemetry.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_tracer: Any = None


def start_tracing(*, service: str, instance: str, endpoint: str = "", exporter: Any = None) -> Callable[[], None]:
    """Send spans to `endpoint` (OTLP over HTTP, the collector's base URL), or to `exporter`.

    Returns what ends it: the spans at hand are sent, then tracing is off.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    global _tracer  # noqa: PLW0603  (one tracer in a process, as OpenTelemetry itself has it)
    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    _tracer = provider.get_tracer("restow")

    def stop() -> None:
        global _tracer  # noqa: PLW0603
        _tracer = None
        provider.shutdown()

    return stop


@contextmanager
def handling(group: str, event: Any) -> Iterator[None]:
    """A span for one event at one handler; its parent is the span that emitted the event."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract({"traceparent": event.traceparent or ""})
    attributes = {
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": group,
        "messaging.message.id": event.id,
        "restow.domain": event.domain,
        "restow.correlation": event.correlation,
        "restow.subject": event.subject,
    }
    with _tracer.start_as_current_span(
        f"{group} {event.type}", context=parent, kind=SpanKind.CONSUMER, attributes=attributes
    ):
        yield


def current_traceparent() -> str | None:
    """The trace context of here and now, for an event about to be emitted; None when tracing is off."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
