"""A trade is moved to the exits of another version: what follows, and what cannot be moved."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.life import NOON, S, after, at, fill, make_plan
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.exits import manage
from tradewright.domain.market import Candle, Side, Timeframe
from tradewright.domain.plan import ExitRules, Target, TradePlan, TrailedBy, Trailing
from tradewright.domain.trade import (
    Command,
    EntryPlaced,
    ExitRequested,
    Migrated,
    Started,
    StopConfirmed,
    StopMoved,
    TargetOrder,
    TargetsPlaced,
    Trade,
    TrailingRefused,
    TrailingSet,
    due,
)

GOAL = Target(price=Decimal(50_500), fraction=Decimal("0.5"))
FOLLOW = Trailing(after_r=Decimal(1), distance=Decimal(200), by=TrailedBy.EXCHANGE)


def opened(**changes: Any) -> Trade:
    """Return a trade that was filled and whose stop is seen at the exchange."""
    trade = Trade(plan=make_plan(**changes))
    entry = (Started(), EntryPlaced(order_id="o1"), fill(1, price=Decimal(50_000)))
    return after(*entry, StopConfirmed(price=Decimal(49_500)), trade=trade)


def move(rules: dict[str, Any] | None = None, **changes: Any) -> Migrated:
    exits = ExitRules(timeframe=Timeframe.M1, **(rules or {}))
    fields = {"preset_hash": "beef", "exits": exits, "by": "ann", "reason": "calmer"}
    return Migrated.model_validate(fields | changes)


def exits_of(plan: TradePlan) -> ExitRules:
    return plan.exits


def test_a_moved_trade_has_the_other_exits_and_keeps_all_else() -> None:
    before = opened()

    trade = before.after(move({"max_candles": 5, "break_even_after_r": Decimal(1)}))

    assert trade.plan.preset_hash == "beef"
    assert exits_of(trade.plan).max_candles == 5
    kept = before.plan.model_copy(update={"preset_hash": "beef", "exits": trade.plan.exits})
    assert trade.plan == kept
    assert (trade.state, trade.stop, trade.wanted_stop) == (S.OPEN, before.stop, before.wanted_stop)
    (moved,) = trade.migrations
    assert (moved.from_hash, moved.preset_hash, moved.by) == ("c0ffee", "beef", "ann")
    assert due(before, trade) == ()


def test_it_is_managed_by_the_other_exits_from_the_next_candle_on() -> None:
    trade = opened().after(move({"max_candles": 3}))
    candle = Candle(
        open_time=at(120),
        open=Decimal(50_000),
        high=Decimal(50_010),
        low=Decimal(49_990),
        close=Decimal(50_000),
        volume=Decimal(1),
    )

    found = manage(trade, candle, at(240))

    assert isinstance(found, ExitRequested)
    assert manage(opened(), candle, at(240)) is None


def test_a_stop_that_was_tightened_stays_where_it_is() -> None:
    tight = after(
        StopMoved(price=Decimal(49_900), reason="break_even"),
        StopConfirmed(price=Decimal(49_900)),
        trade=opened(),
    )

    trade = tight.after(move({"trailing": FOLLOW.model_copy(update={"by": TrailedBy.CANDLE})}))

    assert (trade.stop, trade.wanted_stop) == (Decimal(49_900), Decimal(49_900))


def test_what_the_exchange_is_to_do_now_is_asked_of_it() -> None:
    before = opened()

    trailed = before.after(move({"trailing": FOLLOW}))
    aimed = before.after(move(targets=(GOAL,)))

    assert due(before, trailed) == (Command.SET_TRAILING,)
    assert due(before, aimed) == (Command.PLACE_TARGETS,)


def test_an_exchange_that_refused_to_trail_is_asked_for_another_trailing_only() -> None:
    refused = opened(exits=ExitRules(timeframe=Timeframe.M1, trailing=FOLLOW)).after(
        TrailingRefused(reason="no")
    )

    same = refused.after(move({"trailing": FOLLOW}))
    other = refused.after(move({"trailing": FOLLOW.model_copy(update={"distance": Decimal(100)})}))

    assert due(refused, same) == ()
    assert due(refused, other) == (Command.SET_TRAILING,)


def placed() -> Trade:
    order = TargetOrder(
        order_link_id="tw" + "a" * 16 + "-t2", price=GOAL.price, qty=Decimal("0.05")
    )
    return opened(targets=(GOAL,)).after(TargetsPlaced(orders=(order,)))


def reached() -> Trade:
    link = "tw" + "a" * 16 + "-t2"
    return placed().after(fill(2, Side.SELL, "0.05", order_link_id=link))


def trailed() -> Trade:
    trade = opened(exits=ExitRules(timeframe=Timeframe.M1, trailing=FOLLOW))
    return trade.after(TrailingSet())


@pytest.mark.parametrize(
    ("trade", "event", "why"),
    [
        (opened(), move(preset_hash="c0ffee"), "has the exits of version c0ffee already"),
        (opened(), move(take_profit=Decimal(51_000)), "this version has others (51000)"),
        (placed(), move(), "its targets stand at the exchange (50500)"),
        (reached(), move(), "one of its targets was filled already"),
        (trailed(), move(), "the exchange trails its stop already"),
        (opened().after(ExitRequested()), move(), "the trade is exiting"),
        (Trade(plan=make_plan()), move(), "the trade is pending"),
    ],
)
def test_what_stands_at_the_exchange_is_not_moved(trade: Trade, event: Migrated, why: str) -> None:
    assert why in trade.migration_fault(event)
    if trade.state is not S.PENDING:
        assert trade.after(event) == trade


@pytest.mark.parametrize("trade", [placed(), reached(), trailed()])
def test_what_stands_at_the_exchange_may_be_kept(trade: Trade) -> None:
    kept = {"targets": trade.plan.targets, "take_profit": trade.plan.take_profit}

    event = move({"trailing": trade.plan.exits.trailing, "max_candles": 9}, **kept)

    assert trade.migration_fault(event) == ""
    moved = trade.after(event)
    assert (moved.plan.exits.max_candles, moved.trailed_by) == (9, trade.trailed_by)
    assert due(trade, moved) == ()


def test_an_entry_that_waits_is_not_moved() -> None:
    waiting = after(Started(), EntryPlaced(order_id="o1"), trade=Trade(plan=make_plan()))

    assert "the trade is entering" in waiting.migration_fault(move())
    with pytest.raises(IllegalTransition):
        waiting.after(move())


@given(
    stop=st.integers(min_value=49_400, max_value=49_990),
    break_even=st.none() | st.decimals("0.1", 3, places=1),
    distance=st.none() | st.integers(min_value=1, max_value=2000),
    low=st.integers(min_value=49_000, max_value=50_400),
    rise=st.integers(min_value=0, max_value=2000),
)
def test_no_migration_ever_loosens_a_stop(
    stop: int, break_even: Decimal | None, distance: int | None, low: int, rise: int
) -> None:
    tight = after(
        StopMoved(price=Decimal(stop), reason="operator", by="bea"),
        StopConfirmed(price=Decimal(max(stop, 49_500))),
        trade=opened(),
    )
    trailing = None
    if distance is not None:
        trailing = Trailing(after_r=Decimal(0), distance=Decimal(distance), by=TrailedBy.CANDLE)
    trade = tight.after(move({"break_even_after_r": break_even, "trailing": trailing}))
    candle = Candle(
        open_time=at(60),
        open=Decimal(low),
        high=Decimal(low + rise),
        low=Decimal(low),
        close=Decimal(low + rise),
        volume=Decimal(1),
    )

    found = manage(trade, candle, at(120))

    assert trade.wanted_stop == tight.wanted_stop
    if isinstance(found, StopMoved):
        assert trade.wanted_stop is not None
        assert found.price > trade.wanted_stop
    assert trade.plan.trigger == NOON


def test_targets_that_were_reached_before_the_move_secure_the_trade_as_well() -> None:
    before = reached()

    moved = before.after(move({"break_even_after_target": 1}, targets=(GOAL,)))

    assert before.wanted_stop == Decimal(49_500)
    assert moved.wanted_stop == Decimal(50_000)
    assert due(before, moved) == (Command.SET_STOP,)
