"""Query parameters that all lists share: limits, cursors, time windows."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tradewright.matching import RequestRejected

DAY_MS = 86_400_000
_WINDOW_MS = 7 * DAY_MS

T = TypeVar("T")


def number(params: Mapping[str, Any], name: str) -> int | None:
    """Return the whole number of parameter *name*; None if it is absent or empty."""
    value = params.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except ValueError:
        raise RequestRejected(10001, f"params error: {name} invalid") from None


def limit_of(params: Mapping[str, Any], default: int, most: int) -> int:
    limit = number(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise RequestRejected(10001, f"params error: limit must be between 1 and {most}")
    return limit


def page(rows: Sequence[T], params: Mapping[str, Any], limit: int) -> tuple[list[T], str]:
    """Return the page of *rows* that the cursor names, and the cursor of the next one."""
    cursor = params.get("cursor") or "0"
    # The number of rows behind a page only grows at the front, where the newest are
    offset, _, length = str(cursor).partition("-")
    if not offset.isdecimal() or (length and not length.isdecimal()):
        raise RequestRejected(10001, "params error: cursor invalid")
    begin = int(offset) + (len(rows) - int(length) if length else 0)
    end = begin + limit
    following = f"{end}-{len(rows)}" if end < len(rows) else ""
    return list(rows[begin:end]), following


def window(params: Mapping[str, Any], now_ms: int) -> tuple[int, int]:
    """Return the time window that a history is asked for, at most seven days."""
    start, end = number(params, "startTime"), number(params, "endTime")
    if start is None:
        end = now_ms if end is None else end
        return end - _WINDOW_MS, end
    if end is None:
        return start, start + _WINDOW_MS
    if end < start or end - start > _WINDOW_MS:
        raise RequestRejected(10001, "The time range between startTime and endTime is too large")
    return start, end
