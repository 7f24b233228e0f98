"""What a strategy shows in the Web UI: markdown."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tradewright.domain.plan import Mode
from tradewright.ports import StrategyStatus
from workflows.page import moment, needs_person

SHOWN = 10
"""Symbols that are named; of a large universe the others are counted."""
MODE_WORDS: Final[Mapping[Mode, str]] = MappingProxyType(
    {
        Mode.TRADE: "trading",
        Mode.SHADOW: "in the shadow, nothing is sent",
        Mode.ALERT: "alerting, nothing is sent",
    }
)


def strategy_page(status: StrategyStatus, *, cancelled: bool = False) -> str:
    lines = [f"### {status.preset}: {_state(status, cancelled)}"]
    lines += needs_person(status.needs_operator)
    if status.paused:
        lines.append(f"- paused because: {status.pause_reason or 'no reason given'}")
    candles = f"{status.candles} so far"
    if status.last_candle:
        candles += f", the last closed {moment(status.last_candle)} (market time)"
    lines += [
        f"- {_named(status.symbols)} on candles of {status.timeframe}, account {status.account}",
        f"- version `{status.preset_hash[:12]}`",
        f"- candles: {candles}",
        f"- signals: {_signals(status)}",
    ]
    if status.shadows:
        lines.append(f"- virtual trades that run: {_named(status.shadows)}")
    if status.kept:
        lines.append(f"- not chosen any more, and only left: {_named(status.kept)}")
    lines += [
        f"- **rests on {one.symbol}** until {moment(one.until)} (market time): {one.reason}"
        for one in status.broken
        if one.until is not None
    ]
    lines += _refusals(status)
    if status.note:
        at = f" ({moment(status.note_at)})" if status.note_at else ""
        lines.append(f"- last remark{at}: {status.note}")
    if cancelled:
        again = "`tradewright apply` starts it again, its trades live on"
        return "\n".join([*lines, "", f"*It takes no more entries: {again}.*"])
    wish = "resume" if status.paused else "pause"
    lines += [
        "",
        f'*Send a Signal: `{wish}` with `{{"reason": "…", "by": "ann"}}`. '
        "Request Cancellation ends the strategy; its trades live on.*",
    ]
    return "\n".join(lines)


def _state(status: StrategyStatus, cancelled: bool) -> str:
    if cancelled:
        return "cancelled"
    if not status.enabled:
        return "disabled, its open trades run on"
    return "paused" if status.paused else MODE_WORDS[status.mode]


def _signals(status: StrategyStatus) -> str:
    if status.mode is Mode.ALERT:
        return f"{status.alerted} told, {status.refused} refused"
    followed = "followed" if status.mode is Mode.SHADOW else "traded"
    return f"{status.approved} {followed}, {status.refused} refused"


def _named(names: tuple[str, ...]) -> str:
    if not names:
        return "no symbol yet"
    more = len(names) - SHOWN
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _refusals(status: StrategyStatus) -> list[str]:
    """Return a line for each reason why nothing came of symbols at the last look."""
    counted = Counter(one.code for one in status.refusals)
    lines = []
    for code, count in sorted(counted.items()):
        first = next(one for one in status.refusals if one.code == code)
        others = f" (and {count - 1} more)" if count > 1 else ""
        lines.append(f"- refused, {code}: {first.symbol}{others}, {first.reason}")
    return lines
