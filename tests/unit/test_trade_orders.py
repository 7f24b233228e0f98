"""Lives of trades that wait for their price, take targets, and trail at the exchange."""

from decimal import Decimal

import pytest

from tests.unit.life import OPENED, S, after, at, fill, make_plan, read
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, LimitEntry, Target, TradePlan, TrailedBy, Trailing
from tradewright.domain.trade import (
    Abandoned,
    Command,
    EntryEnded,
    EntryExpired,
    EntryPlaced,
    ExitRequested,
    ExitSent,
    Funded,
    Started,
    StopConfirmed,
    StopKept,
    StopLost,
    StopMoved,
    TargetsPlaced,
    Trade,
    TrailingRefused,
    TrailingSet,
    due,
)

TRADE_ID = "tw" + "a" * 16
SEEN = StopConfirmed(price=Decimal(49_500))
LIMIT = LimitEntry(rest_until=at(50))
RESTING = (Started(), EntryPlaced(order_id="o"))


def trade_of(plan: TradePlan) -> Trade:
    return Trade(plan=plan)


def limit_trade(**changes: object) -> Trade:
    return trade_of(make_plan(entry=LIMIT, **changes))


def target_trade(*fractions: str, **rules: object) -> Trade:
    targets = tuple(
        Target(price=Decimal(50_500 + 500 * n), fraction=Decimal(fraction))
        for n, fraction in enumerate(fractions)
    )
    return trade_of(
        make_plan(
            targets=targets,
            take_profit=Decimal(52_000),
            exits=ExitRules.model_validate({"timeframe": Timeframe.M1} | rules),
        )
    )


def placed(trade: Trade) -> Trade:
    return trade.after(TargetsPlaced(orders=trade.target_orders(trade.next_leg)))


# --- limit entries --------------------------------------------------------------------------------


def test_an_entry_that_waits_is_resting_until_it_fills_or_ends() -> None:
    resting = after(*RESTING, trade=limit_trade())

    assert resting.is_resting
    assert not after(fill(1), trade=resting).is_resting
    assert not after(EntryEnded(), trade=resting).is_resting
    assert not after(*RESTING).is_resting


def test_an_entry_that_waited_long_enough_is_cancelled_once() -> None:
    resting = after(*RESTING, trade=limit_trade())

    expired = resting.after(EntryExpired(reason="not filled until 12:00 UTC"))
    ended = after(EntryEnded(reason="CancelByUser"), read(), trade=expired)

    assert (expired.state, due(resting, expired)) == (S.ENTERING, (Command.CANCEL_ENTRY,))
    assert due(expired, expired.after(EntryExpired(reason="again"))) == ()
    assert (ended.state, ended.exit_note) == (S.CANCELLED, "not filled until 12:00 UTC")


def test_an_expiry_that_nobody_told_of_is_seen_by_the_next_look() -> None:
    resting = after(*RESTING, trade=limit_trade())

    early, late = resting.after(read(second=49)), resting.after(read(second=50))

    assert (early.entry_expired, due(resting, early)) == (False, ())
    assert (late.entry_expired, due(resting, late)) == (True, (Command.CANCEL_ENTRY,))


def test_an_expiry_that_overtakes_the_answer_cancels_when_the_order_is_known() -> None:
    told = after(Started(), EntryExpired(reason="late"), trade=limit_trade())

    known = told.after(EntryPlaced(order_id="o"))

    assert due(told, known) == (Command.CANCEL_ENTRY,)


def test_a_fill_that_overtakes_its_cancel_is_a_trade_like_any() -> None:
    expired = after(*RESTING, EntryExpired(reason="late"), trade=limit_trade())

    part = expired.after(fill(1, qty="0.04"))
    ended = part.after(EntryEnded(reason="CancelByUser"))

    assert (part.state, due(expired, part)) == (S.OPEN, (Command.VERIFY_STOP,))
    assert (ended.state, ended.entry_qty) == (S.OPEN, Decimal("0.04"))


def test_what_is_left_of_an_entry_is_cancelled_when_a_part_leaves() -> None:
    part = after(*RESTING, fill(1, qty="0.06"), SEEN, trade=limit_trade())

    less = part.after(fill(2, Side.SELL, qty="0.02"))

    assert due(part, less) == (Command.VERIFY_STOP, Command.CANCEL_ENTRY)


def test_what_is_left_of_an_entry_is_cancelled_by_what_settles_the_trade() -> None:
    part = after(*RESTING, fill(1, qty="0.06"), trade=limit_trade())

    stopped = part.after(fill(2, Side.SELL, qty="0.06", cause=ExitReason.STOP))

    # A cancel of its own would wait for word of an order that perhaps never landed
    assert due(part, stopped) == (Command.SETTLE,)


def test_an_entry_at_market_is_never_cancelled() -> None:
    part = after(*RESTING, fill(1, qty="0.06"))

    less = part.after(fill(2, Side.SELL, qty="0.02"))

    assert due(part, less) == (Command.VERIFY_STOP,)


# --- targets --------------------------------------------------------------------------------------


def test_targets_are_placed_once_the_stop_is_seen_and_the_entry_is_over() -> None:
    opened = after(*OPENED, trade=target_trade("0.3", "0.5"))

    seen = opened.after(SEEN)
    sent = placed(seen)

    assert due(opened, seen) == (Command.PLACE_TARGETS,)
    assert [(o.order_link_id, o.price, o.qty) for o in sent.targets] == [
        (f"{TRADE_ID}-t2", Decimal(50_500), Decimal("0.03")),
        (f"{TRADE_ID}-t3", Decimal(51_000), Decimal("0.05")),
    ]
    assert sent.next_leg == 4
    assert due(seen, sent) == ()


def test_a_second_answer_about_targets_changes_nothing() -> None:
    sent = placed(after(*OPENED, SEEN, trade=target_trade("0.3")))

    again = sent.after(TargetsPlaced(orders=sent.target_orders(sent.next_leg)))

    assert again == sent


def test_no_targets_are_placed_while_the_entry_may_still_fill() -> None:
    part = after(*RESTING, fill(1, qty="0.06"), trade=target_trade("0.5"))

    seen = part.after(SEEN)
    over = seen.after(EntryEnded())

    assert due(part, seen) == ()
    assert due(seen, over) == (Command.PLACE_TARGETS,)
    assert [o.qty for o in over.target_orders(2)] == [Decimal("0.03")]


def test_a_part_too_small_to_trade_is_left_to_the_take_profit() -> None:
    trade = after(Started(), fill(1, qty="0.003"), trade=target_trade("0.3", "0.4"))

    assert [(o.price, o.qty) for o in trade.target_orders(2)] == [
        (Decimal(51_000), Decimal("0.001"))
    ]


def test_a_target_takes_its_part_and_leaves_the_rest_open() -> None:
    trade = placed(after(*OPENED, SEEN, trade=target_trade("0.3")))

    taken = trade.after(fill(2, Side.SELL, qty="0.03", order_link_id=f"{TRADE_ID}-t2"))
    misread = after(read(), read("0.07"), trade=taken)

    assert (taken.state, taken.exit_reason) == (S.OPEN, ExitReason.TARGET)
    assert due(trade, taken) == (Command.VERIFY_STOP,)
    # A read that lags flattens nothing
    assert misread.state is S.OPEN


@pytest.mark.parametrize(
    "cause", [ExitReason.STOP, ExitReason.TARGET, ExitReason.LIQUIDATION, ExitReason.KILL_SWITCH]
)
def test_what_the_exchange_closes_in_part_is_closed_whole(cause: ExitReason) -> None:
    """D2: a stop that fills in part leaves nothing behind."""
    opened = after(*OPENED, SEEN)

    part = opened.after(fill(2, Side.SELL, qty="0.06", cause=cause))
    held = part.after(read("0.04"))

    assert (part.state, due(opened, part)) == (S.SETTLING, (Command.SETTLE,))
    assert (held.state, due(part, held)) == (S.EXITING, (Command.FLATTEN,))
    assert held.exit_reason is cause


def test_a_stop_that_overtakes_a_part_of_its_entry_closes_the_rest() -> None:
    trade = after(*RESTING, fill(2, Side.SELL, qty="0.04", cause=ExitReason.STOP), fill(1))

    assert (trade.state, trade.open_qty) == (S.SETTLING, Decimal("0.06"))


def test_a_trade_with_dust_left_closes_only_when_the_exchange_says_flat() -> None:
    """D3: 1.15 of 1.17 contracts closed."""
    left = after(
        *OPENED, ExitRequested(), ExitSent(order_link_id="x"), fill(2, Side.SELL, qty="0.099")
    )

    again = left.after(read("0.001"))
    done = after(ExitSent(order_link_id="x3"), fill(3, Side.SELL, qty="0.001"), read(), trade=again)

    assert (again.state, due(left, again)) == (S.EXITING, (Command.FLATTEN,))
    assert (done.state, done.open_qty) == (S.CLOSED, Decimal(0))


def test_the_stop_goes_to_the_entry_when_enough_targets_were_reached() -> None:
    trade = placed(after(*OPENED, SEEN, trade=target_trade("0.3", break_even_after_target=1)))

    part = trade.after(fill(2, Side.SELL, qty="0.02", order_link_id=f"{TRADE_ID}-t2"))
    whole = part.after(fill(3, Side.SELL, qty="0.01", order_link_id=f"{TRADE_ID}-t2"))

    assert [part.wanted_stop, whole.wanted_stop] == [49_500, trade.entry_price]
    assert due(part, whole) == (Command.SET_STOP,)


def test_a_target_that_fills_before_the_answer_counts() -> None:
    opened = after(*OPENED, SEEN, trade=target_trade("0.3", break_even_after_target=1))

    filled = opened.after(fill(2, Side.SELL, qty="0.03", order_link_id=f"{TRADE_ID}-t2"))
    known = filled.after(TargetsPlaced(orders=opened.target_orders(2)))

    assert filled.exit_reason is ExitReason.TARGET
    assert known.wanted_stop == opened.entry_price
    assert due(filled, known) == (Command.SET_STOP,)


def test_a_target_that_fills_while_leaving_does_not_change_the_reason() -> None:
    trade = placed(after(*OPENED, SEEN, trade=target_trade("0.3")))

    left = after(
        ExitRequested(reason=ExitReason.TIME_STOP),
        fill(2, Side.SELL, qty="0.03", order_link_id=f"{TRADE_ID}-t2"),
        trade=trade,
    )

    assert left.exit_reason is ExitReason.TIME_STOP


# --- stops ----------------------------------------------------------------------------------------


def test_a_stop_is_amended_in_place_and_never_taken_away_first() -> None:
    """C4: cancel the old one, create the new one: nothing protects in between."""
    seen = after(*OPENED, SEEN)

    moved = seen.after(StopMoved(price=Decimal(49_800), reason="trailing"))
    set_ = moved.after(StopConfirmed(price=Decimal(49_800)))

    assert due(seen, moved) == (Command.SET_STOP,)
    # The old one stands until the new one does
    assert [moved.stop, set_.stop] == [49_500, 49_800]
    assert not [command for command in Command if "cancel" in command and "stop" in command]


def test_a_wish_that_the_exchange_does_not_take_leaves_the_stop_where_it_was() -> None:
    wished = after(*OPENED, SEEN, StopMoved(price=Decimal(50_400), reason="operator", by="ann"))

    kept = wished.after(StopKept(price=Decimal(49_500), reason="passed"))

    assert (wished.stop_wished_by, kept.stop_wished_by) == ("ann", "")
    assert (kept.state, kept.wanted_stop, due(wished, kept)) == (S.OPEN, Decimal(49_500), ())


def test_a_stop_that_somebody_tightened_at_the_exchange_is_not_loosened() -> None:
    trade = after(*OPENED, StopConfirmed(price=Decimal(49_800)))

    moved = trade.after(StopMoved(price=Decimal(49_700), reason="trailing"))

    assert (moved.wanted_stop, due(trade, moved)) == (Decimal(49_800), ())


# --- trailing at the exchange ---------------------------------------------------------------------

FOLLOWING = ExitRules(
    timeframe=Timeframe.M1,
    trailing=Trailing(after_r=Decimal(1), distance=Decimal(200), by=TrailedBy.EXCHANGE),
)


def test_the_exchange_trails_from_the_gain_that_was_declared() -> None:
    opened = after(*OPENED, trade=trade_of(make_plan(exits=FOLLOWING)))

    seen = opened.after(SEEN)
    follows = seen.after(TrailingSet())

    assert due(opened, seen) == (Command.SET_TRAILING,)
    assert seen.trailing_from == Decimal(50_600)
    assert (follows.trailed_by, due(seen, follows)) == (TrailedBy.EXCHANGE, ())


def test_what_the_exchange_does_not_trail_is_trailed_by_candles() -> None:
    trade = after(
        *OPENED,
        SEEN,
        TrailingRefused(reason="passed"),
        trade=trade_of(make_plan(exits=FOLLOWING)),
    )

    assert trade.trailed_by is TrailedBy.CANDLE


def test_a_lost_stop_takes_the_trailing_along() -> None:
    follows = after(*OPENED, SEEN, TrailingSet(), trade=trade_of(make_plan(exits=FOLLOWING)))

    lost = follows.after(StopLost())
    back = lost.after(SEEN)

    assert due(follows, lost) == (Command.SET_STOP,)
    assert due(lost, back) == (Command.SET_TRAILING,)


# --- funding, giving up ---------------------------------------------------------------------------


def test_funding_counts_once_and_is_part_of_what_was_earned() -> None:
    paid = Funded(exec_id="f1", amount=Decimal("-0.7"), at=at(5))

    trade = after(*OPENED, paid, paid, fill(2, Side.SELL))

    assert trade.pnl == Decimal("0.1") * 100 - 1 - Decimal("0.7")


def test_a_trade_that_is_given_up_waits_for_the_exchange_to_say_flat() -> None:
    opened = after(*OPENED)

    given_up = opened.after(Abandoned(by="ann"))
    flat, held = given_up.after(read()), given_up.after(read("0.1"))

    assert (given_up.state, due(opened, given_up)) == (S.SETTLING, (Command.SETTLE,))
    assert (flat.state, flat.exit_reason, flat.exit_by) == (S.CLOSED, ExitReason.ABANDONED, "ann")
    assert (held.state, due(given_up, held)) == (S.EXITING, (Command.FLATTEN,))


def test_an_exit_that_is_answered_after_the_trade_was_given_up_is_counted() -> None:
    trade = after(*OPENED, ExitRequested(), Abandoned(by="ann"), ExitSent(order_link_id="x2"))

    assert (trade.state, trade.exit_links) == (S.SETTLING, ("x2",))
