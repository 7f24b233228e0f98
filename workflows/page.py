"""What the lasting workflows show in the Web UI: markdown.

Flat lists only: the Web UI runs nested ones into one line, and table cells into each other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from tradewright import ids
from tradewright.domain.account import (
    Account,
    Consequence,
    Limits,
    PositionMode,
    Snapshot,
    breaches,
    usage,
)
from tradewright.domain.gate import Gate, GateState
from tradewright.ports import Watch

GATE_WORDS: Final[Mapping[GateState, str]] = MappingProxyType(
    {
        GateState.OPEN: "open",
        GateState.EXITS_ONLY: "exits only (safe mode)",
        GateState.HALTED: "halted",
    }
)
CONSEQUENCE_WORDS: Final[Mapping[Consequence, str]] = MappingProxyType(
    {
        Consequence.REFUSE: "entries are refused",
        Consequence.PAUSE: "entries are paused",
        Consequence.TRIP: "the kill switch trips",
    }
)
TIMED: Final = frozenset({"max_snapshot_age", "max_reconciliation_age", "max_clock_skew"})
"""Limits whose use is another one at every look."""
CANCEL_IGNORED: Final = "*Request Cancellation is ignored: this workflow never ends.*"
NEAR: Final = Decimal("0.5")
"""Of a limit: what has used more is shown first."""
DIGITS: Final = 8
"""That count, of a price or a quantity: an average of fills may have fifty."""


def number(value: Decimal) -> str:
    """Return a price or quantity, exact up to eight digits that count.

    Example:
        >>> number(Decimal("43000.10")), number(Decimal(1) / 3), number(Decimal("1E+3"))
        ('43000.1', '0.33333333', '1000')
    """
    rounded = f"{round(value, max(0, DIGITS - 1 - value.adjusted())):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def percent(fraction: Decimal) -> str:
    """Return a gain or a loss; nothing has no sign.

    Example:
        >>> percent(Decimal("-0.0125")), percent(Decimal("-0.00001"))
        ('-1.25%', '0.00%')
    """
    text = f"{fraction:+.2%}"
    return text[1:] if text[1:] == "0.00%" else text


def moment(at: datetime) -> str:
    """Return an aware UTC time as people read it.

    Example:
        >>> from datetime import UTC
        >>> moment(datetime(2026, 1, 1, 12, tzinfo=UTC))
        '2026-01-01 12:00:00 UTC'
    """
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def needs_person(why: str) -> list[str]:
    """Return the line that comes before all others, if anybody is needed."""
    return [f"- **needs a person:** {why}"] if why else []


def desk_page(account: Account, limits: Limits, needs_operator: str, namespace: str) -> str:
    lines = [f"### Account {account.name}: gate {GATE_WORDS[account.gate]}"]
    lines += needs_person(needs_operator)
    if account.gate_reason:
        lines.append(f"- the gate is so because: {account.gate_reason}")
    if account.reconciled_at is None:
        lines.append("- **no entries** before the first reconciliation")
    lines += [f"- **no entries on {block.symbol}:** {block.reason}" for block in account.blocks]
    lines += [
        f"- **no entries until {moment(pause.until)}** (market time): {pause.reason}"
        for pause in account.pauses
    ]
    if snapshot := account.snapshot:
        lines += _standing(account, snapshot, limits)
    else:
        lines.append("- **no entries** before the first snapshot of the account")
    if account.reconciled_at is not None:
        lines.append(f"- last reconciled {moment(account.reconciled_at)}")
    lines += [
        f"- {rest.preset} rests on {', '.join(s.symbol for s in rest.symbols)}, which it fails on"
        for rest in account.resting
    ]
    lines.append(f"- trades: {len(account.reservations)} of at most {limits.max_open_trades}")
    for plan in (reservation.plan for reservation in account.reservations):
        trade = quote(ids.trade_workflow(plan.symbol, plan.trade_id), safe="")
        lines.append(
            f"- {plan.side} {number(plan.qty)} {plan.symbol}: trade "
            f"[`{plan.trade_id}`](/namespaces/{namespace}/workflows/{trade})"
        )
    lines += ["", CANCEL_IGNORED]
    return "\n".join(lines)


def _standing(account: Account, snapshot: Snapshot, limits: Limits) -> list[str]:
    broken = breaches(account, limits, snapshot.at)
    lines = [f"- **no entries:** {breach.reason}" for breach in broken]
    lines += [
        f"- **no entries:** the {channel.name} stream is degraded, {channel.fault}"
        for channel in account.channels
    ]
    if account.position_mode is PositionMode.HEDGE:
        lines.append("- **no entries:** hedge mode; switch the account to one-way mode at Bybit")
    if not account.is_margin_allowed(limits):
        lines.append(f"- **no entries:** the margin mode is {account.margin_mode}")
    realised, funding = account.realised_today, account.funding_today
    lines += [
        f"- equity {snapshot.equity:,.2f} USDT, highest so far {account.peak_equity:,.2f} USDT",
        f"- today {percent(-account.day_loss_fraction)}; "
        f"{CONSEQUENCE_WORDS[limits.consequences.max_daily_loss]} at "
        f"{percent(-limits.max_daily_loss_fraction)}",
        f"- realised today {realised:+,.2f} USDT after fees, funding {funding:+,.2f} USDT",
        f"- positions at the exchange: {len(snapshot.positions)}, read {moment(snapshot.at)}",
    ]
    return lines + _used(account, limits, snapshot)


def _used(account: Account, limits: Limits, snapshot: Snapshot) -> list[str]:
    """Return a line for each limit, the nearest first, then those that are far away."""
    shares = [
        (found, found.share)
        for found in usage(account, limits, snapshot.at)
        if found.share is not None and found.limit not in TIMED
    ]
    shares.sort(key=lambda pair: -pair[1] if pair[1] > NEAR else 0)
    return [
        f"- {'**near:** ' if share > NEAR else ''}{found.limit.replace('_', ' ')} {found.value}, "
        f"{share:.0%} used"
        for found, share in shares
    ]


def gate_page(gate: Gate, step: str, needs_operator: str) -> str:
    lines = [f"### Gate: {GATE_WORDS[gate.state]}", *needs_person(needs_operator)]
    if step:
        lines.append(f"- **now:** {step}")
    if gate.reason or gate.by:
        lines.append(f"- by {gate.by or 'nobody'}: {gate.reason or 'no reason given'}")
    lines.append(f"- since {moment(gate.at)}")
    if gate.trip:
        lines.append(f"- number of the last trip: {gate.trip}")
    lines += ["", "*More Actions, Send a Signal:*", ""]
    if gate.state is not GateState.HALTED:
        lines += [
            '- `trip` with `{"reason": "…", "by": "ann"}` halts the account and flattens it',
            '- `safe_mode` with `{"on": true, "reason": "…", "by": "ann"}` stops entries alone; '
            "with `false` it lets them go on",
        ]
    else:
        lines.append('- `rearm` with `{"reason": "…", "by": "ann"}` opens the gate again')
    lines += ["", CANCEL_IGNORED]
    return "\n".join(lines)


def market_page(watches: Sequence[Watch], needs_operator: str) -> str:
    many = {0: "No preset is", 1: "1 preset is"}.get(len(watches), f"{len(watches)} presets are")
    lines = [f"### {many} told of candles", *needs_person(needs_operator)]
    lines += [
        f"- `{watch.preset}`: {', '.join(watch.symbols)}, candles of {watch.timeframe}"
        for watch in watches
    ]
    return "\n".join(lines)
