"""What holds whatever one account does: orders, stops and prices by chance."""

from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.matching import (
    BTC,
    MAIN,
    NOW,
    TICK,
    account,
    executions,
    make_engine,
    make_request,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Engine,
    Event,
    OrderRequest,
    OrderStatus,
    OrderType,
    RequestRejected,
    StopKind,
    StopRequest,
    TimeInForce,
)

PRICES = st.integers(min_value=480_000, max_value=520_000).map(lambda n: n * TICK)
SIDES = st.sampled_from(list(Side))
QTYS = st.integers(min_value=1, max_value=200).map(lambda n: n * BTC.qty_step)
REQUESTS = st.builds(
    make_request,
    side=SIDES,
    order_type=st.sampled_from(list(OrderType)),
    qty=QTYS,
    price=PRICES,
    time_in_force=st.sampled_from(list(TimeInForce)),
    reduce_only=st.booleans(),
    stop_loss=st.one_of(st.just(Decimal(0)), PRICES),
    take_profit=st.one_of(st.just(Decimal(0)), PRICES),
)
STOPS = st.builds(
    StopRequest,
    stop_loss=st.one_of(st.none(), st.just(Decimal(0)), PRICES),
    take_profit=st.one_of(st.none(), st.just(Decimal(0)), PRICES),
    trailing_stop=st.one_of(
        st.none(), st.integers(min_value=1, max_value=5_000).map(lambda n: n * TICK)
    ),
)
PATHS = st.lists(PRICES, min_size=1, max_size=5)
ACTIONS = st.lists(st.one_of(REQUESTS, STOPS, PATHS), max_size=25)


def act(engine: Engine, action: object, now: datetime) -> list[Event]:
    try:
        if isinstance(action, OrderRequest):
            return engine.place(MAIN, action, now)
        if isinstance(action, StopRequest):
            return engine.set_stops(MAIN, "BTCUSDT", action, now)
        assert isinstance(action, list)
        return engine.play("BTCUSDT", action, now)
    except RequestRejected:
        return []


def run(actions: list[object]) -> tuple[Engine, list[Event]]:
    engine = make_engine()
    events: list[Event] = []
    for number, action in enumerate(actions):
        events += act(engine, action, NOW + timedelta(minutes=number))
    return engine, events


@given(ACTIONS)
def test_quantity_is_conserved_and_the_ledger_balances(actions: list[object]) -> None:
    engine, events = run(actions)

    filled = executions(events)
    position = account(engine).positions["BTCUSDT"]
    assert sum(e.side.sign * e.qty for e in filled) == position.side.sign * position.size
    realised = sum((e.pnl for e in filled), Decimal(0))
    fees = sum((e.fee for e in filled), Decimal(0))
    assert account(engine).balance.cash == 10_000 + realised - fees
    if not position.size:
        value = sum((-e.side.sign * e.value for e in filled), Decimal(0))
        assert realised == value
        assert position.cost == position.open_fee == 0


@given(ACTIONS)
def test_each_order_fills_as_much_as_its_executions_say(actions: list[object]) -> None:
    _, events = run(actions)

    for order in states(events).values():
        own = [e for e in executions(events) if e.order_id == order.order_id]
        assert order.filled == sum(e.qty for e in own) <= order.qty
        assert (order.status is OrderStatus.FILLED) == (order.filled == order.qty)


@given(ACTIONS)
def test_reducing_orders_never_turn_or_grow_the_position(actions: list[object]) -> None:
    engine = make_engine()

    for number, action in enumerate(actions):
        before = account(engine).positions["BTCUSDT"]
        events = act(engine, action, NOW + timedelta(minutes=number))
        size = before.side.sign * before.size
        orders = states(events)
        for execution in executions(events):
            if orders[execution.order_id].reduce_only:
                assert execution.closed_size == execution.qty
                assert size * execution.side.sign < 0
                assert execution.qty <= abs(size)
            size += execution.side.sign * execution.qty


@given(ACTIONS)
def test_a_stop_lives_exactly_as_long_as_the_position(actions: list[object]) -> None:
    engine = make_engine()

    for number, action in enumerate(actions):
        act(engine, action, NOW + timedelta(minutes=number))
        position = account(engine).positions["BTCUSDT"]
        for stop in account(engine).stops("BTCUSDT").values():
            assert stop.qty == position.size > 0
            assert stop.side is position.side.opposite


@given(ACTIONS, PATHS)
def test_a_stop_never_fills_better_than_the_path_allows(
    actions: list[object], path: list[Decimal]
) -> None:
    engine, _ = run(actions)
    before = account(engine).positions["BTCUSDT"]
    start = engine.last["BTCUSDT"]
    stops = {s.order_id: s for s in account(engine).stops("BTCUSDT").values()}

    events = act(engine, path, NOW + timedelta(days=1))

    reached = [start, *path]
    for execution in executions(events):
        stop = stops.get(execution.order_id)
        if stop is None or stop.stop is StopKind.TRAILING:
            continue
        if stop.stop is StopKind.STOP_LOSS:
            better = (execution.price - stop.trigger_price) * before.side.sign
            assert better < 0
        assert min(reached) - TICK <= execution.price <= max(reached) + TICK


@settings(max_examples=30)
@given(ACTIONS)
def test_the_same_calls_give_the_same_events_and_ids(actions: list[object]) -> None:
    assert run(actions)[1] == run(actions)[1]
