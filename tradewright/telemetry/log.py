"""Structured log lines, the same for our own calls and for the standard library's."""

import logging
import sys
from collections.abc import MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog
from opentelemetry import trace as otel
from structlog.typing import Processor
from temporalio import activity, workflow

from tradewright.telemetry.redaction import masked, redacted
from tradewright.telemetry.trace import trace_id, trade_in

FILE_BYTES: Final = 50_000_000
FILES: Final = 5
TALKATIVE: Final = (
    *("alembic", "asyncio", "hvac", "opentelemetry", "pybit", "requests"),
    *("sqlalchemy", "temporalio", "urllib3", "uvicorn", "websocket", "websockets"),
)
"""Libraries that are heard from "warning" up: below it they print requests and rows."""

Line = MutableMapping[str, Any]


def configure(service: str, *, level: str, log_format: str, logs: Path | None) -> None:
    if logs is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        logs.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            logs / f"{service}.jsonl", maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8"
        )
    on_terminal = logs is None and sys.stderr.isatty()
    readable = log_format == "console" or (log_format == "auto" and on_terminal)
    handler.setFormatter(_formatter(service, readable=readable, colors=on_terminal))
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "is_tradewright", False)]:
        root.removeHandler(old)
        old.close()
    handler.is_tradewright = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    # What they would append to every message, `where` makes fields of
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    for ours in (workflow.logger, activity.logger):
        ours.logger.setLevel(root.level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_facts(service),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _facts(service: str) -> list[Processor]:
    def named(_: Any, __: str, line: Line) -> Line:
        line.setdefault("service", service)
        return line

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
        where,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        lambda _, __, line: redacted(line),
    ]


def _formatter(service: str, *, readable: bool, colors: bool) -> logging.Formatter:
    if readable:
        render: Any = structlog.dev.ConsoleRenderer(colors=colors)
    else:
        render = structlog.processors.JSONRenderer(ensure_ascii=False)

    def rendered(logger: Any, name: str, line: Line) -> str:
        # Once more on the text: an object's repr may say what its fields did not
        return masked(str(render(logger, name, line)))

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_facts(service),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, rendered],
    )


def where(_: Any, __: str, line: Line) -> Line:
    """Add the workflow, the trade and the trace that the line is about."""
    # `workflow.logger` and `activity.logger` describe themselves in such a mapping
    for key in ("temporal_workflow", "temporal_activity"):
        if isinstance(told := line.pop(key, None), dict):
            line.setdefault("workflow_id", told.get("workflow_id"))
    if activity.in_activity():
        info = activity.info()
        line.setdefault("workflow_id", info.workflow_id)
        line.setdefault("activity", info.activity_type)
        line.setdefault("attempt", info.attempt)
    if not line.get("trade_id") and (trade := trade_in(line.get("workflow_id") or "")):
        line["trade_id"] = trade
    context = otel.get_current_span().get_span_context()
    if trade_id := line.get("trade_id"):
        line.setdefault("trace_id", trace_id(str(trade_id)))
    elif context.is_valid:
        line.setdefault("trace_id", otel.format_trace_id(context.trace_id))
    if context.is_valid:
        line.setdefault("span_id", otel.format_span_id(context.span_id))
    return {key: value for key, value in line.items() if value is not None}
