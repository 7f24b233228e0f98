"""How a trade looks in the Web UI: search attributes and markdown."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, assert_never

from tradewright.domain.execution import ExitReason
from tradewright.domain.plan import TradePlan, TrailedBy
from tradewright.domain.trade import Command, Trade, TradeState
from tradewright.ports import Choice, TradeOrder
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
from workflows.page import moment, needs_person, number

STATE_WORDS: Final[Mapping[TradeState, str]] = MappingProxyType(
    {
        TradeState.PENDING: "about to enter",
        TradeState.ENTERING: "entry sent, not filled yet",
        TradeState.OPEN: "open",
        TradeState.EXITING: "leaving the market",
        TradeState.SETTLING: "asking the exchange whether it is flat",
        TradeState.CLOSED: "closed",
        TradeState.CANCELLED: "ended without a fill",
        TradeState.REJECTED: "entry rejected",
    }
)
EXIT_WORDS: Final[Mapping[ExitReason, str]] = MappingProxyType(
    {
        ExitReason.STOP: "stop",
        ExitReason.TARGET: "target",
        ExitReason.TRAILING_STOP: "trailing stop",
        ExitReason.LIQUIDATION: "liquidated by the exchange",
        ExitReason.DELISTED: "settled by the exchange: the contract has ended",
        ExitReason.TIME_STOP: "time stop",
        ExitReason.NAKED: "the exchange did not show its stop",
        ExitReason.STOP_PASSED: "the price had passed where the stop was to go",
        ExitReason.SIGNAL: "the strategy said so",
        ExitReason.OPERATOR: "asked for",
        ExitReason.CANCELLED: "its workflow was cancelled",
        ExitReason.KILL_SWITCH: "kill switch",
        ExitReason.ABANDONED: "given up, nothing was held",
        ExitReason.BY_HAND: "closed by an order that is not ours",
    }
)
CHOICE_WORDS: Final[Mapping[Choice, str]] = MappingProxyType(
    {
        Choice.RETRY: "try it once more, now",
        Choice.ADOPT: "go on from what the exchange shows",
        Choice.ABANDON: "give the trade up; only if the exchange shows that nothing is held",
    }
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
        (RISK_R, float(round(plan.risk, 2))),
    )


def standing_attributes(trade: Trade, needs_operator: bool) -> Sequence[Attribute]:
    """Return what a trade shows in lists as it stands."""
    pairs: list[Attribute] = [
        (TRADE_STATE, trade.state.value),
        (LIVE, not trade.is_final),
        (NEEDS_OPERATOR, needs_operator and not trade.is_final),
    ]
    if trade.opened_at is not None:
        pairs.append((ENTRY_AT, trade.opened_at))
    if trade.migrations:
        pairs.append((PRESET_HASH, trade.plan.preset_hash))
    if trade.is_final:
        pairs.append((REALIZED_PNL, float(round(trade.pnl, 2))))
    return pairs


def plan_summary(plan: TradePlan) -> str:
    return f"{plan.side} {number(plan.qty)} {plan.symbol} · {plan.preset}"


def plan_details(plan: TradePlan) -> str:
    lines = [
        f"**{plan.side} {number(plan.qty)} {plan.symbol}** at about {number(plan.price)}",
        "",
        f"- stop {number(plan.stop_loss)}"
        + (f", target {_goals(plan)}" if plan.take_profit or plan.targets else ""),
        f"- worth {plan.notional:,.2f} USDT, leverage {number(plan.leverage)}",
        f"- at risk between entry and stop: {plan.risk:,.2f} USDT (1 R)",
        f"- preset `{plan.preset}`"
        + (f", version `{plan.preset_hash[:12]}`" if plan.preset_hash else ""),
        f"- because: {plan.reason or plan.origin}",
        f"- candle closed {moment(plan.trigger)} (market time)",
    ]
    return "\n".join(lines)


def _goals(plan: TradePlan) -> str:
    goals = [f"{number(t.price)} for {t.fraction:.0%}" for t in plan.targets]
    return ", ".join([*goals, number(plan.take_profit)] if plan.take_profit else goals)


def trade_details(trade: Trade, needs_operator: str, choices: Sequence[Choice] = ()) -> str:
    """Return the trade as markdown for the Web UI."""
    plan = trade.plan
    words = "waiting for its price" if trade.is_resting else STATE_WORDS[trade.state]
    lines = [
        f"### {plan.side} {number(plan.qty)} {plan.symbol}: {words}",
        *needs_person(needs_operator),
        *_choices(choices),
    ]
    if trade.entry_price is not None:
        at = f", {moment(trade.opened_at)}" if trade.opened_at else ""
        lines.append(f"- entered {number(trade.entry_qty)} at {number(trade.entry_price)}{at}")
    if trade.exit_price is not None:
        at = f", {moment(trade.closed_at)}" if trade.closed_at else ""
        lines.append(f"- left {number(trade.exit_qty)} at {number(trade.exit_price)}{at}")
        if trade.open_qty:
            lines.append(f"- still held: {number(trade.open_qty)}")
    if not trade.is_final:
        lines += _protection(trade)
    elif trade.was_open:
        multiple = f" ({trade.pnl / plan.risk:+.2f} R)" if plan.risk else ""
        lines.append(
            f"- **{trade.pnl:+,.2f} USDT**{multiple}, after fees of {trade.fees:,.2f} USDT"
        )
    if trade.exit_reason is not None:
        by = f", by {trade.exit_by}" if trade.exit_by else ""
        note = f": {trade.exit_note}" if trade.exit_note else ""
        lines.append(f"- why it left: {EXIT_WORDS[trade.exit_reason]}{by}{note}")
    elif trade.exit_note:
        lines.append(f"- entry ended: {trade.exit_note}")
    lines += [
        f"- exits of version `{moved.preset_hash[:12]}` instead of `{moved.from_hash[:12]}`, by "
        f"{moved.by}: {moved.reason}"
        for moved in trade.migrations
    ]
    if trade.rejection:
        lines.append(f"- entry not made: {trade.rejection}")
    if not trade.is_final:
        lines += [
            "",
            "*Request Cancellation flattens and journals this trade; so does Send Signal* `exit`.",
        ]
    return "\n".join(lines)


def _choices(choices: Sequence[Choice]) -> list[str]:
    if not choices:
        return []
    return [
        *(f"- `{choice}`: {CHOICE_WORDS[choice]}" for choice in choices),
        "",
        f'*Send Signal* `resolve` with `{{"choice": "{choices[0]}", "by": "your name"}}`.',
        "",
    ]


def _protection(trade: Trade) -> list[str]:
    lines = []
    if trade.stop is not None:
        lines.append(f"- stop at the exchange: {number(trade.stop)}")
    if trade.wanted_stop is not None and trade.wanted_stop != trade.stop:
        lines.append(f"- stop wanted, not confirmed yet: {number(trade.wanted_stop)}")
    if trade.trailed_by is TrailedBy.EXCHANGE:
        start = trade.trailing_from
        begins = f" from {number(start)} on" if start is not None else ""
        lines.append(f"- the exchange trails it{begins}")
    for order in trade.targets:
        filled = trade.filled(order.order_link_id)
        reached = f", {number(filled)} filled" if filled else ""
        lines.append(f"- target: {number(order.qty)} at {number(order.price)}{reached}")
    if trade.plan.take_profit is not None:
        lines.append(f"- target: all that is left at {number(trade.plan.take_profit)}")
    return lines


def command_summary(command: Command | None, order: TradeOrder) -> str:
    """Return what the activity of *command* is about, for the timeline."""
    plan = order.plan
    stop = number(order.price) if order.price is not None else ""
    match command:
        case Command.PLACE_ENTRY:
            return f"{plan.side} {number(plan.qty)} {plan.symbol}, stop {number(plan.stop_loss)}"
        case Command.VERIFY_STOP:
            return f"is the stop at {stop}?"
        case Command.SET_STOP:
            return f"stop to {stop}"
        case Command.SET_TRAILING:
            return f"trail the stop of {plan.symbol} from {stop or 'now on'}"
        case Command.PLACE_TARGETS:
            prices = ", ".join(number(target.price) for target in order.targets)
            return f"take profit at {prices}"
        case Command.CANCEL_ENTRY:
            return f"cancel what is left of the entry in {plan.symbol}"
        case Command.FLATTEN:
            return f"leave {plan.symbol}"
        case Command.LOOK_UP:
            return f"what has become of {plan.symbol}?"
        case Command.SETTLE:
            return f"is {plan.symbol} flat?"
        case None:
            return ""
        case _:
            assert_never(command)
