"""The transition table of a trade, and what follows from it."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import get_args

import pytest

from tests.unit.life import ENTERED, NOON, OPENED, S, T, after, at, fill, make_plan, read
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.trade import (
    FINAL,
    IMPOSSIBLE,
    TRANSITIONS,
    Adopted,
    Command,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    ExitRequested,
    ExitSent,
    RecheckRequested,
    Started,
    StopConfirmed,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    Trade,
    TradeEvent,
    TradeState,
    Trigger,
    due,
)

# --- the table ------------------------------------------------------------------------------------


def test_every_trigger_in_every_state_is_decided() -> None:
    assert TRANSITIONS.keys() | IMPOSSIBLE == set(product(TradeState, Trigger))
    assert not TRANSITIONS.keys() & IMPOSSIBLE


def test_every_event_has_its_trigger() -> None:
    kinds = {get_args(event.model_fields["kind"].annotation)[0] for event in EVENTS}

    assert kinds - {"executed", "position_read"} == {
        *Trigger,
    } - {
        *(T.ENTRY_FILLED, T.EXIT_FILLED, T.CLOSED_BY_FILL),
        *(T.POSITION_FLAT, T.POSITION_HELD, T.POSITION_KEPT, T.SETTLED),
    }


EVENTS = get_args(get_args(TradeEvent)[0])


@pytest.mark.parametrize("state", sorted(FINAL))
def test_final_states_are_left_by_nothing(state: TradeState) -> None:
    assert {TRANSITIONS[state, trigger] for trigger in Trigger} == {state}


def test_only_the_exchange_says_that_a_trade_is_closed() -> None:
    closing = {
        trigger for (state, trigger), then in TRANSITIONS.items() if then is S.CLOSED != state
    }

    assert closing == {T.SETTLED}


def test_a_read_that_is_older_than_what_it_would_settle_closes_nothing() -> None:
    stopped = after(*OPENED, fill(2, Side.SELL, cause=ExitReason.STOP))
    assert stopped.state is S.SETTLING

    stale = stopped.after(read(settled=False))

    assert stale.state is S.SETTLING
    assert due(stopped, stale) == ()
    assert stale.after(read()).state is S.CLOSED


def test_a_trade_that_settles_is_settled_again_when_nothing_is_heard() -> None:
    settling = after(*OPENED, fill(2, Side.SELL, cause=ExitReason.STOP))

    asked = settling.after(RecheckRequested(reason="nothing was heard of"))

    assert due(settling, asked) == (Command.SETTLE,)


def test_a_fill_that_may_bring_its_own_stop_along_lets_the_moved_one_be_read() -> None:
    part = after(*ENTERED, fill(1, qty="0.04"), StopConfirmed(price=Decimal(49_500)))
    moved = after(
        StopMoved(price=Decimal(49_900), reason="trailing"),
        StopConfirmed(price=Decimal(49_900)),
        trade=part,
    )

    assert due(part, part.after(fill(2, qty="0.06"))) == ()
    assert due(moved, moved.after(fill(2, qty="0.06"))) == (Command.VERIFY_STOP,)


def test_nothing_comes_before_the_start() -> None:
    with pytest.raises(IllegalTransition, match="state pending cannot take event entry_placed"):
        Trade(plan=make_plan()).after(EntryPlaced(order_id="o"))


# --- lives ----------------------------------------------------------------------------------------


def test_a_trade_runs_from_its_plan_to_flat() -> None:
    trade = after(
        *OPENED,
        StopConfirmed(price=Decimal(49_500)),
        fill(2, Side.SELL, cause=ExitReason.STOP),
        read(),
    )

    assert (trade.state, trade.exit_reason) == (S.CLOSED, ExitReason.STOP)
    assert (trade.opened_at, trade.closed_at) == (at(1), at(2))
    assert [trade.entry_price, trade.exit_price, trade.open_qty] == [50_100, 50_200, 0]
    assert trade.pnl == Decimal("0.1") * 100 - 1
    assert trade.r_multiple == trade.pnl / 50


def test_a_short_earns_when_the_price_falls() -> None:
    short = Trade(plan=make_plan(side=Side.SELL, stop_loss=Decimal(50_500)))

    trade = after(
        *ENTERED, fill(2, Side.SELL), fill(1, Side.BUY, cause=ExitReason.TARGET), trade=short
    )

    assert trade.pnl == Decimal("0.1") * 100 - 1


def test_an_execution_counts_once() -> None:
    trade = after(*OPENED, fill(1), fill(1, price=Decimal(1)))

    assert [trade.entry_qty, trade.entry_price, trade.fees] == [
        *(Decimal("0.1"), Decimal(50_100), Decimal("0.5")),
    ]


def test_fills_in_the_wrong_order_open_at_the_earliest_and_close_at_the_latest() -> None:
    trade = after(
        *ENTERED,
        fill(3, qty="0.05"),
        fill(2, qty="0.05"),
        fill(6, Side.SELL, qty="0.05"),
        fill(5, Side.SELL, qty="0.05"),
        read(),
    )

    assert (trade.opened_at, trade.closed_at) == (at(2), at(6))


def test_the_stop_that_overtakes_its_entry_ends_the_trade() -> None:
    trade = after(*ENTERED, fill(2, Side.SELL, cause=ExitReason.STOP), fill(1))

    assert (trade.state, trade.exit_reason) == (S.SETTLING, ExitReason.STOP)


def test_an_entry_that_ended_without_a_fill_is_cancelled() -> None:
    trade = after(*ENTERED, EntryEnded(reason="CancelByUser"), read())

    assert (trade.state, trade.exit_note, trade.closed_at) == (
        *(S.CANCELLED, "CancelByUser", at(59)),
    )
    assert trade.pnl == 0


def test_an_entry_whose_end_overtakes_its_fill_stays_open() -> None:
    steps = [after(*ENTERED, EntryEnded(reason="PartiallyFilledCanceled"))]
    steps.append(steps[-1].after(fill(1, qty="0.04")))
    steps.append(steps[-1].after(read("0.04")))

    assert [step.state for step in steps] == [S.SETTLING, S.SETTLING, S.OPEN]
    assert due(steps[1], steps[2]) == (Command.VERIFY_STOP,)


def test_a_position_that_only_seemed_flat_stays_open() -> None:
    trade = after(*OPENED, read(), read("0.1"))

    assert (trade.state, trade.exit_reason, trade.closed_at) == (S.OPEN, None, None)


def test_what_is_still_held_after_an_exit_is_flattened_again() -> None:
    trade = after(*OPENED, ExitRequested(), ExitSent(order_link_id="x1"))

    again = trade.after(read("0.05"))

    assert (trade.state, again.state) == (S.SETTLING, S.EXITING)
    assert due(trade, again) == (Command.FLATTEN,)


def test_a_flat_read_before_the_fill_says_nothing_about_the_close() -> None:
    trade = after(*ENTERED, read(second=0), fill(1))

    assert (trade.state, trade.closed_at) == (S.OPEN, None)


def test_a_rejected_entry_that_is_left_meanwhile_ends_rejected() -> None:
    trade = after(
        Started(),
        ExitRequested(reason=ExitReason.CANCELLED),
        EntryRejected(code="expired", reason="late"),
        ExitSent(),
        read(),
    )

    assert (trade.state, trade.rejection) == (S.REJECTED, "expired: late")


def test_the_first_reason_to_leave_stands() -> None:
    trade = after(
        *OPENED,
        ExitRequested(reason=ExitReason.TIME_STOP, note="96 candles", by="manage"),
        ExitRequested(reason=ExitReason.OPERATOR, note="me too", by="ann"),
        StopMissing(),
    )

    assert (trade.exit_reason, trade.exit_note, trade.exit_by) == (
        *(ExitReason.TIME_STOP, "96 candles", "manage"),
    )


def test_a_part_closed_by_hand_does_not_name_the_reason_of_the_rest() -> None:
    part = after(*OPENED, fill(2, Side.SELL, qty="0.04"))

    left = after(ExitRequested(reason=ExitReason.TIME_STOP), trade=part)
    stopped = after(fill(3, Side.SELL, qty="0.06", cause=ExitReason.STOP), trade=part)

    assert (part.state, part.exit_reason) == (S.OPEN, ExitReason.BY_HAND)
    assert left.exit_reason is ExitReason.TIME_STOP
    assert stopped.exit_reason is ExitReason.STOP


def test_our_own_exit_keeps_the_reason_of_its_wish() -> None:
    trade = after(
        *OPENED,
        ExitRequested(reason=ExitReason.OPERATOR),
        ExitSent(order_link_id="x1"),
        fill(2, Side.SELL, order_link_id="x1"),
    )

    assert trade.exit_reason is ExitReason.OPERATOR


def test_executions_from_before_an_adoption_are_not_counted() -> None:
    plan = make_plan(origin=Origin.ADOPTED)
    adopted = Adopted(qty=Decimal("0.1"), price=Decimal(50_000), at=at(10))

    trade = after(adopted, fill(9), fill(11, qty="0.05"), trade=Trade(plan=plan))

    assert (trade.entry_qty, trade.opened_at) == (Decimal("0.15"), at(10))


def test_a_stop_tightens_and_never_loosens() -> None:
    trade = after(
        *OPENED,
        StopMoved(price=Decimal(49_600), reason="trailing"),
        StopMoved(price=Decimal(49_550), reason="trailing"),
        StopMoved(price=Decimal(49_600), reason="trailing"),
    )

    assert [trade.wanted_stop, trade.stops_set] == [49_600, 1]


def test_a_stop_is_not_moved_before_there_is_a_position() -> None:
    trade = after(*ENTERED, StopMoved(price=Decimal(49_600), reason="trailing"), fill(1))

    assert [trade.wanted_stop, trade.stops_set] == [49_500, 0]


def test_a_lost_stop_is_asked_for_where_it_was() -> None:
    before = after(*OPENED, StopMoved(price=Decimal(49_600), reason="trailing"))

    trade = before.after(StopLost())

    assert [trade.stop, trade.wanted_stop] == [None, 49_600]
    assert due(before, trade) == (Command.SET_STOP,)


# --- what is due ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "event", "command"),
    [
        ((), Started(), Command.PLACE_ENTRY),
        (ENTERED, fill(1), Command.VERIFY_STOP),
        (ENTERED, EntryEnded(), Command.SETTLE),
        (ENTERED, RecheckRequested(), Command.LOOK_UP),
        (ENTERED, EntryRejected(code="c", reason="r"), None),
        (ENTERED, read(), None),
        (OPENED, fill(2), None),
        (OPENED, StopConfirmed(price=Decimal(49_500)), None),
        # It was moved behind our back
        (OPENED, StopConfirmed(price=Decimal(49_400)), Command.SET_STOP),
        (OPENED, StopConfirmed(price=Decimal(49_600)), None),
        (OPENED, StopMissing(), Command.FLATTEN),
        (OPENED, StopRefused(reason="passed"), Command.FLATTEN),
        (OPENED, StopMoved(price=Decimal(49_600), reason="r"), Command.SET_STOP),
        (OPENED, StopMoved(price=Decimal(49_400), reason="r"), None),
        (OPENED, ExitRequested(), Command.FLATTEN),
        (OPENED, RecheckRequested(), Command.LOOK_UP),
        (OPENED, read(), Command.SETTLE),
        (OPENED, read("0.1"), None),
        (OPENED, fill(2, Side.SELL), Command.SETTLE),
        # A reduction may have taken the stop along
        ((*OPENED, fill(2)), fill(3, Side.SELL), Command.VERIFY_STOP),
        ((*OPENED, ExitRequested()), ExitRequested(), None),
        ((*OPENED, ExitRequested()), fill(2, Side.SELL), None),
        ((*OPENED, ExitRequested()), ExitSent(), Command.SETTLE),
        ((*OPENED, read()), read(), None),
    ],
)
def test_each_step_calls_for_its_command(
    before: Iterable[TradeEvent], event: TradeEvent, command: Command | None
) -> None:
    trade = after(*before)

    assert due(trade, trade.after(event)) == ((command,) if command else ())


def test_an_adopted_position_gets_its_stop_first() -> None:
    trade = Trade(plan=make_plan(origin=Origin.ADOPTED))
    adopted = Adopted(qty=Decimal("0.1"), price=Decimal(50_000), at=NOON)

    assert due(trade, trade.after(adopted)) == (Command.SET_STOP,)


# --- figures --------------------------------------------------------------------------------------


def test_a_trade_that_closed_nothing_has_paid_its_fees() -> None:
    assert after(*OPENED).pnl == Decimal("-0.5")
    assert after(*ENTERED).exit_price is None


def test_the_age_is_market_time_since_the_first_fill() -> None:
    assert after(*OPENED).age(at(61)) == 60
    assert after(*ENTERED).age(at(61)) == 0


def test_a_plan_without_risk_has_no_multiple() -> None:
    plan = make_plan(stop_loss=Decimal(50_000))

    assert after(*OPENED, trade=Trade(plan=plan)).r_multiple is None
