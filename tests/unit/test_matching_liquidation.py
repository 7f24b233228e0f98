"""Liquidation: where, how, in which order, and who pays."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.matching import (
    BTC,
    MAIN,
    NOW,
    OTHER,
    TICK,
    TIERS,
    D,
    account,
    executions,
    limit,
    make_engine,
    make_request,
    place,
    play,
    sell,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Engine,
    Event,
    ExecType,
    Liquidated,
    MarginMode,
    Market,
    OrderStatus,
    StopKind,
    Tier,
)


def hold(engine: Engine, side: Side, price: str, qty: str, name: str = MAIN) -> None:
    """Let *name* enter at exactly *price*, from an account rich enough for anything."""
    place(engine, limit(price, side.opposite, qty=qty), OTHER)
    place(engine, limit(price, side, qty=qty), name)


def make_held(
    side: Side = Side.BUY, price: str = "20000", qty: str = "0.1", **options: object
) -> Engine:
    fields: dict[str, object] = {"names": (MAIN, OTHER), "cash": "100000", **options}
    engine = make_engine(price, **fields)  # type: ignore[arg-type]
    engine.transfer(OTHER, D(1_000_000_000), NOW)
    hold(engine, side, price, qty)
    return engine


def liquidations(events: list[Event]) -> list[Liquidated]:
    return [e for e in events if isinstance(e, Liquidated)]


@pytest.mark.parametrize(
    ("side", "liq", "bust"), [(Side.BUY, "19698.49", "19600"), (Side.SELL, "20298.51", "20400")]
)
def test_the_liquidation_price_is_the_one_of_the_fact_sheet(
    side: Side, liq: str, bust: str
) -> None:
    engine = make_held(side, isolated=True, leverage=D(50))

    price = account(engine).liq_price("BTCUSDT")

    assert price is not None
    assert round(price, 2) == D(liq)
    assert account(engine).bust_price(account(engine).positions["BTCUSDT"]) == D(bust)
    assert account(engine).liq_price("ETHUSDT") is None


def test_added_margin_moves_the_liquidation_price_away() -> None:
    engine = make_held(isolated=True, leverage=D(50))

    engine.add_margin(MAIN, "BTCUSDT", D(20), NOW)

    price = account(engine).liq_price("BTCUSDT")
    assert price == (D(19_600) - D(20) / D("0.1")) / D("0.995")
    assert account(engine).bust_price(account(engine).positions["BTCUSDT"]) == 19_400


def test_a_glide_liquidates_at_the_liquidation_price() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    before = account(engine).balance.cash

    events = play(engine, "20000", "19000")

    (taken,) = executions(events)
    assert (taken.price, taken.qty, taken.mark) == (D(19_600), D("0.1"), D("19698.4"))
    assert (taken.exec_type, taken.create_type) == (ExecType.BUST, "CreateByTakeOver_PassThrough")
    order = states(events)[taken.order_id]
    assert (order.status, order.create_type) == (OrderStatus.FILLED, taken.create_type)
    assert liquidations(events) == [Liquidated(MAIN, "BTCUSDT", Side.BUY, D("0.1"), D(19_600), NOW)]
    assert account(engine).balance.cash == before - 40 - D("1.078")
    assert engine.last["BTCUSDT"] == 19_000


def test_nothing_happens_one_tick_before_the_liquidation_price() -> None:
    engine = make_held(isolated=True, leverage=D(50))

    assert play(engine, "20000", "19698.5") == []
    assert liquidations(play(engine, "19698.4"))


def test_it_is_the_mark_price_that_liquidates() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    engine.refer("BTCUSDT", NOW, mark=D(20_000))

    assert play(engine, "20000", "15000") == []
    assert liquidations(engine.refer("BTCUSDT", NOW, mark=D(19_000)))


def test_a_gap_costs_no_more_than_the_margin() -> None:
    engine = make_held(isolated=True, leverage=D(50), cash="100")
    margin = account(engine).position_margin()
    before = account(engine).balance.cash

    play(engine, "10000")

    assert account(engine).positions["BTCUSDT"].size == 0
    assert account(engine).balance.cash == before - margin


def test_a_gap_leaves_a_cross_account_with_nothing_but_no_debt() -> None:
    engine = make_held(cash="100", leverage=D(50))

    events = play(engine, "10000")

    balance = account(engine).balance
    assert liquidations(events)
    assert 0 <= balance.cash < D("0.1")
    assert balance.transfers == 0


def test_a_short_whose_loss_no_price_undoes_is_paid_by_the_insurance_fund() -> None:
    engine = make_held(Side.SELL, cash="100", leverage=D(50))
    engine.refer("ETHUSDT", NOW, mark=D(4000))

    play(engine, "500000")

    balance = account(engine).balance
    assert balance.cash >= 0
    assert balance.cash == (
        balance.start + balance.transfers + balance.realised - balance.fees - balance.funding
    )


def test_a_stop_behind_a_gap_leaves_no_debt_either() -> None:
    engine = make_held(cash="100", leverage=D(50))
    place(engine, sell(trigger_price="19900", trigger_direction=2, reduce_only=True))

    events = play(engine, "10000")

    (execution,) = executions(events)
    balance = account(engine).balance
    assert execution.stop is StopKind.CONDITIONAL
    assert balance.realised == D("-1000.01")
    assert (balance.cash, balance.transfers) == (D(0), D("1000.01") + balance.fees - 100)


def test_the_largest_loss_goes_first_until_the_account_is_healthy() -> None:
    engine = make_engine(cash="500", names=(MAIN, OTHER))
    engine.transfer(OTHER, D(10**9), NOW)
    hold(engine, Side.BUY, "50000", "0.05")
    engine.place(MAIN, make_request(symbol="ETHUSDT", qty="0.1"), NOW)

    events = play(engine, "50000", "40000")

    assert [e.symbol for e in liquidations(events)] == ["BTCUSDT"]
    assert account(engine).positions["BTCUSDT"].size == 0
    assert account(engine).positions["ETHUSDT"].size == D("0.1")
    assert not account(engine).is_doomed("ETHUSDT")


def test_active_orders_are_cancelled_before_a_liquidation() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    place(engine, limit("15000"))
    place(engine, limit("25000", Side.SELL, reduce_only=True, qty="0.1"))
    place(engine, make_request(trigger_price="30000", trigger_direction=1))

    events = play(engine, "20000", "19000")

    ended = [o.cancel_type for o in states(events).values() if o.status is OrderStatus.CANCELLED]
    assert ended == ["CancelAllBeforeLiq"] * 2
    assert [o.stop for o in account(engine).open_orders()] == [StopKind.CONDITIONAL]


def test_a_cross_account_cancels_what_would_add_first() -> None:
    engine = make_held(cash="100", leverage=D(50))
    place(engine, limit("15000", qty="0.001", symbol="BTCUSDT"))

    events = play(engine, "20000", "19000")

    ended = [o.cancel_type for o in states(events).values() if o.status is OrderStatus.CANCELLED]
    assert ended == ["CancelByPrepareLiq"]


def test_higher_tiers_are_reduced_before_a_take_over() -> None:
    engine = make_held(qty="10", isolated=True, leverage=D(50), tiers=TIERS)

    events = play(engine, "20000", "19740")

    reduced = executions(events)[0]
    order = states(events)[reduced.order_id]
    assert (reduced.exec_type, reduced.create_type) == (ExecType.TRADE, "CreateByLiq")
    assert order.status is OrderStatus.FILLED
    size = account(engine).positions["BTCUSDT"].size
    assert 0 < size < 10
    assert size * engine.mark["BTCUSDT"] <= TIERS[0].limit


def test_a_book_too_thin_for_a_reduction_means_a_take_over() -> None:
    engine = make_held(qty="10", isolated=True, leverage=D(50), tiers=TIERS)
    engine.depth("BTCUSDT", [(D(19_750), D(1))], [(D(20_001), D(1))], NOW, snapshot=True)

    events = play(engine, "20000", "19740")

    (taken,) = executions(events)
    assert (taken.exec_type, taken.qty) == (ExecType.BUST, D(10))


def test_auto_added_margin_saves_a_position() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)
    own = account(engine).initial_margin_of("BTCUSDT")

    events = play(engine, "20000", "19650")

    position = account(engine).positions["BTCUSDT"]
    assert executions(events) == []
    assert (position.size, position.extra_margin) == (D("0.1"), own)


def test_auto_added_margin_is_no_more_than_there_is() -> None:
    engine = make_held(isolated=True, leverage=D(50), cash="50")
    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)

    events = play(engine, "20000", "19000")

    assert liquidations(events)
    assert 0 <= account(engine).balance.cash < 10


def test_other_accounts_keep_their_positions() -> None:
    engine = make_held(isolated=True, leverage=D(50))

    play(engine, "20000", "19000")

    assert account(engine, OTHER).positions["BTCUSDT"].size == D("0.1")


LEVERAGES = st.sampled_from([2, 5, 10, 25, 50, 100]).map(Decimal)


@given(
    st.sampled_from(list(Side)),
    LEVERAGES,
    st.integers(1, 40_000).map(lambda n: n * BTC.qty_step),
    st.booleans(),
    st.sampled_from([(), TIERS]),
    st.integers(0, 50).map(Decimal),
)
def test_the_formula_gives_the_price_at_which_the_simulation_liquidates(
    side: Side,
    leverage: Decimal,
    qty: Decimal,
    isolated: bool,
    tiers: tuple[Tier, ...],
    spare: Decimal,
) -> None:
    value = qty * 20_000
    leverage = min(leverage, Market(BTC, tiers=tiers).tier_of(value).max_leverage)
    cash = value / leverage * D("1.01") + value * D("0.002") + 1 + spare * value / 1000
    mode = MarginMode.ISOLATED if isolated else MarginMode.CROSS
    engine = make_held(
        side, qty=str(qty), cash=str(cash), leverage=leverage, tiers=tiers, margin_mode=mode
    )
    held = account(engine)
    assert held.positions["BTCUSDT"].size == qty
    price = held.liq_price("BTCUSDT")
    if price is None:
        play(engine, "1")
        assert held.positions["BTCUSDT"].size == qty
        return
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    reached = (price / TICK).to_integral_value(rounding) * TICK
    before = reached + side.sign * TICK

    assert not liquidations(play(engine, str(before)))
    assert held.positions["BTCUSDT"].size == qty
    events = play(engine, str(before), str(max(before - side.sign * 500, TICK)))

    first = executions(events)[0]
    assert first.mark == reached
    assert liquidations(events)
    assert held.balance.cash >= 0


def test_a_rich_long_has_no_liquidation_price() -> None:
    engine = make_held(cash="1000000")

    assert account(engine).liq_price("BTCUSDT") is None


def test_selling_all_leaves_nothing_to_liquidate() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    place(engine, sell(qty="0.1", reduce_only=True))

    assert liquidations(play(engine, "20000", "15000")) == []


def test_auto_added_margin_comes_before_any_order_is_cancelled() -> None:
    engine = make_held(isolated=True, leverage=D(50))
    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)
    place(engine, limit("15000", qty="0.1"))

    events = play(engine, "20000", "19690")

    assert account(engine).positions["BTCUSDT"].extra_margin > 0
    assert states(events) == {}
    assert executions(events) == []


def test_margin_that_orders_bound_saves_a_position_in_the_end() -> None:
    engine = make_held(cash="600", isolated=True, leverage=D(10), price="20000")
    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)
    place(engine, limit("19000", qty="0.2"))
    free = account(engine).available()

    engine.refer("BTCUSDT", NOW, mark=D(18_000) - free * 10)

    assert account(engine).positions["BTCUSDT"].extra_margin > free
    assert account(engine).positions["BTCUSDT"].size == D("0.1")
    assert account(engine).open_orders() == []


def test_auto_added_margin_ends_at_a_leverage_of_one() -> None:
    engine = make_held(Side.SELL, isolated=True, leverage=D(2))
    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)

    for price in range(21_000, 39_700, 100):
        engine.refer("BTCUSDT", NOW, mark=D(price))
    held = account(engine).initial_margin_of("BTCUSDT")
    engine.refer("BTCUSDT", NOW, mark=D(40_500))

    assert held == 20_000 * D("0.1")
    assert account(engine).positions["BTCUSDT"].size == 0
