"""Every id of the product: workflow ids, trade ids, order links. Made here and nowhere else.

An id is derived from what it names, so that a repeat finds the first one instead of making
a second.
"""

import base64
import hashlib
import re
from datetime import datetime
from typing import NamedTuple

TRADE_ID = r"^tw[a-z2-7]{16}$"
_LINK = re.compile(r"^(tw[a-z2-7]{16})-([ext])(\d{1,4})$")
_KILL_LINK = re.compile(r"^kill-d?(\d+)-(\d+)$")

QUEUE_TRADING = "trading"
QUEUE_MARKET = "market"
QUEUE_KILL = "kill"
QUEUE_PRESETS = "presets"


def _digest(*parts: str) -> str:
    # A separator that no part can hold, so that ("a", "bc") and ("ab", "c") differ
    raw = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return base64.b32encode(raw).decode().lower()[:16]


def trade_id(account: str, preset: str, symbol: str, trigger: datetime) -> str:
    """Return the id of the trade that *preset* opens on *symbol* for the candle at *trigger*.

    Args:
        account: Name of the account.
        preset: Name of the preset.
        symbol: Bybit's symbol.
        trigger: Close time of the candle that was decided on; aware.

    Returns:
        ``tw`` and 16 lower-case base32 characters: short enough for an order link.

    Example:
        >>> from datetime import UTC
        >>> trade_id("main", "ema", "BTCUSDT", datetime(2022, 1, 1, tzinfo=UTC))
        'twgbxjteez3q35own7'
    """
    return "tw" + _digest(account, preset, symbol, str(int(trigger.timestamp() * 1000)))


def adopted_trade_id(account: str, symbol: str, first_exec_id: str) -> str:
    """Return the id of the trade that adopts the position which *first_exec_id* opened."""
    return "tw" + _digest("adopted", account, symbol, first_exec_id)


def order_link(trade: str, leg: str, number: int) -> str:
    """Return Bybit's client order id (at most 36 characters): the same on every attempt.

    Args:
        trade: The trade's id.
        leg: ``e`` entry, ``x`` exit, ``t`` target.
        number: Counts the legs of one trade, from 1; workflow state.
    """
    return f"{trade}-{leg}{number}"


def kill_link(trip: int, number: int) -> str:
    """Return the order link of the kill switch's order *number* of its *trip*."""
    return f"kill-{trip}-{number}"


def direct_kill_link(began: datetime, number: int) -> str:
    """Return the link of order *number* that a kill without Temporal sends, begun at *began*.

    A range of its own: no trip of the kill switch's workflow bears such a number.

    Example:
        >>> from datetime import UTC
        >>> direct_kill_link(datetime(2022, 1, 1, tzinfo=UTC), 7)
        'kill-d1640995200000-7'
    """
    return f"kill-d{int(began.timestamp() * 1000)}-{number}"


class Link(NamedTuple):
    """What an order link says: the trade, the leg, and its number."""

    trade: str
    leg: str
    number: int


def parse_link(link: str) -> Link | None:
    """Return what *link* says if it is one of a trade of ours, else None."""
    found = _LINK.match(link)
    return Link(found[1], found[2], int(found[3])) if found else None


def is_kill_link(link: str) -> bool:
    """Return whether *link* is one of the kill switch's orders."""
    return _KILL_LINK.match(link) is not None


def is_ours(link: str) -> bool:
    """Return whether this product sent the order that bears *link*."""
    return parse_link(link) is not None or is_kill_link(link)


def strategy_workflow(preset: str) -> str:
    return f"strategy/{preset}"


def trade_workflow(symbol: str, trade: str) -> str:
    return f"trade/{symbol}/{trade}"


def shadow_workflow(symbol: str, trade: str) -> str:
    return f"shadow/{symbol}/{trade}"


def parse_trade_workflow(workflow_id: str) -> tuple[str, str] | None:
    """Return symbol and trade of a trade's workflow id, None if it is not one.

    Example:
        >>> parse_trade_workflow("trade/BTCUSDT/twx"), parse_trade_workflow("account/main")
        (('BTCUSDT', 'twx'), None)
    """
    kind, _, rest = workflow_id.partition("/")
    symbol, _, trade = rest.partition("/")
    return (symbol, trade) if kind == "trade" and trade else None


def account_workflow(account: str) -> str:
    return f"account/{account}"


def kill_switch_workflow(account: str) -> str:
    return f"kill-switch/{account}"


def reconciliation_workflow(account: str) -> str:
    """Return the prefix of reconciliation runs; the schedule appends the time."""
    return f"reconciliation/{account}"


def stream_workflow(account: str) -> str:
    return f"stream/{account}"


def stream_queue(account: str) -> str:
    return f"stream-{account}"


def control_queue(process: str) -> str:
    """Return the queue that one *process* alone serves: ``control-4711@host``."""
    return f"control-{process}"


def sibling_queue(own: str, queue: str) -> str:
    """Return *queue* beside the queue *own*: both may share a prefix, as in ``test7:trading``.

    Example:
        >>> sibling_queue("test7:trading", QUEUE_MARKET), sibling_queue("trading", QUEUE_KILL)
        ('test7:market', 'kill')
    """
    prefix, colon, _ = own.rpartition(":")
    return f"{prefix}{colon}{queue}"


def market_workflow(account: str) -> str:
    return f"market/{account}"


def presets_workflow(account: str) -> str:
    return f"presets/{account}"


def notifier_workflow(account: str) -> str:
    return f"notifier/{account}"


def case_workflow(account: str, symbol: str, kind: str) -> str:
    """Return the id of the case; *symbol* is ``-`` where the whole account is meant."""
    return f"case/{account}/{symbol}/{kind}"
