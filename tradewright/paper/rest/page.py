"""Query parameters that all lists share: limits, cursors, time windows."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tradewright.matching import Order, RequestRejected
from tradewright.paper.clock import ms
from tradewright.paper.rest.param import Params, number, text

DAY_MS = 86_400_000
_WEEK_MS = 7 * DAY_MS
_MOST_DIGITS = 19

T = TypeVar("T")


def limit_of(params: Params, default: int, most: int) -> int:
    limit = number(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise RequestRejected(10001, f"params error: limit must be between 1 and {most}")
    return limit


def page(rows: Sequence[T], params: Params, limit: int) -> tuple[list[T], str]:
    """Return the page of *rows* that the cursor names, and the cursor of the next one."""
    # The number of rows behind a page only grows at the front, where the newest are
    offset, _, length = (text(params, "cursor") or "0").partition("-")
    if not _is_count(offset) or (length and not _is_count(length)):
        raise RequestRejected(10001, "params error: cursor invalid")
    begin = max(int(offset) + (len(rows) - int(length) if length else 0), 0)
    end = begin + limit
    following = f"{end}-{len(rows)}" if end < len(rows) else ""
    return list(rows[begin:end]), following


def page_of_orders(orders: Iterable[Order], params: Params, limit: int) -> tuple[list[Order], str]:
    """Return the page of *orders*, the ones created last first, and the cursor of the next one.

    The cursor is an order, for others end and are placed between two pages.
    """
    aged = sorted(orders, key=_age, reverse=True)
    if cursor := text(params, "cursor"):
        created, _, seq = cursor.partition("-")
        if not (_is_count(created) and _is_count(seq)):
            raise RequestRejected(10001, "params error: cursor invalid")
        aged = [o for o in aged if _age(o) < (int(created), int(seq))]
    following = "{}-{}".format(*_age(aged[limit - 1])) if len(aged) > limit else ""
    return aged[:limit], following


def _age(order: Order) -> tuple[int, int]:
    return ms(order.created), order.seq


def _is_count(digits: str) -> bool:
    return digits.isdecimal() and digits.isascii() and len(digits) < _MOST_DIGITS


def window(params: Params, now_ms: int, span_ms: int = _WEEK_MS) -> tuple[int, int]:
    """Return the time window that a history is asked for.

    It is at most seven days; *span_ms* when only one end of it, or none, is given.
    """
    start, end = number(params, "startTime"), number(params, "endTime")
    if start is None:
        end = now_ms if end is None else end
        return end - span_ms, end
    if end is None:
        return start, start + span_ms
    if end < start:
        raise RequestRejected(10001, "Parameter startTime needs to be smaller than endTime")
    if end - start > _WEEK_MS:
        raise RequestRejected(
            10001, "The time range between startTime and endTime cannot exceed 7 days"
        )
    return start, end
