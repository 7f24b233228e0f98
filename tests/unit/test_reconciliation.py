"""What differs between the exchange and the trades."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.market import Side
from tradewright.domain.reconciliation import (
    Believed,
    Discrepancy,
    Kind,
    OpenOrder,
    Shown,
    agreed,
    discrepancies,
)
from tradewright.domain.trade import TradeState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TRADE = "tw" + "a" * 16


def position(symbol: str = "BTCUSDT", **changes: Any) -> Position:
    fields = {
        "symbol": symbol,
        "side": Side.BUY,
        "qty": "0.1",
        "entry_price": "50000",
        "mark_price": "50000",
        "stop_loss": "49500",
    }
    return Position.model_validate(fields | changes)


def believed(symbol: str = "BTCUSDT", trade_id: str = TRADE, **changes: Any) -> Believed:
    fields = {
        "workflow_id": ids.trade_workflow(symbol, trade_id),
        "trade_id": trade_id,
        "symbol": symbol,
        "side": Side.BUY,
        "state": TradeState.OPEN,
        "open_qty": "0.1",
        "busy": False,
    }
    return Believed.model_validate(fields | changes)


def order(link: str, **changes: Any) -> OpenOrder:
    fields = {
        "order_id": f"o-{link}",
        "order_link_id": link,
        "symbol": "BTCUSDT",
        "side": Side.SELL,
        "qty": "0.1",
    }
    return OpenOrder.model_validate(fields | changes)


def shown(*positions: Position, orders: tuple[OpenOrder, ...] = ()) -> Shown:
    return Shown(at=NOW, market_at=NOW, positions=positions, orders=orders)


def kinds(found: tuple[Discrepancy, ...]) -> list[Kind]:
    return [discrepancy.kind for discrepancy in found]


holdings = st.dictionaries(
    st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
    st.tuples(st.sampled_from(Side), st.decimals(min_value="0.001", max_value=9, places=3)),
)


@given(holdings)
def test_books_that_are_equal_do_not_differ(held: dict[str, tuple[Side, Decimal]]) -> None:
    positions = [position(symbol, side=side, qty=qty) for symbol, (side, qty) in held.items()]
    trades = [
        believed(
            p.symbol,
            ids.adopted_trade_id("main", p.symbol, "1"),
            side=p.side,
            open_qty=p.qty,
        )
        for p in positions
    ]
    orders = tuple(order(ids.order_link(t.trade_id, "t", 1), symbol=t.symbol) for t in trades)

    assert discrepancies(shown(*positions, orders=orders), trades) == ()


def test_a_position_that_nobody_owns_is_an_orphan() -> None:
    [found] = discrepancies(shown(position()), [])

    assert (found.kind, found.position) == (Kind.ORPHAN_POSITION, position())
    assert found.detail == "Buy 0.1 is held and no trade owns it"


def test_a_trade_that_holds_nothing_is_a_ghost() -> None:
    [found] = discrepancies(shown(), [believed()])

    assert (found.kind, found.trade_id) == (Kind.GHOST_TRADE, TRADE)
    assert found.workflow_id == f"trade/BTCUSDT/{TRADE}"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"qty": "0.2"}, Kind.SIZE_MISMATCH),
        ({"side": Side.SELL}, Kind.SIDE_MISMATCH),
        ({"stop_loss": None}, Kind.MISSING_STOP),
    ],
)
def test_each_difference_has_its_kind(changes: dict[str, Any], kind: Kind) -> None:
    [found] = discrepancies(shown(position(**changes)), [believed()])

    assert found.kind is kind
    assert TRADE in found.detail


def test_one_position_may_differ_in_two_ways() -> None:
    found = discrepancies(shown(position(qty="0.2", stop_loss=None)), [believed()])

    assert kinds(found) == [Kind.SIZE_MISMATCH, Kind.MISSING_STOP]


@pytest.mark.parametrize("held", [(), (position(qty="9", stop_loss=None),)])
def test_a_trade_at_work_is_left_in_peace(held: tuple[Position, ...]) -> None:
    assert discrepancies(shown(*held), [believed(busy=True)]) == ()


@pytest.mark.parametrize("state", [TradeState.ENTERING, TradeState.EXITING, TradeState.SETTLING])
def test_only_an_open_trade_needs_a_position_and_a_stop(state: TradeState) -> None:
    trade = believed(state=state)

    assert discrepancies(shown(), [trade]) == ()
    assert discrepancies(shown(position(stop_loss=None)), [trade]) == ()


@pytest.mark.parametrize(
    ("link", "is_unknown"),
    [
        (ids.order_link("tw" + "b" * 16, "e", 1), True),
        (ids.order_link(TRADE, "t", 1), False),
        (ids.kill_link(1, 1), False),
        ("by-hand", False),
        ("", False),
    ],
)
def test_an_order_of_ours_whose_trade_does_not_run_is_unknown(link: str, is_unknown: bool) -> None:
    found = discrepancies(shown(position(), orders=(order(link),)), [believed()])

    assert kinds(found) == ([Kind.UNKNOWN_ORDER] if is_unknown else [])


def test_what_both_passes_saw_is_agreed() -> None:
    first = discrepancies(shown(position(), position("ETHUSDT")), [])
    second = discrepancies(shown(position(), position("ETHUSDT", qty="0.3")), [])

    assert [found.symbol for found in agreed(first, second)] == ["BTCUSDT"]
    assert agreed(first, first) == first
    assert agreed((), second) == ()


def test_a_difference_of_another_kind_is_not_the_same() -> None:
    first = discrepancies(shown(position(stop_loss=None)), [believed()])
    second = discrepancies(shown(), [believed()])

    assert agreed(first, second) == ()


def test_the_mark_price_alone_makes_no_other_difference() -> None:
    first = discrepancies(shown(position(mark_price="50001")), [])
    second = discrepancies(shown(position(mark_price="49999")), [])

    assert agreed(first, second) == second
