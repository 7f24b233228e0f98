"""The desk: every refusal, and what it carries from one decision to the next."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.account import (
    REMEMBERED_TRADES,
    Account,
    Approved,
    Block,
    Channel,
    Cooldown,
    Decision,
    LeaveWish,
    Limits,
    MarginMode,
    Pause,
    Position,
    PositionMode,
    RefusalCode,
    Refused,
    Released,
    Result,
    Snapshot,
    Unresolved,
    breach,
    decide,
)
from tradewright.domain.gate import GateState
from tradewright.domain.market import Instrument, Side, Timeframe
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
from tradewright.domain.signal import Signal

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""Market clock."""
Code = RefusalCode


def trade_id(number: int) -> str:
    return "tw" + f"{number:04d}".translate(str.maketrans("0123456789", "abcdefghij")) * 4


def proposal(number: int = 1, **changes: Any) -> Proposal:
    side = changes.pop("side", Side.BUY)
    fields = {
        "trade_id": trade_id(number),
        "account": "main",
        "preset": "ema",
        "preset_hash": "c0ffee",
        "symbol": "BTCUSDT",
        "signal": Signal(side=side, reason="test"),
        "trigger": NOON,
        "price": Decimal(50_000),
        "stop_loss": Decimal(50_000) - 500 * side.sign,
        "exits": ExitRules(timeframe=Timeframe.M1),
        "sizing": RiskFraction(risk_fraction=Decimal("0.005")),
        "leverage": Decimal(3),
        "max_open_trades": 2,
        "expires_after": timedelta(seconds=30),
        "instrument": Instrument(
            symbol="BTCUSDT",
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
            max_leverage=Decimal(50),
        ),
        "window": "w",
    }
    return Proposal.model_validate(fields | changes)


def snapshot(equity: str = "10000", **changes: Any) -> Snapshot:
    fields = {"at": NOW, "market_at": NOON, "equity": equity, "wallet": equity}
    return Snapshot.model_validate(fields | changes)


def position(symbol: str = "BTCUSDT", qty: str = "0.1") -> Position:
    return Position(
        symbol=symbol,
        side=Side.BUY,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )


def desk(**changes: Any) -> Account:
    started = NOW - timedelta(hours=1)
    open_desk = Account(name="main", started_at=started, reconciled_at=NOW).observed(snapshot())
    return open_desk.model_copy(update=changes)


def plan_of(wish: Proposal) -> TradePlan:
    decision = decide(wish, desk(), Limits(), NOW)
    assert isinstance(decision, Approved)
    return decision.plan


def holding(*wishes: Proposal, **changes: Any) -> Account:
    account = desk(**changes)
    for wish in wishes:
        account = account.reserved(plan_of(wish), NOW)
    return account


def refusal(decision: Decision) -> RefusalCode | None:
    return decision.code if isinstance(decision, Refused) else None


HOUR = timedelta(hours=1)
PUBLIC_LATE = Channel(name="public", fault="silent", since=NOW - timedelta(seconds=1))
PRIVATE_LATE = Channel(name="private", fault="silent", since=NOW - timedelta(seconds=20))
IN_DOUBT = Unresolved(
    trade_id=trade_id(9), symbol="BTCUSDT", order_link_id=f"{trade_id(9)}-e1", since=NOW - HOUR
)
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
OTHER = {"preset": "donchian", "trigger": NOON - timedelta(minutes=5)}


def released(*numbers: int) -> Account:
    account = desk()
    for number in numbers:
        account = account.reserved(plan_of(proposal(number)), NOW)
        account = account.released(Released(trade_id=trade_id(number), at=NOON))
    return account


# --- decisions ------------------------------------------------------------------------------------


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


# --- what is carried ------------------------------------------------------------------------------


def test_a_new_day_of_the_market_begins_with_its_first_equity() -> None:
    account = desk().observed(snapshot("9600"))
    next_day = account.observed(snapshot("9600", market_at=NOON + timedelta(days=1)))

    assert (account.day_equity, account.day_loss_fraction) == (*(Decimal(10_000), Decimal("0.04")),)
    assert (next_day.day, next_day.day_equity) == ("2026-03-03", Decimal(9_600))
    assert next_day.day_loss_fraction == 0


def test_the_peak_is_kept_through_losses_and_days() -> None:
    account = desk().observed(snapshot("12000"))

    account = account.observed(snapshot("9000", market_at=NOON + timedelta(days=3)))

    assert account.peak_equity == 12_000


def test_a_day_that_gained_has_lost_nothing() -> None:
    assert desk().observed(snapshot("11000")).day_loss_fraction == 0
    assert desk(snapshot=None).day_loss_fraction == 0


def test_the_daily_loss_trips_at_its_limit_and_not_before() -> None:
    assert breach(desk().observed(snapshot("9500.01")), Limits()) is None
    told = breach(desk().observed(snapshot("9500")), Limits())
    assert told == (
        "max_daily_loss: equity fell 5.00% since the start of 2026-03-02, the limit is 5.00%"
    )


def test_a_release_frees_the_symbol_even_before_the_next_snapshot() -> None:
    account = holding(proposal()).observed(snapshot(positions=(position(),)))

    free = account.released(Released(trade_id=trade_id(1), at=NOON))

    assert free.reservations == ()
    assert refusal(decide(proposal(2), free, Limits(), NOW)) is None


def test_a_release_starts_the_rest_of_its_preset_on_its_symbol() -> None:
    rest = timedelta(minutes=3)
    account = holding(proposal()).released(Released(trade_id=trade_id(1), at=NOON, cooldown=rest))

    during = proposal(2, trigger=NOON + rest - timedelta(seconds=1))
    over = proposal(2, trigger=NOON + rest)

    assert refusal(decide(during, account, Limits(), NOW)) is Code.COOLDOWN
    assert refusal(decide(over, account, Limits(), NOW)) is None


@pytest.mark.parametrize("account", [holding(proposal()), desk()])
def test_the_doubts_of_a_trade_end_with_its_release(account: Account) -> None:
    """A trade that was terminated tells nobody any more what became of its orders."""
    own = {"trade_id": trade_id(1), "order_link_id": f"{trade_id(1)}-x2", "since": NOW}
    doubt = IN_DOUBT.model_copy(update=own)
    other = IN_DOUBT.model_copy(update={"since": NOW})
    account = account.with_unresolved(doubt, NOW).with_unresolved(other, NOW)

    account = account.released(Released(trade_id=trade_id(1), at=NOON))

    assert len(account.doubts(NOW + timedelta(minutes=59))) == 2
    assert account.doubts(NOW + timedelta(minutes=61)) == (other,)


def test_a_repeated_release_changes_nothing() -> None:
    release = Released(trade_id=trade_id(1), at=NOON, cooldown=timedelta(minutes=3))
    account = holding(proposal()).released(release)

    assert account.released(release) == account
    assert account.done == (trade_id(1),)


def test_only_so_many_ended_trades_are_remembered() -> None:
    account = released(*range(1, 4)).model_copy(
        update={"done": tuple(str(n) for n in range(REMEMBERED_TRADES))}
    )
    account = account.reserved(plan_of(proposal(9)), NOW)

    account = account.released(Released(trade_id=trade_id(9), at=NOON))

    assert (len(account.done), account.done[-1]) == (REMEMBERED_TRADES, trade_id(9))


def test_only_the_entries_of_the_last_minute_count() -> None:
    account = desk(entries=(NOON - timedelta(seconds=60), NOON - timedelta(seconds=59)))

    account = account.reserved(plan_of(proposal()), NOW)

    assert account.entries == (NOON - timedelta(seconds=59), NOON)


def test_a_trade_that_holds_more_than_was_planned_counts_with_what_it_holds() -> None:
    account = holding(proposal(2, symbol="ETHUSDT")).observed(
        snapshot(positions=(position("ETHUSDT", qty="0.16"),))
    )

    decision = decide(proposal(), account, Limits(), NOW)

    assert refusal(decision) is Code.MAX_TOTAL_EXPOSURE


SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(("reserve", "release", "look")),
            st.integers(min_value=0, max_value=3),
            st.decimals(min_value="0.0005", max_value="0.05", places=4),
            st.decimals(min_value=1_000, max_value=20_000, places=0),
        ),
        max_size=30,
    )
)
def test_no_sequence_of_reservations_and_releases_breaks_a_limit(
    steps: list[tuple[str, int, Decimal, Decimal]],
) -> None:
    limits = Limits(max_orders_per_minute=1000)
    account, equity = desk(), Decimal(10_000)
    for number, (step, which, risk, seen) in enumerate(steps, start=1):
        symbol = SYMBOLS[which]
        if step == "reserve":
            wish = proposal(
                number,
                symbol=symbol,
                sizing=RiskFraction(risk_fraction=risk),
                max_open_trades=9,
            )
            decision = decide(wish, account, limits, NOW)
            if isinstance(decision, Approved):
                account = account.reserved(decision.plan, NOW)
                assert account.exposure <= min(
                    limits.max_total_exposure, limits.max_leverage * equity
                )
                assert account.heat <= limits.max_heat_fraction * equity
        elif step == "release":
            for held in [r.plan for r in account.reservations if r.plan.symbol == symbol]:
                account = account.released(Released(trade_id=held.trade_id, at=NOON))
        else:
            equity = seen
            account = account.observed(snapshot(str(seen)))
        symbols = [r.plan.symbol for r in account.reservations]
        assert len(symbols) == len(set(symbols)) <= limits.max_open_trades


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


def test_a_wish_to_leave_finds_the_trade_of_its_preset_and_side() -> None:
    account = holding(proposal(), proposal(2, symbol="ETHUSDT", **OTHER))
    btc = {"preset": "ema", "symbol": "BTCUSDT"}

    def found(**wish: Any) -> list[str]:
        return [plan.symbol for plan in account.held_by(LeaveWish(**wish))]

    assert found(**btc) == found(**btc, side=Side.BUY) == ["BTCUSDT"]
    assert found(**btc, side=Side.SELL) == []
    (version,) = {plan.preset_hash for plan in account.held_by(LeaveWish(**btc))}
    assert found(**btc, preset_hash=version) == ["BTCUSDT"]
    assert found(**btc, preset_hash="another") == []
    assert found(preset="ema", symbol="ETHUSDT") == []


def test_losses_in_a_row_are_counted_and_a_gain_ends_them() -> None:
    account = desk()
    counted = []
    for number, pnl in enumerate(("-1", "-2", "0", "-3", "5", "-1"), start=1):
        account = account.reserved(plan_of(proposal(number)), NOW)
        ended = Released(trade_id=trade_id(number), at=NOON, pnl=Decimal(pnl))
        account = account.released(ended).released(ended)
        counted.append(account.losses)

    assert counted == [1, 2, 2, 3, 0, 1]
