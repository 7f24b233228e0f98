"""How a trade looks in the Web UI: search attributes and markdown."""

from collections.abc import Sequence

from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Trade, TradeState
from workflows.attributes import (
    ACCOUNT,
    ENTRY_AT,
    LIVE,
    NEEDS_OPERATOR,
    PRESET,
    PRESET_HASH,
    REALIZED_PNL,
    RISK_R,
    SIDE,
    SYMBOL,
    TRADE_STATE,
    Attribute,
)


def plan_attributes(plan: TradePlan) -> Sequence[Attribute]:
    """Return what a trade shows in lists from its first moment."""
    return (
        (ACCOUNT, plan.account),
        (SYMBOL, plan.symbol),
        (PRESET, plan.preset),
        (PRESET_HASH, plan.preset_hash),
        (SIDE, plan.side.value),
        (TRADE_STATE, TradeState.PENDING.value),
        (LIVE, True),
        (NEEDS_OPERATOR, False),
        (RISK_R, float(plan.risk)),
    )


def standing_attributes(trade: Trade, needs_operator: bool) -> Sequence[Attribute]:
    """Return what a trade shows in lists as it stands."""
    pairs: list[Attribute] = [
        (TRADE_STATE, trade.state.value),
        (LIVE, not trade.is_final),
        (NEEDS_OPERATOR, needs_operator),
    ]
    if trade.opened_at is not None:
        pairs.append((ENTRY_AT, trade.opened_at))
    if trade.is_final:
        pairs.append((REALIZED_PNL, float(trade.pnl)))
    return pairs


def plan_details(plan: TradePlan) -> str:
    target = f", target {plan.take_profit}" if plan.take_profit else ""
    return (
        f"**{plan.side} {plan.qty} {plan.symbol}** at about {plan.price}\n\n"
        f"- stop {plan.stop_loss}{target}\n"
        f"- risk {plan.risk:.2f} USDT, leverage {plan.leverage}\n"
        f"- preset `{plan.preset}` ({plan.preset_hash[:12]})\n"
        f"- why: {plan.reason or plan.origin}\n"
        f"- decided on the candle that closed at {plan.trigger:%Y-%m-%d %H:%M} UTC"
    )


def trade_details(trade: Trade, needs_operator: str) -> str:
    """Return the trade as markdown for the Web UI; lists, for tables render badly there."""
    lines = [f"### {trade.plan.symbol}: {trade.state}"]
    if needs_operator:
        lines += [f"**Needs a person:** {needs_operator}", ""]
    if trade.entry_price is not None:
        lines.append(f"- entered {trade.entry_qty.normalize():f} at {trade.entry_price:.8g}")
        lines.append(f"- held by the fills: {trade.open_qty.normalize():f}")
    if trade.stop is not None and not trade.is_final:
        lines.append(f"- stop at the exchange: {trade.stop.normalize():f}")
    if trade.exit_price is not None:
        lines.append(f"- left {trade.exit_qty.normalize():f} at {trade.exit_price:.8g}")
        lines.append(f"- PnL {trade.pnl:.4f} USDT after fees of {trade.fees:.4f}")
    if trade.exit_reason:
        why = f"- leaving because: {trade.exit_reason}"
        lines.append(why + (f" ({trade.exit_note})" if trade.exit_note else ""))
    if trade.rejection:
        lines.append(f"- entry not made: {trade.rejection}")
    if not trade.is_final:
        lines += ["", "*Request Cancellation flattens and journals this trade.*"]
    return "\n".join(lines)
