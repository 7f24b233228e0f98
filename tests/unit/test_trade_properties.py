"""Whatever happens to a trade, in whatever order: what must always hold."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.life import NOON, S, T, fill, make_plan, read
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import (
    IMPOSSIBLE,
    Adopted,
    Command,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    ExitRequested,
    ExitSent,
    PositionRead,
    RecheckRequested,
    Started,
    StopConfirmed,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    Trade,
    due,
)

prices = st.decimals(min_value=1, max_value=100_000, places=1)
quantities = st.sampled_from(["0.001", "0.05", "0.1", "0.3"])
moments = st.integers(0, 100)
events: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        fill,
        st.integers(1, 6),
        st.sampled_from(Side),
        quantities,
        cause=st.sampled_from([None, ExitReason.STOP, ExitReason.LIQUIDATION]),
    ),
    st.builds(read, st.sampled_from(["0", "0.05", "0.1"]), moments),
    st.builds(StopMoved, price=prices, reason=st.just("trailing")),
    st.builds(StopConfirmed, price=prices),
    st.builds(ExitSent, order_link_id=st.sampled_from(["", "x1", "x2"])),
    st.sampled_from(
        [
            Started(),
            Adopted(qty=Decimal("0.1"), price=Decimal(50_000), at=NOON),
            EntryPlaced(order_id="o"),
            EntryRejected(code="c", reason="r"),
            EntryEnded(reason="ended"),
            StopMissing(),
            StopLost(),
            StopRefused(reason="passed"),
            ExitRequested(),
            RecheckRequested(),
        ]
    ),
)
lives = st.lists(events, max_size=25).map(lambda rest: [Started(), *rest])
sides = st.sampled_from(Side)


def steps(side: Side, life: list[Any]) -> list[tuple[Trade, Any, Trade]]:
    """Return every step of *life* that the table allows."""
    stop = Decimal(49_500) if side is Side.BUY else Decimal(50_500)
    trade, taken, refused = Trade(plan=make_plan(side=side, stop_loss=stop)), [], []
    for event in life:
        try:
            then = trade.after(event)
        except IllegalTransition as e:
            refused.append((S(e.state), T(e.event)))
            continue
        taken.append((trade, event, then))
        trade = then
    assert IMPOSSIBLE.issuperset(refused)
    return taken


def every_step(check: Callable[[Trade, Any, Trade], None]) -> None:
    @given(sides, lives)
    def run(side: Side, life: list[Any]) -> None:
        for before, event, then in steps(side, life):
            check(before, event, then)

    run()


def test_no_order_of_events_breaks_a_trade() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        assert Trade.model_validate_json(then.model_dump_json()) == then

    every_step(check)


def test_no_execution_is_counted_twice() -> None:
    @given(sides, lives)
    def run(side: Side, life: list[Any]) -> None:
        *_, (_, _, last) = steps(side, life)
        counted = [e.exec_id for e in last.executions]
        assert len(counted) == len(set(counted))
        assert last.entry_qty - last.exit_qty == last.open_qty

    run()


def test_no_trade_closes_while_the_exchange_says_held() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.is_final and not before.is_final:
            is_flat = isinstance(event, PositionRead) and not event.qty
            assert is_flat or then.state is S.REJECTED
            assert then.was_open == (then.state is S.CLOSED)

    every_step(check)


def test_no_wanted_stop_ever_loosens() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if before.wanted_stop is not None:
            assert then.wanted_stop is not None
            assert (then.wanted_stop - before.wanted_stop) * then.plan.side.sign >= 0

    every_step(check)


def test_no_trade_is_leaving_without_a_reason() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        assert then.state is not S.EXITING or then.exit_reason is not None

    every_step(check)


def test_what_is_due_fits_the_state() -> None:
    commands = {
        S.ENTERING: {Command.PLACE_ENTRY, Command.LOOK_UP},
        S.OPEN: {Command.VERIFY_STOP, Command.SET_STOP, Command.LOOK_UP},
        S.EXITING: {Command.FLATTEN, Command.LOOK_UP},
        S.SETTLING: {Command.SETTLE, Command.LOOK_UP},
    }

    def check(before: Trade, event: Any, then: Trade) -> None:
        command = due(before, then)
        assert command is None or command in commands[then.state]
        # A state that works on something is never entered without its work
        if then.state is not before.state and not then.is_final:
            assert command is not None

    every_step(check)


def test_a_repeated_event_is_due_no_second_exit() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.state is S.EXITING and before.state is S.EXITING:
            assert due(before, then) in {None, Command.LOOK_UP}

    every_step(check)
