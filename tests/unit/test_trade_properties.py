"""Whatever happens to a trade, in whatever order: what must always hold."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.life import NOON, S, T, at, fill, make_plan, read
from tradewright import ids
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, LimitEntry, Target, TradePlan, TrailedBy, Trailing
from tradewright.domain.trade import (
    FINAL,
    IMPOSSIBLE,
    Abandoned,
    Adopted,
    Command,
    EntryEnded,
    EntryExpired,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    ExitSent,
    Funded,
    PositionRead,
    RecheckRequested,
    Started,
    StopConfirmed,
    StopKept,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    TargetsPlaced,
    Trade,
    TrailingRefused,
    TrailingSet,
    due,
)

TRADE_ID = "tw" + "a" * 16
prices = st.decimals(min_value=1, max_value=100_000, places=1)
quantities = st.sampled_from(["0.001", "0.05", "0.1", "0.3"])
moments = st.integers(0, 100)
causes = st.sampled_from([None, ExitReason.STOP, ExitReason.LIQUIDATION, ExitReason.TRAILING_STOP])
fundings = st.builds(
    Funded,
    exec_id=st.sampled_from(["f1", "f2", "f3"]),
    amount=st.decimals(min_value=-5, max_value=5, places=4),
    at=moments.map(at),
)
fills = st.builds(
    fill,
    st.integers(1, 6),
    st.sampled_from(Side),
    quantities,
    cause=causes,
    order_link_id=st.sampled_from(["", f"{TRADE_ID}-e1", f"{TRADE_ID}-t2", f"{TRADE_ID}-x4"]),
)


def _targets_placed(trade: Trade) -> TargetsPlaced:
    return TargetsPlaced(orders=trade.target_orders(trade.next_leg))


def _some_targets_placed(trade: Trade) -> TargetsPlaced:
    return TargetsPlaced(orders=trade.target_orders(trade.next_leg)[1:], reason="one was refused")


def _exit_sent(trade: Trade) -> ExitSent:
    return ExitSent(order_link_id=ids.order_link(TRADE_ID, "x", trade.next_leg))


# Some answers depend on what was asked for: these are made of the trade as it stands
events: st.SearchStrategy[Any] = st.one_of(
    fills,
    fundings,
    st.builds(read, st.sampled_from(["0", "0.05", "0.1"]), moments),
    st.builds(
        StopMoved,
        price=prices,
        reason=st.just("trailing"),
        by=st.sampled_from(["manage", "ann"]),
    ),
    st.builds(StopConfirmed, price=prices),
    st.builds(StopKept, price=prices, reason=st.just("passed")),
    st.sampled_from([_targets_placed, _some_targets_placed, _exit_sent]),
    st.sampled_from(
        [
            Started(),
            Adopted(qty=Decimal("0.1"), price=Decimal(50_000), at=NOON),
            EntryPlaced(order_id="o"),
            EntryRejected(code="c", reason="r"),
            EntryEnded(reason="ended"),
            EntryExpired(reason="late"),
            StopMissing(),
            StopLost(),
            StopRefused(reason="passed"),
            TrailingSet(),
            TrailingRefused(reason="passed"),
            ExitSent(),
            ExitRequested(),
            Abandoned(by="ann"),
            RecheckRequested(),
        ]
    ),
)


def _entry_filled(trade: Trade) -> Executed:
    return fill(9, trade.plan.side, order_link_id=f"{TRADE_ID}-e1")


def _stop_seen(trade: Trade) -> StopConfirmed:
    return StopConfirmed(price=trade.plan.stop_loss)


ANSWERS = (_targets_placed, _some_targets_placed, _exit_sent, _entry_filled, _stop_seen)
# Chance alone seldom opens a position, and never does all that follows
beginnings = st.sampled_from(
    [
        [Started()],
        [Started(), EntryPlaced(order_id="o"), _entry_filled, _stop_seen],
        [Started(), _entry_filled, _stop_seen, _targets_placed, ExitRequested(), _exit_sent],
    ]
)
lives = st.builds(lambda first, rest: [*first, *rest], beginnings, st.lists(events, max_size=20))


def _plan(side: Side, is_rich: bool) -> TradePlan:
    """Return a plan with all that a plan can ask for, or with nothing but its stop."""

    def gained(price: int) -> Decimal:
        return Decimal(50_000) + price * side.sign

    if not is_rich:
        return make_plan(side=side, stop_loss=gained(-500))
    return make_plan(
        side=side,
        stop_loss=gained(-500),
        take_profit=gained(1500),
        entry=LimitEntry(rest_until=at(50)),
        targets=(
            Target(price=gained(500), fraction=Decimal("0.3")),
            Target(price=gained(1000), fraction=Decimal("0.5")),
        ),
        exits=ExitRules(
            timeframe=Timeframe.M1,
            break_even_after_target=1,
            trailing=Trailing(after_r=Decimal(1), distance=Decimal(200), by=TrailedBy.EXCHANGE),
        ),
    )


plans = st.builds(_plan, st.sampled_from(Side), st.booleans())


def steps(plan: TradePlan, life: list[Any]) -> list[tuple[Trade, Any, Trade]]:
    """Return every step of *life* that the table allows."""
    trade, taken, refused = Trade(plan=plan), [], []
    for event_or_answer in life:
        event = event_or_answer(trade) if event_or_answer in ANSWERS else event_or_answer
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
    @given(plans, lives)
    def run(plan: TradePlan, life: list[Any]) -> None:
        for before, event, then in steps(plan, life):
            check(before, event, then)

    run()


def test_no_order_of_events_breaks_a_trade() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        assert Trade.model_validate_json(then.model_dump_json()) == then

    every_step(check)


def test_no_execution_and_no_funding_is_counted_twice() -> None:
    @given(plans, lives)
    def run(plan: TradePlan, life: list[Any]) -> None:
        *_, (_, _, last) = steps(plan, life)
        for counted in ([e.exec_id for e in last.executions], last.funded):
            assert len(counted) == len(set(counted))
        assert last.entry_qty - last.exit_qty == last.open_qty

    run()


def test_no_trade_ends_but_by_a_flat_read_or_a_rejection() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.is_final and not before.is_final:
            is_flat = isinstance(event, PositionRead) and not event.qty
            assert is_flat or isinstance(event, EntryRejected)
            assert then.was_open == (then.state is S.CLOSED)

    every_step(check)


def test_an_ended_trade_calls_for_nothing_and_is_not_changed() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.is_final:
            assert due(before, then) == ()
        if before.is_final:
            assert then == before

    every_step(check)


def test_no_stop_that_stood_or_was_managed_is_ever_loosened() -> None:
    """A person's wish that the exchange does not take is the only one that is taken back."""

    @given(plans, lives)
    def run(plan: TradePlan, life: list[Any]) -> None:
        tightest = plan.stop_loss
        for before, event, then in steps(plan, life):
            if before.is_final:
                continue
            is_managed = isinstance(event, StopMoved) and event.by == "manage"
            is_moved = is_managed and then.wanted_stop != before.wanted_stop
            if is_moved or isinstance(event, StopConfirmed | StopKept):
                tightest = max(tightest, event.price, key=lambda price: price * plan.side.sign)
            assert then.wanted_stop is not None
            assert (then.wanted_stop - tightest) * plan.side.sign >= 0

    run()


def test_a_stop_that_stands_looser_than_wanted_is_set_again() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if isinstance(event, StopConfirmed | StopKept) and then.state is S.OPEN:
            is_looser = then.wanted_stop != event.price
            assert (Command.SET_STOP in due(before, then)) == is_looser

    every_step(check)


def test_targets_take_less_than_was_opened_and_no_link_is_used_twice() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if isinstance(event, TargetsPlaced):
            assert sum(order.qty for order in then.targets) <= then.entry_qty
        entry = ids.order_link(TRADE_ID, "e", 1)
        links = [entry, *(order.order_link_id for order in then.targets), *then.exit_links]
        assert len(links) == len(set(links))
        parsed = [ids.parse_link(link) for link in links]
        numbers = [link.number for link in parsed if link is not None]
        assert len(numbers) == len(set(numbers)) == len(links)

    every_step(check)


def test_no_trade_is_leaving_without_a_reason() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        assert then.state is not S.EXITING or then.exit_reason is not None

    every_step(check)


def test_what_somebody_wants_to_leave_is_never_open_again() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.is_over and then.was_open:
            assert then.state is not S.OPEN
        assert then.leaving or not before.leaving

    every_step(check)


def test_what_is_due_fits_the_state() -> None:
    once = {Command.CANCEL_ENTRY, Command.LOOK_UP}
    commands = {
        S.ENTERING: {Command.PLACE_ENTRY, *once},
        S.OPEN: {
            *(Command.VERIFY_STOP, Command.SET_STOP, Command.SET_TRAILING),
            *(Command.PLACE_TARGETS, *once),
        },
        S.EXITING: {Command.FLATTEN, Command.LOOK_UP},
        S.SETTLING: {Command.SETTLE, *once},
    } | {state: set() for state in FINAL}

    def check(before: Trade, event: Any, then: Trade) -> None:
        found = due(before, then)
        assert commands[then.state].issuperset(found)
        assert len(found) == len(set(found))
        # A state that works on something is never entered without its work
        if then.state is not before.state and not then.is_final:
            assert found

    every_step(check)


def test_targets_and_trailing_wait_for_a_stop_that_was_seen() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if {Command.PLACE_TARGETS, Command.SET_TRAILING} & set(due(before, then)):
            assert then.state is S.OPEN
            assert then.stop is not None

    every_step(check)


def test_only_the_read_that_settles_ends_a_trade_that_was_open() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.is_final and not before.is_final and then.was_open:
            assert isinstance(event, PositionRead)
            assert event.settled

    every_step(check)


def test_a_repeated_event_is_due_no_second_exit() -> None:
    def check(before: Trade, event: Any, then: Trade) -> None:
        if then.state is S.EXITING and before.state is S.EXITING:
            assert due(before, then) in {(), (Command.LOOK_UP,)}

    every_step(check)


@st.composite
def shuffled_round_trips(draw: st.DrawFn) -> tuple[TradePlan, list[Any]]:
    """Return a plan, and fills that close what they open among fundings, in any order."""
    plan = draw(plans)
    parts = draw(st.lists(st.integers(1, 50), min_size=1, max_size=4))
    cuts = draw(st.lists(st.integers(1, sum(parts)), max_size=3, unique=True).map(sorted))
    bounds = [0, *cuts, *([sum(parts)] if sum(parts) not in cuts else [])]
    closed = [high - low for low, high in pairwise(bounds)]
    sizes = [(plan.side, n) for n in parts] + [(plan.side.opposite, n) for n in closed]
    traded: list[Any] = [
        fill(
            number,
            side,
            str(Decimal(units) / 1000),
            price=draw(st.decimals(min_value=40_000, max_value=60_000, places=1)),
            fee=draw(st.decimals(min_value=-1, max_value=1, places=4)),
        )
        for number, (side, units) in enumerate(sizes, start=1)
    ]
    paid = draw(st.lists(fundings, max_size=3, unique_by=lambda funded: funded.exec_id))
    # Each is told twice, for streams repeat themselves
    return plan, draw(st.permutations([*traded, *paid] * 2))


@given(shuffled_round_trips())
def test_what_was_earned_adds_up_in_whatever_order_it_is_told(
    told: tuple[TradePlan, list[Any]],
) -> None:
    plan, life = told
    fills_told = {e.execution.exec_id: e.execution for e in life if isinstance(e, Executed)}
    paid = {e.exec_id: e.amount for e in life if isinstance(e, Funded)}
    cash = sum((-e.side.sign * e.qty * e.price - e.fee for e in fills_told.values()), Decimal(0))

    *_, (_, _, last) = steps(plan, [Started(), *life])

    assert last.open_qty == 0
    assert abs(last.pnl - (cash + sum(paid.values()))) < Decimal("1e-15")


@given(plans)
def test_funding_from_before_the_trade_is_not_its_own(plan: TradePlan) -> None:
    earlier = Funded(exec_id="f0", amount=Decimal(-1), at=plan.trigger - timedelta(seconds=1))

    *_, (_, _, last) = steps(plan, [Started(), fill(1, plan.side), earlier])

    assert last.funding == 0
