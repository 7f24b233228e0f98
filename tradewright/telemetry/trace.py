"""One trace per trade, whoever works on it.

The trace's id is derived from the trade's, as the order links are. So the strategy, the
account, the trade, the stream and a worker that takes over after a crash write into the same
trace without handing anything on, and a log line names it from the trade id alone. Context that
is handed on along Temporal's headers could not do that: a strategy runs for months under the one
trace that it was started in, and every trade of its would be in it.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from tradewright import ids
from tradewright.telemetry.redaction import masked, redacted

SPANS_FILE = "spans.jsonl"
EXPORT_EVERY_MS = 500
EXPORT_WITHIN_S = 2
"""Retries of an export included: spans of a collector that is away are given up."""

_root_of: ContextVar[str | None] = ContextVar("root_of", default=None)


class _Ids(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        trade = _root_of.get()
        return _trace_number(trade) if trade else super().generate_trace_id()

    def generate_span_id(self) -> int:
        trade = _root_of.get()
        return _root_number(trade) if trade else super().generate_span_id()


_provider = TracerProvider(id_generator=_Ids(), shutdown_on_exit=False)


def configure(service: str, *, logs: Path | None, otlp_endpoint: str | None) -> None:
    global _provider
    flush()
    _provider.shutdown()
    _provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: service}),
        id_generator=_Ids(),
        shutdown_on_exit=False,
    )
    if otlp_endpoint:
        exporter: SpanExporter = _otlp_exporter(otlp_endpoint)
    elif logs:
        exporter = SpanFile(logs / SPANS_FILE)
    else:
        return
    _provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS)
    )


def _otlp_exporter(endpoint: str) -> SpanExporter:
    # Each process would take longer to start for what few send to
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_WITHIN_S)


def flush() -> None:
    _provider.force_flush()


def trade_in(workflow_id: str) -> str | None:
    """Return the trade that *workflow_id* names, if it is a trade's."""
    tail = workflow_id.rpartition("/")[2]
    return tail if workflow_id.startswith("trade/") and re.match(ids.TRADE_ID, tail) else None


def trace_id(trade: str) -> str:
    """Return the id of *trade*'s trace: 32 hexadecimal digits."""
    return otel.format_trace_id(_trace_number(trade))


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """Record the block as a span below the one that is current; an exception marks it."""
    with current(start(name, None, attributes)) as recorded:
        yield
    recorded.end()


def trade_context(trade: str) -> Context:
    """Return the context whose spans belong to *trade*."""
    parent = otel.SpanContext(
        trace_id=_trace_number(trade),
        span_id=_root_number(trade),
        is_remote=True,
        trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED),
    )
    return otel.set_span_in_context(otel.NonRecordingSpan(parent), Context())


def mark(trade: str, name: str, at_ns: int, attributes: dict[str, Any]) -> None:
    """Record a moment of *trade*."""
    record(trade, name, at_ns, at_ns, attributes)


def record(trade: str, name: str, start_ns: int, end_ns: int, attributes: dict[str, Any]) -> None:
    """Record what was done for *trade* between two times."""
    done = _tracer().start_span(
        name, trade_context(trade), attributes=_plain(attributes), start_time=start_ns
    )
    done.end(end_ns)


def mark_root(trade: str, name: str, at_ns: int, attributes: dict[str, Any]) -> None:
    """Record the moment that *trade* comes of; every other span of it is below."""
    token = _root_of.set(trade)
    try:
        root = _tracer().start_span(
            name, Context(), attributes=_plain(attributes), start_time=at_ns
        )
    finally:
        _root_of.reset(token)
    root.end(at_ns)


def start(name: str, context: Context | None, attributes: dict[str, Any]) -> otel.Span:
    """Return a span that is written when it is ended, and never if it is not."""
    return _tracer().start_span(name, context, attributes=_plain(attributes))


@contextmanager
def current(recorded: otel.Span) -> Iterator[otel.Span]:
    """Make *recorded* the current span of the block; an exception marks and ends it."""
    try:
        # The SDK's own record of an exception would hold its text unmasked
        with otel.use_span(recorded, record_exception=False, set_status_on_exception=False):
            yield recorded
    except BaseException as e:
        detail = masked(f"{type(e).__name__}: {e}")
        recorded.set_status(otel.StatusCode.ERROR, detail)
        recorded.end()
        raise


class SpanFile(SpanExporter):
    """Appends spans as JSON lines; several processes may write to the same file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        # One write, so that lines of several processes do not mix
        os.write(self._file, "".join(f"{json.dumps(_line(s))}\n" for s in spans).encode())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        os.close(self._file)

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def _line(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    if context is None:
        return {}
    return {
        "name": span.name,
        "trace_id": otel.format_trace_id(context.trace_id),
        "span_id": otel.format_span_id(context.span_id),
        "parent_id": otel.format_span_id(span.parent.span_id) if span.parent else None,
        "service": span.resource.attributes.get(SERVICE_NAME),
        "start": _iso(span.start_time),
        "end": _iso(span.end_time),
        "status": span.status.status_code.name,
        "detail": span.status.description or "",
        "attributes": dict(span.attributes or {}),
    }


def _iso(ns: int | None) -> str:
    return datetime.fromtimestamp((ns or 0) / 1e9, UTC).isoformat()


def _tracer() -> otel.Tracer:
    return _provider.get_tracer("tradewright")


def _trace_number(trade: str) -> int:
    return int.from_bytes(hashlib.sha256(f"trace/{trade}".encode()).digest()[:16])


def _root_number(trade: str) -> int:
    return int.from_bytes(hashlib.sha256(f"root/{trade}".encode()).digest()[:8])


def _plain(attributes: dict[str, Any]) -> dict[str, str | bool | int | float]:
    return {
        key: value if isinstance(value, str | bool | int | float) else str(value)
        for key, value in redacted(attributes).items()
        if value is not None
    }
