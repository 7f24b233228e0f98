"""A virtual trade lives by the prices alone, and what they do not say counts against it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.life import NOON, make_plan
from tradewright.domain.account import (
    Account,
    Channel,
    Limits,
    Position,
    RefusalCode,
    Result,
    Snapshot,
    decide,
    lifted,
)
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import GateState
from tradewright.domain.market import Candle, Side, Timeframe
from tradewright.domain.plan import (
    ExitRules,
    FeeRates,
    LimitEntry,
    Mode,
    Proposal,
    RiskFraction,
    Target,
    TrailedBy,
    Trailing,
)
from tradewright.domain.protection import Guards, LossGuard
from tradewright.domain.shadow import (
    UNTIERED,
    Change,
    FundingRate,
    Quote,
    followed,
    funded,
    funding_since,
    lived,
    rehearsed_desk,
)
from tradewright.domain.signal import Signal
from tradewright.domain.trade import (
    ExitRequested,
    Started,
    StopConfirmed,
    Trade,
    TradeState,
)

MINUTE = timedelta(minutes=1)
QUOTE = Quote(bid=Decimal(49_999), ask=Decimal(50_001), at=NOON)


def candle(number: int, high: int, low: int, close: int, open_: int | None = None) -> Candle:
    return Candle(
        open_time=NOON + number * MINUTE,
        open=Decimal(open_ if open_ is not None else close),
        high=Decimal(high),
        low=Decimal(low),
        close=Decimal(close),
        volume=Decimal(1),
    )


def entered(quote: Quote = QUOTE, **changes: Any) -> Trade:
    trade = Trade(plan=make_plan(**changes))
    return lived(trade, [Started()], quote)[-1].after


def told(trade: Trade) -> tuple[str, Decimal | None]:
    return trade.state.value, trade.exit_price


def through(trade: Trade, *candles: Candle) -> Trade:
    for one in candles:
        trade = last(trade, followed(trade, one, one.open_time + MINUTE))
    return trade


def last(trade: Trade, changes: Iterable[Change]) -> Trade:
    for change in changes:
        assert change.before == trade
        trade = change.after
    return trade


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 50_001), (Side.SELL, 49_999)])
def test_a_market_entry_pays_the_spread_and_the_taker_s_fee(side: Side, price: int) -> None:
    trade = entered(side=side, stop_loss=Decimal(50_000) - 500 * side.sign)

    assert (trade.state.value, trade.entry_price, trade.open_qty) == (
        "open",
        Decimal(price),
        Decimal("0.1"),
    )
    assert trade.fees == price * Decimal("0.1") * UNTIERED.taker
    assert trade.stop == trade.plan.stop_loss


def test_a_stop_ends_it_at_the_stop_and_a_gap_beyond_it() -> None:
    hit = through(entered(), candle(0, 50_100, 49_400, 49_600))
    leapt = through(entered(), candle(0, 49_300, 49_100, 49_200, open_=49_250))

    assert (told(hit), hit.exit_reason) == (("closed", Decimal(49_500)), ExitReason.STOP)
    assert told(leapt) == ("closed", Decimal(49_250))
    assert hit.closed_at == NOON + MINUTE


def test_of_stop_and_target_in_one_candle_the_stop_comes_first() -> None:
    trade = entered(take_profit=Decimal(51_000))

    both = through(trade, candle(0, 51_500, 49_400, 51_200))
    goal = through(trade, candle(0, 51_500, 49_600, 51_200))

    assert both.exit_reason is ExitReason.STOP
    assert (goal.exit_reason, goal.exit_price) == (ExitReason.TARGET, Decimal(51_000))


def test_targets_take_their_parts_as_makers_and_secure_the_rest() -> None:
    targets = (Target(price=Decimal(50_500), fraction=Decimal("0.5")),)
    rules = ExitRules(timeframe=Timeframe.M1, break_even_after_target=1)
    trade = entered(targets=targets, take_profit=Decimal(51_000), exits=rules)

    half = through(trade, candle(0, 50_600, 49_900, 50_550))
    flat = through(half, candle(1, 50_500, 49_900, 50_000, open_=50_450))

    assert (half.state.value, half.open_qty, half.targets_reached) == ("open", Decimal("0.05"), 1)
    assert half.exits[0].fee == Decimal(50_500) * Decimal("0.05") * UNTIERED.maker
    assert half.stop == 50_001
    assert (flat.state.value, flat.exit_reason) == ("closed", ExitReason.STOP)
    assert flat.exits[1].price == 50_001


def test_a_waiting_entry_fills_only_where_the_price_goes_through_it() -> None:
    terms = LimitEntry(rest_until=NOON + 3 * MINUTE)
    waiting = entered(price=Decimal(49_800), entry=terms)

    touched = through(waiting, candle(0, 50_100, 49_800, 50_000))
    filled = through(waiting, candle(0, 50_100, 49_799, 50_000))

    assert waiting.is_resting
    assert touched == waiting
    assert (filled.state.value, filled.entry_price) == ("open", Decimal(49_800))
    assert filled.fees == 49_800 * Decimal("0.1") * UNTIERED.maker


def test_a_waiting_entry_that_is_run_over_meets_its_stop_in_the_same_candle() -> None:
    terms = LimitEntry(rest_until=NOON + 3 * MINUTE)
    waiting = entered(price=Decimal(49_800), entry=terms, take_profit=Decimal(50_050))

    trade = through(waiting, candle(0, 50_100, 49_400, 49_600))

    assert told(trade) == ("closed", Decimal(49_500))


def test_a_waiting_entry_is_given_up_when_its_time_is_over() -> None:
    terms = LimitEntry(rest_until=NOON + 2 * MINUTE)
    waiting = entered(price=Decimal(49_800), entry=terms)

    trade = through(waiting, *(candle(n, 50_100, 49_900, 50_000) for n in range(2)))

    assert (trade.state, trade.executions) == (TradeState.CANCELLED, ())


def test_a_limit_that_would_take_is_refused_if_it_may_only_make() -> None:
    terms = LimitEntry(rest_until=NOON + 2 * MINUTE, post_only=True)

    refused = entered(price=Decimal(50_100), entry=terms)
    taken = entered(price=Decimal(50_100), entry=terms.model_copy(update={"post_only": False}))

    assert (refused.state, refused.rejection[:9]) == (TradeState.REJECTED, "post_only")
    assert taken.entry_price == 50_001


def test_an_entry_beyond_its_own_stop_is_not_made() -> None:
    fallen = Quote(bid=Decimal(49_400), ask=Decimal(49_401), at=NOON)

    trade = entered(fallen)

    assert (trade.state, trade.executions) == (TradeState.REJECTED, ())


def test_what_came_before_a_late_entry_does_not_count() -> None:
    late = entered(QUOTE.model_copy(update={"at": NOON + timedelta(seconds=40)}))

    trade = through(late, candle(0, 52_000, 49_000, 50_100))

    assert trade.state is TradeState.OPEN


@pytest.mark.parametrize("by", list(TrailedBy))
def test_its_stop_trails_at_closed_candles_whoever_was_to_trail_it(by: TrailedBy) -> None:
    trailing = Trailing(after_r=Decimal(1), distance=Decimal(300), by=by)
    trade = entered(exits=ExitRules(timeframe=Timeframe.M1, trailing=trailing))

    trailed = through(trade, candle(0, 50_700, 49_900, 50_650))
    left = through(trailed, candle(1, 50_600, 50_300, 50_350, open_=50_500))

    assert trailed.stop == 50_400
    assert told(left) == ("closed", Decimal(50_400))


def test_a_time_stop_leaves_at_the_close() -> None:
    trade = entered(exits=ExitRules(timeframe=Timeframe.M1, max_candles=2))

    trade = through(trade, *(candle(n, 50_100, 49_900, 50_020 + n) for n in range(3)))

    assert (trade.state.value, trade.exit_reason) == ("closed", ExitReason.TIME_STOP)
    assert trade.exit_price == 50_021


def test_a_wish_to_leave_is_done_at_once_at_what_one_may_sell_for() -> None:
    quote = Quote(bid=Decimal(50_300), ask=Decimal(50_310), at=NOON + MINUTE)

    trade = last(entered(), lived(entered(), [ExitRequested(note="enough", by="ann")], quote))

    assert (told(trade), trade.exit_by) == (("closed", Decimal(50_300)), "ann")
    assert trade.pnl == Decimal("29.9") - trade.fees


def test_what_cannot_happen_to_it_is_passed_over() -> None:
    fresh = Trade(plan=make_plan())

    assert lived(fresh, [StopConfirmed(price=Decimal(1))], QUOTE) == ()


PRICES = st.integers(min_value=49_000, max_value=51_000)


@st.composite
def walks(draw: st.DrawFn) -> list[Candle]:
    found = []
    for number in range(draw(st.integers(min_value=1, max_value=40))):
        four = [draw(PRICES) for _ in range(4)]
        found.append(candle(number, max(four), min(four), four[0], open_=four[1]))
    return found


@given(walks(), st.sampled_from(list(Side)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_prices_keep_it_between_nothing_and_its_size(
    candles: list[Candle], side: Side, rests: bool
) -> None:
    plan: dict[str, Any] = {
        "side": side,
        "stop_loss": Decimal(50_000) - 500 * side.sign,
        "take_profit": Decimal(50_000) + 600 * side.sign,
        "targets": (Target(price=Decimal(50_000) + 300 * side.sign, fraction=Decimal("0.4")),),
        "exits": ExitRules(
            timeframe=Timeframe.M1,
            break_even_after_r=Decimal("0.5"),
            trailing=Trailing(after_r=Decimal("0.7"), distance=Decimal(200)),
            max_candles=30,
        ),
    }
    if rests:
        plan["entry"] = LimitEntry(rest_until=NOON + 5 * MINUTE)
        plan["price"] = Decimal(50_000) - 100 * side.sign
    trade = entered(**plan)

    for one in candles:
        before, close = trade, one.open_time + MINUTE
        trade = last(trade, followed(trade, one, close))
        assert 0 <= trade.open_qty <= trade.plan.qty
        assert (trade.open_qty == 0) or trade.stop is not None
        if before.stop is not None and trade.stop is not None:
            assert (trade.stop - before.stop) * side.sign >= 0
        if trade.is_final:
            assert trade.open_qty == 0
            assert followed(trade, one, close) == ()


def test_the_desk_of_virtual_trades_knows_the_equity_and_none_of_the_real_trades() -> None:
    now = datetime(2026, 3, 2, 12, 1, tzinfo=UTC)
    real_plan = make_plan()
    snapshot = Snapshot(
        at=now,
        market_at=now,
        equity=Decimal(10_000),
        wallet=Decimal(10_000),
        positions=(_position(),),
    )
    real = Account(
        name="main", started_at=now, gate=GateState.EXITS_ONLY, snapshot=snapshot
    ).reserved(real_plan, now)
    own = Account(name="main", started_at=now)
    proposal = _proposal()

    approved = decide(proposal, rehearsed_desk(own, real, now), Limits(), now)
    held = own.reserved(make_plan(mode=Mode.SHADOW, trade_id="tw" + "b" * 16), now)
    refused = decide(proposal, rehearsed_desk(held, real, now), Limits(), now)

    assert approved.kind == "approved"
    assert approved.plan.qty == Decimal("0.1")
    assert (refused.kind, getattr(refused, "code", "")) == ("refused", "symbol_taken")


def test_the_desk_of_virtual_trades_does_not_decide_on_data_that_the_real_one_would_not() -> None:
    now = datetime(2026, 3, 2, 12, 1, tzinfo=UTC)
    dead = Channel(name="public", fault="silent", since=now - timedelta(minutes=5))
    snapshot = Snapshot(at=now, market_at=now, equity=Decimal(10_000), wallet=Decimal(10_000))
    real = Account(name="main", started_at=now, snapshot=snapshot, channels=(dead,))

    desk = rehearsed_desk(Account(name="main", started_at=now), real, now)

    decision = decide(_proposal(), desk, Limits(), now)
    assert (decision.kind, getattr(decision, "code", "")) == ("refused", "stale_data")


def test_virtual_losses_in_a_row_stop_no_virtual_trade_for_ever() -> None:
    """Only the real desk has a monitor, which pauses for them and counts anew."""
    now = datetime(2026, 3, 2, 12, 1, tzinfo=UTC)
    snapshot = Snapshot(at=now, market_at=now, equity=Decimal(10_000), wallet=Decimal(10_000))
    real = Account(name="main", started_at=now, snapshot=snapshot)
    own = Account(name="main", started_at=now, losses=Limits().loss_streak)

    decision = decide(_proposal(), rehearsed_desk(own, real, now), Limits(), now)

    assert decision.kind == "approved"


def test_a_guard_that_a_person_has_lifted_is_lifted_of_virtual_trades_too() -> None:
    now = datetime(2026, 3, 2, 12, 1, tzinfo=UTC)
    snapshot = Snapshot(at=now, market_at=NOON, equity=Decimal(10_000), wallet=Decimal(10_000))
    real = Account(name="main", started_at=now, snapshot=snapshot)
    loss = Result(
        trade_id="tw" + "b" * 16,
        preset="ema",
        symbol="BTCUSDT",
        at=NOON,
        pnl=Decimal(-5),
        until=NOON + timedelta(days=9),
    )
    own = Account(name="main", started_at=now, results=(loss,))
    hour = timedelta(hours=1)
    guards = Guards(stop_guard=LossGuard(losses=1, within=hour, pause=hour))
    wish = _proposal().model_copy(update={"guards": guards})

    rests = decide(wish, rehearsed_desk(own, real, now), Limits(), now)
    eased = lifted(real, RefusalCode.STOP_GUARD)
    free = decide(wish, rehearsed_desk(own, eased, now), Limits(), now)

    assert getattr(rests, "code", "") == "stop_guard"
    assert free.kind == "approved"


def _position() -> Position:
    return Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal(1),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
        stop_loss=None,
        take_profit=None,
        unrealised_pnl=Decimal(0),
        leverage=Decimal(3),
    )


def _proposal() -> Proposal:
    plan = make_plan()
    return Proposal(
        trade_id=plan.trade_id,
        account="main",
        preset="ema",
        preset_hash="c0ffee",
        symbol="BTCUSDT",
        signal=Signal(side=Side.BUY, reason="test"),
        trigger=NOON,
        price=Decimal(50_000),
        stop_loss=Decimal(49_500),
        exits=ExitRules(timeframe=Timeframe.M1),
        sizing=RiskFraction(risk_fraction=Decimal("0.005")),
        leverage=Decimal(3),
        max_open_trades=2,
        expires_after=timedelta(seconds=30),
        instrument=plan.instrument,
        window="w",
        mode=Mode.SHADOW,
    )


# --- funding and fees -----------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, -1), (Side.SELL, 1)])
def test_who_is_long_pays_funding_for_what_is_held_and_who_is_short_receives(
    side: Side, sign: int
) -> None:
    stop = Decimal(49_500) if side is Side.BUY else Decimal(50_500)
    trade = entered(side=side, stop_loss=stop)
    rate = FundingRate(at=NOON + 60 * MINUTE, rate=Decimal("0.0001"), price=Decimal(50_200))

    event = funded(trade, rate)

    assert event is not None
    paid = trade.after(event)
    assert paid.funding == sign * Decimal("0.1") * 50_200 * Decimal("0.0001")
    assert paid.after(event) == paid


def test_funding_is_due_only_to_who_holds() -> None:
    trade = entered()
    early = FundingRate(at=NOON, rate=Decimal("0.0001"), price=Decimal(50_000))

    assert funded(trade, early) is None
    assert funded(Trade(plan=make_plan()), early) is None


def test_nobody_asks_for_funding_before_the_next_whole_hour() -> None:
    trade = entered()
    assert trade.opened_at is not None
    hour, moment = NOON + timedelta(hours=1), timedelta(seconds=1)

    assert funding_since(trade, None, NOON + timedelta(minutes=59)) is None
    assert funding_since(trade, None, hour) == trade.opened_at + moment
    assert funding_since(trade, hour, hour + timedelta(minutes=59)) is None
    assert funding_since(trade, hour, 2 * (hour - NOON) + NOON) == hour + moment
    assert funding_since(Trade(plan=make_plan()), None, hour) is None


def test_a_virtual_trade_pays_the_fees_that_its_plan_says() -> None:
    fees = FeeRates(taker=Decimal("0.0004"), maker=Decimal("-0.0001"))

    trade = entered(fees=fees)

    assert trade.fees == trade.entries[0].price * trade.entries[0].qty * fees.taker
