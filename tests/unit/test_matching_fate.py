"""Fates of orders: what a fault makes of them, inside all the rules."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.matching import BTC, MAIN, NOW, make_engine
from tradewright.domain.market import Side
from tradewright.matching import (
    Engine,
    Fate,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    OrderType,
    RequestRejected,
    TimeInForce,
)


@pytest.fixture
def engine() -> Engine:
    return make_engine(cash="100000")


def request(
    fate: Fate,
    *,
    price: str = "",
    qty: str = "0.1",
    time_in_force: TimeInForce = TimeInForce.GTC,
    link: str = "",
) -> OrderRequest:
    return OrderRequest(
        symbol="BTCUSDT",
        side=Side.BUY,
        order_type=OrderType.LIMIT if price else OrderType.MARKET,
        qty=Decimal(qty),
        price=Decimal(price or 0),
        time_in_force=time_in_force,
        link=link,
        fate=fate,
    )


@pytest.mark.parametrize("ends", [OrderStatus.REJECTED, OrderStatus.CANCELLED])
def test_an_order_that_is_to_end_is_accepted_and_never_trades(
    engine: Engine, ends: OrderStatus
) -> None:
    fate = Fate(ends=ends, reason="EC_Others")

    states = [
        e.order
        for e in engine.place(MAIN, request(fate, link="a"), NOW)
        if isinstance(e, OrderChanged)
    ]

    assert [o.status for o in states] == [OrderStatus.NEW, ends]
    assert states[-1].reject_reason == "EC_Others"
    assert not states[-1].filled
    assert engine.accounts[MAIN].open_orders() == []
    with pytest.raises(RequestRejected, match="duplicate"):
        engine.place(MAIN, request(fate, link="a"), NOW)


def test_an_order_that_breaks_a_rule_is_refused_whatever_its_fate(engine: Engine) -> None:
    with pytest.raises(RequestRejected):
        engine.place(MAIN, request(Fate(ends=OrderStatus.REJECTED), qty="0.0001"), NOW)


def test_what_may_not_trade_at_once_rests_until_the_market_comes_by(engine: Engine) -> None:
    engine.place(MAIN, request(Fate(fraction=Decimal("0.3")), price="50001"), NOW)
    (rest,) = engine.accounts[MAIN].open_orders()
    assert (rest.status, rest.filled) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.03"))

    engine.play("BTCUSDT", [Decimal(50_000), Decimal(49_990)], NOW)

    assert engine.accounts[MAIN].open_orders() == []
    assert engine.accounts[MAIN].positions["BTCUSDT"].size == Decimal("0.1")


def test_an_order_of_one_step_does_not_fill_in_part(engine: Engine) -> None:
    engine.place(MAIN, request(Fate(fraction=Decimal("0.5")), qty="0.001"), NOW)

    assert engine.accounts[MAIN].positions["BTCUSDT"].size == 0


@settings(deadline=None)
@given(
    st.decimals("0.001", "0.999", places=3),
    st.integers(1, 900),
    st.sampled_from(TimeInForce),
    st.sampled_from(["", "49990", "50001", "50100"]),
)
def test_no_more_than_the_share_trades_on_arrival_and_the_ledger_balances(
    fraction: Decimal, steps: int, time_in_force: TimeInForce, price: str
) -> None:
    engine, qty = make_engine(cash="100000"), Decimal(steps) / 1000

    engine.place(
        MAIN,
        request(Fate(fraction=fraction), price=price, qty=str(qty), time_in_force=time_in_force),
        NOW,
    )

    account = engine.accounts[MAIN]
    size = account.positions["BTCUSDT"].size
    assert size <= qty * fraction
    assert size % BTC.qty_step == 0
    balance = account.balance
    assert balance.cash == balance.start + balance.transfers + balance.realised - balance.fees
