"""The desk decides: every refusal has its reason, and no approval breaks a limit."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.desk import (
    HOUR,
    IN_DOUBT,
    NOON,
    NOW,
    OTHER,
    Code,
    desk,
    holding,
    plan_of,
    position,
    proposal,
    refusal,
    released,
    snapshot,
    trade_id,
)
from tradewright.domain.account import (
    Account,
    Approved,
    Block,
    Channel,
    Cooldown,
    Limits,
    MarginMode,
    Pause,
    PositionMode,
    RefusalCode,
    Refused,
    Result,
    decide,
)
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import (
    CorrelationCap,
    ExitRules,
    FixedNotional,
    LimitEntry,
    Proposal,
    RiskFraction,
    Target,
    TradePlan,
)
from tradewright.domain.protection import DrawdownGuard, Guards, LossGuard

PUBLIC_LATE = Channel(name="public", fault="silent", since=NOW - timedelta(seconds=1))
PRIVATE_LATE = Channel(name="private", fault="silent", since=NOW - timedelta(seconds=20))
LOST = Result(
    trade_id=trade_id(8),
    preset="ema",
    symbol="BTCUSDT",
    at=NOON - timedelta(minutes=1),
    pnl=Decimal(-500),
    until=NOON + HOUR,
)
ONE = LossGuard(losses=1, within=HOUR, pause=HOUR)
FIVE_PER_CENT = DrawdownGuard(fraction=Decimal("0.05"), within=HOUR, pause=HOUR)


def test_an_open_desk_approves_and_fixes_the_plan() -> None:
    decision = decide(proposal(leverage=Decimal(80)), desk(), Limits(), NOW)

    assert isinstance(decision, Approved)
    plan = decision.plan
    assert (plan.side, plan.qty, plan.leverage) == (Side.BUY, Decimal("0.100"), Decimal(50))
    assert (plan.decided_at, plan.expires_at) == (NOW, NOW + timedelta(seconds=30))


REFUSALS: list[tuple[RefusalCode, Account, Proposal, Limits]] = [
    (Code.GATE_CLOSED, desk(gate=GateState.EXITS_ONLY), proposal(), Limits()),
    (Code.GATE_CLOSED, desk(gate=GateState.HALTED), proposal(), Limits()),
    (Code.ALREADY_TRADED, released(1), proposal(), Limits()),
    (Code.NOT_RECONCILED, desk(reconciled_at=None), proposal(), Limits()),
    (
        Code.NOT_RECONCILED,
        desk(reconciled_at=NOW - timedelta(hours=2)),
        proposal(),
        Limits(),
    ),
    (
        Code.NOT_RECONCILED,
        desk(reconciled_at=NOW - timedelta(minutes=5, seconds=1)),
        proposal(),
        Limits(),
    ),
    (Code.SNAPSHOT_STALE, desk(snapshot=None), proposal(), Limits()),
    (
        Code.SNAPSHOT_STALE,
        desk(snapshot=snapshot(at=NOW - timedelta(seconds=91))),
        proposal(),
        Limits(),
    ),
    (
        Code.SYMBOL_BLOCKED,
        desk(blocks=(Block(symbol="BTCUSDT", reason="orphan"),)),
        proposal(),
        Limits(),
    ),
    (Code.SYMBOL_TAKEN, holding(proposal(2)), proposal(), Limits()),
    (
        Code.SYMBOL_TAKEN,
        desk(snapshot=snapshot(positions=(position(),))),
        proposal(),
        Limits(),
    ),
    (
        Code.COOLDOWN,
        desk(
            cooldowns=(Cooldown(preset="ema", symbol="BTCUSDT", until=NOON + timedelta(seconds=1)),)
        ),
        proposal(),
        Limits(),
    ),
    (
        Code.MAX_OPEN_TRADES,
        holding(proposal(2, symbol="ETHUSDT", **OTHER)),
        proposal(),
        Limits(max_open_trades=1),
    ),
    (
        Code.PRESET_MAX_OPEN_TRADES,
        holding(proposal(2, symbol="ETHUSDT")),
        proposal(max_open_trades=1),
        Limits(),
    ),
    (
        Code.MAX_ORDERS_PER_MINUTE,
        desk(entries=(NOON, NOON - timedelta(seconds=59))),
        proposal(),
        Limits(max_orders_per_minute=2),
    ),
    (
        Code.MAX_DAILY_LOSS,
        desk().observed(snapshot("9500")),
        proposal(),
        Limits(),
    ),
    (Code.COOLDOWN, desk(results=(LOST,)), proposal(cooldown=timedelta(minutes=2)), Limits()),
    (Code.STOP_GUARD, desk(results=(LOST,)), proposal(guards=Guards(stop_guard=ONE)), Limits()),
    (
        Code.LOSING_SYMBOL,
        desk(results=(LOST,)),
        proposal(guards=Guards(losing_symbol=ONE)),
        Limits(),
    ),
    (
        Code.PRESET_DRAWDOWN,
        desk(results=(LOST,)),
        proposal(guards=Guards(max_drawdown=FIVE_PER_CENT)),
        Limits(),
    ),
    (
        Code.CORRELATED,
        holding(proposal(2, symbol="ETHUSDT")),
        proposal(correlation=CorrelationCap(max=Decimal("0.8"), share=Decimal(0))),
        Limits(),
    ),
    (Code.STOP_WRONG_SIDE, desk(), proposal(stop_loss=Decimal(50_000)), Limits()),
    (Code.STOP_WRONG_SIDE, desk(), proposal(stop_loss=Decimal(50_001)), Limits()),
    (
        Code.STOP_WRONG_SIDE,
        desk(),
        proposal(side=Side.SELL, stop_loss=Decimal(49_999)),
        Limits(),
    ),
    (
        Code.BELOW_MINIMUM,
        desk(),
        proposal(sizing=FixedNotional(notional=Decimal(49))),
        Limits(),
    ),
    (
        Code.HISTORY_UNREAD,
        desk(snapshot=snapshot(past_fault="the database is away")),
        proposal(),
        Limits(),
    ),
    (Code.STALE_DATA, desk().with_channel(PUBLIC_LATE), proposal(), Limits()),
    (Code.STALE_DATA, desk().with_channel(PRIVATE_LATE), proposal(), Limits()),
    (
        Code.STREAM_DEAD,
        desk().with_channel(PRIVATE_LATE),
        proposal(),
        Limits(stream_dead_after=timedelta(seconds=20)),
    ),
    (Code.POSITION_MODE, desk(position_mode=PositionMode.HEDGE), proposal(), Limits()),
    (Code.MARGIN_MODE, desk(margin_mode=MarginMode.PORTFOLIO), proposal(), Limits()),
    (
        Code.CLOCK_SKEW,
        desk(snapshot=snapshot(clock_skew=timedelta(seconds=-1.5))),
        proposal(),
        Limits(),
    ),
    (Code.SYMBOL_UNRESOLVED, desk(unresolved=(IN_DOUBT,)), proposal(), Limits()),
    (
        Code.MAX_UNRESOLVED,
        desk(unresolved=(IN_DOUBT.model_copy(update={"symbol": "ETHUSDT"}),)),
        proposal(),
        Limits(max_unresolved=1),
    ),
    (
        Code.PAUSED,
        desk(pauses=(Pause(code=Code.LOSS_STREAK, reason="10 losses", until=NOON + HOUR),)),
        proposal(),
        Limits(),
    ),
    (Code.MAX_DRAWDOWN, desk(peak_equity=Decimal(12_500)), proposal(), Limits()),
    (Code.LOSS_STREAK, desk(losses=10), proposal(), Limits()),
    (Code.MIN_BALANCE, desk(), proposal(), Limits(min_balance=Decimal(10_001))),
    (
        Code.LIQUIDATION_DISTANCE,
        desk(
            snapshot=snapshot(
                positions=(position("ETHUSDT"),), liquidation_prices={"ETHUSDT": Decimal(47_501)}
            )
        ),
        proposal(),
        Limits(),
    ),
    (
        Code.BELOW_MINIMUM,
        desk(),
        proposal(sizing=FixedNotional(notional=Decimal(100))),
        Limits(min_order_notional=Decimal(101)),
    ),
    (
        Code.MAX_TOTAL_EXPOSURE,
        holding(proposal(2, symbol="ETHUSDT")),
        proposal(),
        Limits(max_total_exposure=Decimal(9_999)),
    ),
    (
        Code.MAX_HEAT,
        holding(proposal(2, symbol="ETHUSDT")),
        proposal(),
        Limits(max_heat_fraction=Decimal("0.0099")),
    ),
    (
        Code.MAX_LEVERAGE,
        holding(proposal(2, symbol="ETHUSDT")),
        proposal(),
        Limits(max_leverage=Decimal("0.9")),
    ),
    (
        Code.MAX_LEVERAGE,
        desk(snapshot=snapshot(positions=(position("ETHUSDT"),))),
        proposal(),
        Limits(max_leverage=Decimal("0.9")),
    ),
]


@pytest.mark.parametrize(
    ("code", "account", "wish", "limits"), REFUSALS, ids=[str(code) for code, *_ in REFUSALS]
)
def test_each_refusal_has_its_reason(
    code: RefusalCode, account: Account, wish: Proposal, limits: Limits
) -> None:
    decision = decide(wish, account, limits, NOW)

    assert isinstance(decision, Refused)
    assert decision.code is code
    assert decision.reason


def test_every_code_of_the_desk_is_tried() -> None:
    files = ("decision", "guard", "monitor", "desk")
    folder = Path(__file__).parents[2] / "tradewright/domain/account"
    source = "".join((folder / f"{name}.py").read_text("utf-8") for name in files)
    of_desk = {
        code for code in RefusalCode if re.search(rf"[Cc]ode\.{code.name}\b", source) is not None
    }

    assert {code for code, *_ in REFUSALS} == of_desk


def test_the_gravest_refusal_is_told_first() -> None:
    order = [
        *(Code.GATE_CLOSED, Code.ALREADY_TRADED, Code.NOT_RECONCILED, Code.SNAPSHOT_STALE),
        *(Code.SYMBOL_BLOCKED, Code.SYMBOL_TAKEN, Code.COOLDOWN, Code.MAX_OPEN_TRADES),
        *(Code.PRESET_MAX_OPEN_TRADES, Code.MAX_ORDERS_PER_MINUTE, Code.MAX_DAILY_LOSS),
        *(Code.STOP_WRONG_SIDE, Code.BELOW_MINIMUM),
    ]
    base = released(1)
    wish = proposal(
        stop_loss=Decimal(50_000), max_open_trades=1, sizing=FixedNotional(notional=Decimal(1))
    )
    limits = Limits(max_open_trades=1, max_orders_per_minute=1)
    held = holding(proposal(2, symbol="ETHUSDT")).reservations
    account = base.model_copy(
        update={
            "gate": GateState.HALTED,
            "reconciled_at": None,
            "snapshot": snapshot("9000", at=NOW - timedelta(hours=1), positions=(position(),)),
            "blocks": (Block(symbol="BTCUSDT", reason="orphan"),),
            "cooldowns": (Cooldown(preset="ema", symbol="BTCUSDT", until=NOON + timedelta(1)),),
            "reservations": held,
            "entries": (NOON,),
        }
    )
    cures: list[dict[str, Any]] = [
        {"gate": GateState.OPEN},
        {"done": ()},
        {"reconciled_at": NOW},
        {"snapshot": snapshot("9000", positions=(position(),))},
        {"blocks": ()},
        {"snapshot": snapshot("9000")},
        {"cooldowns": ()},
    ]

    found = [refusal(decide(wish, account, limits, NOW))]
    for cure in cures:
        account = account.model_copy(update=cure)
        found.append(refusal(decide(wish, account, limits, NOW)))
    limits = limits.model_copy(update={"max_open_trades": 5})
    found.append(refusal(decide(wish, account, limits, NOW)))
    wish = wish.model_copy(update={"max_open_trades": 5})
    found.append(refusal(decide(wish, account, limits, NOW)))
    limits = limits.model_copy(update={"max_orders_per_minute": 5})
    found.append(refusal(decide(wish, account, limits, NOW)))
    limits = limits.model_copy(update={"max_daily_loss_fraction": Decimal(1)})
    found.append(refusal(decide(wish, account, limits, NOW)))
    wish = wish.model_copy(update={"stop_loss": Decimal(49_500)})
    found.append(refusal(decide(wish, account, limits, NOW)))

    assert found == order


def test_what_was_approved_is_approved_again_the_same_even_behind_a_closed_gate() -> None:
    account = holding(proposal()).model_copy(update={"gate": GateState.HALTED})

    again = decide(proposal(price=Decimal(51_000)), account, Limits(), NOW + timedelta(hours=1))

    assert again == Approved(plan=plan_of(proposal()))


def test_a_larger_wish_is_cut_to_the_largest_position() -> None:
    limits = Limits(max_position_notional=Decimal(2_000))

    decision = decide(proposal(), desk(), limits, NOW)

    assert isinstance(decision, Approved)
    assert decision.plan.qty == Decimal("0.040")


def test_a_reserved_position_is_not_counted_twice() -> None:
    account = holding(proposal(2, symbol="ETHUSDT")).observed(
        snapshot(positions=(position("ETHUSDT"),))
    )

    decision = decide(proposal(), account, Limits(max_leverage=Decimal(1)), NOW)

    assert isinstance(decision, Approved)


def test_another_presets_rest_is_none_of_ours() -> None:
    rest = Cooldown(preset="donchian", symbol="BTCUSDT", until=NOON + timedelta(days=1))
    over = Cooldown(preset="ema", symbol="BTCUSDT", until=NOON)

    assert refusal(decide(proposal(), desk(cooldowns=(rest, over)), Limits(), NOW)) is None


@given(
    equity=st.decimals(min_value=-100, max_value=1_000_000, places=2),
    risk=st.decimals(min_value="0.0001", max_value=1, places=4),
    leverage=st.decimals(min_value="0.1", max_value=10, places=1),
    largest=st.decimals(min_value=1, max_value=1_000_000, places=0),
    side=st.sampled_from(Side),
)
def test_no_approval_breaks_a_limit(
    equity: Decimal, risk: Decimal, leverage: Decimal, largest: Decimal, side: Side
) -> None:
    account = desk(snapshot=snapshot(str(equity)), day_equity=equity)
    limits = Limits(max_leverage=leverage, max_position_notional=largest)
    wish = proposal(side=side, sizing=RiskFraction(risk_fraction=risk))

    decision = decide(wish, account, limits, NOW)

    if isinstance(decision, Approved):
        assert decision.plan.notional <= min(largest, leverage * equity)
        assert decision.plan.risk <= equity * risk
        assert decide(wish, account, limits, NOW) == decision


def test_a_plan_carries_every_term_of_its_proposal() -> None:
    wish = proposal(
        take_profit=Decimal(52_000),
        entry=LimitEntry(post_only=True, rest_until=NOON + timedelta(minutes=5)),
        targets=(Target(price=Decimal(51_000), fraction=Decimal("0.5")),),
        exits=ExitRules(timeframe=Timeframe.M5, max_candles=7, break_even_after_target=1),
        cooldown=timedelta(minutes=3),
        market={"bid": "1"},
    )

    plan = plan_of(wish)

    terms = Proposal.model_fields.keys() & TradePlan.model_fields.keys()
    assert terms >= {"entry", "targets", "exits", "take_profit", "stop_loss", "price", "cooldown"}
    assert {name: getattr(plan, name) for name in terms} == {
        name: getattr(wish, name) for name in terms
    }
