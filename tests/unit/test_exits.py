"""Management of an open trade from one closed candle, for both sides alike."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.exits import MIN_STOP_STEP_R, manage
from tradewright.domain.market import Candle, Instrument, Side, Timeframe
from tradewright.domain.plan import (
    ExitRules,
    LimitEntry,
    MarketEntry,
    Target,
    TradePlan,
    TrailedBy,
    Trailing,
)
from tradewright.domain.trade import (
    EntryEnded,
    EntryExpired,
    EntryPlaced,
    Executed,
    ExitRequested,
    RecheckRequested,
    Started,
    StopMoved,
    Trade,
    TradeState,
    TrailingRefused,
    TrailingSet,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENTRY, UNIT = Decimal(50_000), Decimal(500)
R = UNIT
"""One R of every trade here."""


def make_plan(side: Side, rules: dict[str, Any], **changes: Any) -> TradePlan:
    return TradePlan.model_validate(
        {
            "trade_id": "tw" + "a" * 16,
            "account": "main",
            "preset": "ema",
            "preset_hash": "c0ffee",
            "symbol": "BTCUSDT",
            "side": side,
            "qty": Decimal("0.1"),
            "price": ENTRY,
            "stop_loss": ENTRY - UNIT * side.sign,
            "exits": ExitRules(timeframe=Timeframe.M15, **rules),
            "leverage": Decimal(3),
            "instrument": Instrument(
                symbol="BTCUSDT",
                base_coin="BTC",
                tick_size=Decimal("0.5"),
                qty_step=Decimal("0.001"),
                min_qty=Decimal("0.001"),
                max_qty=Decimal(1000),
                max_market_qty=Decimal(100),
            ),
            "trigger": NOON,
            "decided_at": NOON,
            "expires_at": NOON,
        }
        | changes
    )


def open_trade(side: Side, rules: dict[str, Any], **changes: Any) -> Trade:
    plan = make_plan(side, rules)
    execution = Execution(
        exec_id="e1",
        seq=1,
        order_id="o1",
        symbol="BTCUSDT",
        side=side,
        price=ENTRY,
        qty=Decimal("0.1"),
        fee=Decimal(0),
        at=NOON,
    )
    trade = Trade(plan=plan).after(Started()).after(Executed(execution=execution))
    return trade.model_copy(update=changes)


def candle(side: Side, best: str, close: str, open_time: datetime = NOON) -> Candle:
    """Return a candle whose best price and close are so many R in the trade's favour."""
    best_price = ENTRY + Decimal(best) * R * side.sign
    close_price = ENTRY + Decimal(close) * R * side.sign
    return Candle(
        open_time=open_time,
        open=close_price,
        high=max(best_price, close_price),
        low=min(best_price, close_price),
        close=close_price,
        volume=Decimal(1),
    )


def gained(side: Side, price: Decimal) -> Decimal:
    """Return where *price* stands, in R of gain."""
    return (price - ENTRY) * side.sign / R


BREAK_EVEN = {"break_even_after_r": Decimal(1)}
TRAILING = {"trailing": Trailing(after_r=Decimal(1), distance=R / 2)}
both_sides = pytest.mark.parametrize("side", list(Side))


@both_sides
def test_the_stop_goes_to_the_entry_after_enough_gain(side: Side) -> None:
    trade = open_trade(side, BREAK_EVEN)

    assert manage(trade, candle(side, "0.99", "0.9"), NOON + MINUTE) is None
    assert manage(trade, candle(side, "1", "0.9"), NOON + MINUTE) == StopMoved(
        price=ENTRY, reason="break_even", at=NOON + MINUTE
    )


@both_sides
def test_the_stop_trails_the_best_price(side: Side) -> None:
    trade = open_trade(side, TRAILING)

    move = manage(trade, candle(side, "2", "1.9"), NOON + MINUTE)

    assert isinstance(move, StopMoved)
    assert (gained(side, move.price), move.reason) == (Decimal("1.5"), "trailing")


@both_sides
def test_the_tighter_of_two_wishes_wins(side: Side) -> None:
    trade = open_trade(side, BREAK_EVEN | TRAILING)

    move = manage(trade, candle(side, "1.2", "1.1"), NOON + MINUTE)

    assert isinstance(move, StopMoved)
    assert (gained(side, move.price), move.reason) == (Decimal("0.7"), "trailing")


@both_sides
def test_a_stop_is_not_moved_by_next_to_nothing(side: Side) -> None:
    stop = ENTRY + Decimal("1.5") * R * side.sign
    trade = open_trade(side, TRAILING, wanted_stop=stop)

    assert manage(trade, candle(side, "2.049", "2"), NOON + MINUTE) is None
    assert manage(trade, candle(side, "2.05", "2"), NOON + MINUTE) is not None


@both_sides
def test_a_price_that_fell_back_through_the_new_stop_leaves_at_once(side: Side) -> None:
    trade = open_trade(side, TRAILING)

    leave = manage(trade, candle(side, "2", "1.4"), NOON + MINUTE)

    assert isinstance(leave, ExitRequested)
    assert leave.reason is ExitReason.STOP_PASSED


@both_sides
def test_prices_from_before_the_trade_move_no_stop(side: Side) -> None:
    trade = open_trade(side, {"trailing": Trailing(after_r=Decimal(0), distance=R / 2)})
    earlier = candle(side, "3", "0.2", open_time=NOON - MINUTE / 2)

    move = manage(trade, earlier, NOON + MINUTE / 2)

    assert isinstance(move, StopMoved)
    assert gained(side, move.price) == Decimal("-0.3")


@both_sides
def test_time_is_up_after_the_last_candle(side: Side) -> None:
    trade = open_trade(side, {"max_candles": 4})
    quiet = candle(side, "0", "0")

    assert manage(trade, quiet, NOON + timedelta(minutes=59)) is None
    leave = manage(trade, quiet, NOON + timedelta(minutes=60))
    assert isinstance(leave, ExitRequested)
    assert (leave.reason, leave.note) == (ExitReason.TIME_STOP, "4 candles")


@both_sides
def test_a_stop_is_rounded_away_from_the_price(side: Side) -> None:
    trade = open_trade(side, {"trailing": Trailing(after_r=Decimal(1), distance=Decimal("250.3"))})

    move = manage(trade, candle(side, "2", "1.9"), NOON + MINUTE)

    assert isinstance(move, StopMoved)
    assert abs(move.price - (ENTRY + 2 * R * side.sign)) == Decimal("250.5")


@pytest.mark.parametrize("state", sorted(set(TradeState) - {TradeState.OPEN}))
def test_only_an_open_trade_is_managed(state: TradeState) -> None:
    trade = open_trade(Side.BUY, BREAK_EVEN | {"max_candles": 1}, state=state)

    assert manage(trade, candle(Side.BUY, "5", "5"), NOON + timedelta(days=1)) is None


def test_a_candle_that_closed_before_the_fill_says_nothing() -> None:
    trade = open_trade(Side.BUY, BREAK_EVEN)

    assert manage(trade, candle(Side.BUY, "5", "5", NOON - MINUTE), NOON) is None


# --- entries that wait ----------------------------------------------------------------------------

UNTIL = NOON + 5 * MINUTE


def resting_trade(side: Side, **changes: Any) -> Trade:
    plan = make_plan(side, {}, entry=LimitEntry(rest_until=UNTIL), **changes)
    return Trade(plan=plan).after(Started()).after(EntryPlaced(order_id="o1"))


@both_sides
def test_an_entry_waits_until_its_time_is_over(side: Side) -> None:
    trade, quiet = resting_trade(side), candle(side, "0.5", "0.5")

    assert manage(trade, quiet, UNTIL - MINUTE) is None
    assert manage(trade, quiet, UNTIL) == EntryExpired(reason="not filled until 12:05 UTC")


@both_sides
def test_an_entry_is_missed_when_the_market_reaches_its_first_goal_without_it(side: Side) -> None:
    goal = ENTRY + R * side.sign
    last = ENTRY + 2 * R * side.sign
    targets = (Target(price=goal, fraction=Decimal("0.5")),)
    with_target = resting_trade(side, targets=targets, take_profit=last)
    without_target = resting_trade(side, take_profit=last)
    reached = candle(side, "1", "0.5")

    assert isinstance(manage(with_target, reached, NOON + MINUTE), EntryExpired)
    assert manage(without_target, reached, NOON + MINUTE) is None
    # What happened before the signal is not missed
    before = candle(side, "1", "0.5", open_time=NOON - MINUTE)
    assert manage(with_target, before, NOON) is None


@both_sides
def test_an_expired_entry_whose_end_nobody_told_of_is_asked_for(side: Side) -> None:
    expired = resting_trade(side).after(EntryExpired(reason="late"))
    quiet = candle(side, "0.5", "0.5")

    assert isinstance(manage(expired, quiet, UNTIL), RecheckRequested)
    assert manage(expired.after(EntryEnded()), quiet, UNTIL) is None


@both_sides
def test_an_entry_at_market_never_expires_here(side: Side) -> None:
    trade = Trade(plan=make_plan(side, {}, entry=MarketEntry())).after(Started())

    assert manage(trade.after(EntryPlaced(order_id="o1")), candle(side, "9", "9"), UNTIL) is None


# --- churn ----------------------------------------------------------------------------------------


@both_sides
def test_a_stop_rests_for_a_minute_however_far_the_market_runs(side: Side) -> None:
    """C3: the stop was cancelled and posted again 175 times in 14 minutes."""
    trade = open_trade(side, TRAILING)
    moves = []

    for half_minutes in range(2, 30):
        now = NOON + half_minutes * MINUTE / 2
        gain = str(Decimal(half_minutes))
        wish = manage(trade, candle(side, gain, gain), now)
        if wish is not None:
            moves.append(now)
            trade = trade.after(wish)

    assert moves == [NOON + minutes * MINUTE for minutes in range(1, 15)]


@both_sides
def test_a_stop_that_the_exchange_trails_is_left_to_it_until_it_refuses(side: Side) -> None:
    trailing = Trailing(after_r=Decimal(1), distance=R / 2, by=TrailedBy.EXCHANGE)
    trade = open_trade(side, {"trailing": trailing})
    risen = candle(side, "2", "1.9")

    assert manage(trade.after(TrailingSet()), risen, NOON + MINUTE) is None
    refused = trade.after(TrailingRefused(reason="passed"))
    assert isinstance(manage(refused, risen, NOON + MINUTE), StopMoved)


rs = st.decimals(min_value="-1.5", max_value=5, places=3).map(str)


@given(rs, rs, st.decimals(min_value="-1", max_value=3, places=2))
def test_long_and_short_are_mirrored_and_stops_only_tighten(
    best: str, close: str, stop: Decimal
) -> None:
    wishes = {}
    for side in Side:
        wanted = ENTRY + stop * R * side.sign
        trade = open_trade(side, BREAK_EVEN | TRAILING, wanted_stop=wanted)
        wish = manage(trade, candle(side, best, close), NOON + MINUTE)
        if isinstance(wish, StopMoved):
            assert (wish.price - wanted) * side.sign >= MIN_STOP_STEP_R * R
            assert trade.after(wish).wanted_stop == wish.price
            wishes[side] = (wish.reason, gained(side, wish.price))
        else:
            wishes[side] = (wish.reason if wish else "", Decimal(0))

    assert wishes[Side.BUY] == wishes[Side.SELL]


@given(
    st.sampled_from(Side),
    st.lists(st.tuples(rs, rs), min_size=1, max_size=20),
    st.decimals(min_value="0.01", max_value=3, places=2),
)
def test_a_managed_stop_never_loosens_and_never_stands_beyond_the_price(
    side: Side, market: list[tuple[str, str]], distance: Decimal
) -> None:
    trailing = Trailing(after_r=Decimal("0.3"), distance=distance * R)
    trade = open_trade(side, BREAK_EVEN | {"trailing": trailing})
    stops, moved_at = [trade.plan.stop_loss], NOON

    for minute, (best, close) in enumerate(market, start=1):
        now = NOON + minute * MINUTE
        closed = candle(side, best, close, open_time=now - MINUTE)
        wish = manage(trade, closed, now)
        if not isinstance(wish, StopMoved):
            continue
        assert (closed.close - wish.price) * side.sign > 0
        assert (wish.price - stops[-1]) * side.sign >= MIN_STOP_STEP_R * R
        assert now - moved_at >= MINUTE
        trade, moved_at = trade.after(wish), now
        stops.append(wish.price)
