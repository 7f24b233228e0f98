"""Logs and traces of one process, set up once at its start.

Outside workflows log with ``structlog.get_logger()``; inside with `workflow.logger`, which
keeps silent on replay and comes here by way of the standard library.
"""

from pathlib import Path

from tradewright.telemetry import log, trace
from tradewright.telemetry.interceptor import TradeTracing
from tradewright.telemetry.redaction import register_secret
from tradewright.telemetry.trace import span, trace_id

__all__ = ["configure", "flush", "interceptors", "register_secret", "span", "trace_id"]


def configure(
    service: str,
    *,
    level: str = "info",
    log_format: str = "auto",
    logs: Path | None = None,
    otlp_endpoint: str | None = None,
) -> None:
    """Set up the logs and traces of this process; a second call replaces the first.

    Args:
        service: What this process is; names its log file and its spans.
        level: Least level that is written: debug, info, warning, error.
        log_format: "json", "console", or "auto": readable on a terminal, JSON elsewhere.
        logs: Folder for ``<service>.jsonl`` and the spans; None logs to stderr and, without
            *otlp_endpoint*, keeps no spans.
        otlp_endpoint: Base URL of an OpenTelemetry collector (HTTP), instead of the file.
    """
    log.configure(service, level=level, log_format=log_format, logs=logs)
    trace.configure(service, logs=logs, otlp_endpoint=otlp_endpoint)


def interceptors() -> list[TradeTracing]:
    """Return what a worker needs, so that every trade is one trace."""
    return [TradeTracing()]


def flush() -> None:
    """Write out the spans that are still in memory; call it before ``os._exit``."""
    trace.flush()
