"""What differs between the exchange and the trades."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.cash import CashBook, CashFlow
from tradewright.domain.execution import Execution
from tradewright.domain.market import Side
from tradewright.domain.reconciliation import (
    Believed,
    Discrepancy,
    Kind,
    OpenOrder,
    Shown,
    agreed,
    balance_drift,
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


def shown(*positions: Position, **more: Any) -> Shown:
    return Shown(at=NOW, market_at=NOW, positions=positions, **more)


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
    ("link", "wanted"),
    [
        (ids.order_link("tw" + "b" * 16, "e", 1), [Kind.UNKNOWN_ORDER]),
        (ids.order_link(TRADE, "t", 1), []),
        (ids.kill_link(1, 1), []),
        ("by-hand", [Kind.FOREIGN_ORDER]),
        ("", [Kind.FOREIGN_ORDER]),
    ],
)
def test_an_order_that_no_running_trade_owns_is_unknown_or_foreign(
    link: str, wanted: list[Kind]
) -> None:
    """A8: an order with our link and no live workflow is found."""
    found = discrepancies(shown(position(), orders=(order(link),)), [believed()])

    assert kinds(found) == wanted


@pytest.mark.parametrize("leg", ["t", "x"])
def test_what_a_closed_trade_has_left_at_the_exchange_is_unknown(leg: str) -> None:
    """C6: a target or an exit that outlives its trade would open a trade that nobody wants."""
    left = order(ids.order_link(TRADE, leg, 2), reduce_only=True)

    assert kinds(discrepancies(shown(orders=(left,)), [])) == [Kind.UNKNOWN_ORDER]


@pytest.mark.parametrize(
    ("stop_order_type", "wanted"),
    [("StopLoss", []), ("PartialTakeProfit", []), ("Stop", [Kind.FOREIGN_ORDER])],
)
def test_the_stops_of_a_position_are_not_foreign(stop_order_type: str, wanted: list[Kind]) -> None:
    stop = order("", stop_order_type=stop_order_type)

    assert kinds(discrepancies(shown(position(), orders=(stop,)), [believed()])) == wanted


@pytest.mark.parametrize(
    ("side", "stands", "trailed", "fault"),
    [
        (Side.BUY, "49000", False, "looser"),
        (Side.BUY, "49800", False, "tighter"),
        (Side.BUY, "49800", True, ""),
        (Side.BUY, "49000", True, "looser"),
        (Side.SELL, "49800", False, "looser"),
        (Side.SELL, "49000", False, "tighter"),
        (Side.BUY, "49500.0", False, ""),
    ],
)
def test_a_stop_that_stands_elsewhere_is_wrong(
    side: Side, stands: str, trailed: bool, fault: str
) -> None:
    """B5: the trade knows where its stop is to stand, and the exchange has to show it."""
    trade = believed(side=side, stop="49500", trailed=trailed)

    found = discrepancies(shown(position(side=side, stop_loss=stands)), [trade])

    assert kinds(found) == ([Kind.WRONG_STOP] if fault else [])
    assert all(fault in d.detail and d.tighter == (fault == "tighter") for d in found)


def test_a_stop_is_not_compared_with_what_is_held_on_the_other_side() -> None:
    trade = believed(side=Side.SELL, stop="49500")

    assert kinds(discrepancies(shown(position()), [trade])) == [Kind.SIDE_MISMATCH]


@pytest.mark.parametrize("ended_id", ["tw" + "2" * 16, "tw" + "z" * 16])
def test_a_trade_that_has_ended_owns_nothing_while_it_waits_for_the_journal(ended_id: str) -> None:
    """B1: what is held belongs to the trade that is open, or to nobody."""
    ended = believed(trade_id=ended_id, state=TradeState.CLOSED, open_qty="0", busy=True)
    bare = shown(position(stop_loss=None), orders=(order(ids.order_link(ended_id, "x", 2)),))

    assert kinds(discrepancies(bare, [believed(), ended])) == [Kind.MISSING_STOP]
    assert kinds(discrepancies(bare, [ended])) == [Kind.ORPHAN_POSITION]


def test_a_trade_that_does_not_answer_is_told_of_and_its_stop_is_looked_at() -> None:
    """B5: a wedged workflow hides no position without a stop."""
    silent = believed(busy=True, answers=False, open_qty="0")

    both = discrepancies(shown(position(stop_loss=None)), [silent])
    safe = discrepancies(shown(position()), [silent])
    flat = discrepancies(shown(), [silent])

    assert kinds(both) == [Kind.MISSING_STOP, Kind.UNANSWERING_TRADE]
    assert kinds(safe) == kinds(flat) == [Kind.UNANSWERING_TRADE]
    assert agreed(both, safe) == safe


def execution(exec_id: str, link: str = "", **changes: Any) -> Execution:
    fields = {
        "exec_id": exec_id,
        "seq": 1,
        "order_id": "o",
        "order_link_id": link,
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "price": "50000",
        "qty": "0.1",
        "fee": "0",
        "at": NOW,
    }
    return Execution.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("link", "at", "is_missing"),
    [
        (ids.order_link(TRADE, "e", 1), 0, True),
        (ids.order_link(TRADE, "e", 1), -1, False),
        (ids.order_link("tw" + "b" * 16, "e", 1), 1, False),
        ("", 1, True),
        ("", 0, False),
        (ids.kill_link(1, 1), 1, True),
    ],
)
def test_an_execution_that_its_trade_does_not_know_is_missing(
    link: str, at: int, is_missing: bool
) -> None:
    """B2: what the exchange executed is asked for again, and never made up."""
    told = execution("x1", link, at=NOW + timedelta(seconds=at))
    known = execution("k1", ids.order_link(TRADE, "e", 1))
    trade = believed(since=NOW, exec_ids=frozenset({"k1"}))

    found = discrepancies(shown(position(), executions=(known, told)), [trade])

    assert [(d.kind, d.mark) for d in found] == (
        [(Kind.MISSING_EXECUTION, "x1")] if is_missing else []
    )


def test_positions_are_compared_by_what_is_held_and_not_by_their_fills() -> None:
    """B3: a position whose fills are too old to be listed is its trade's all the same."""
    assert discrepancies(shown(position(), executions=()), [believed(since=NOW)]) == ()


def flow(number: int, change: str, balance: str) -> CashFlow:
    return CashFlow(
        flow_id=str(number),
        at=NOW + timedelta(seconds=min(number, 1)),
        is_trade=False,
        traded=Decimal(change),
        fee=Decimal(0),
        funding=Decimal(0),
        change=Decimal(change),
        balance=Decimal(balance),
    )


def book(wallet: str, *flows: CashFlow) -> CashBook:
    return CashBook(flows=flows, wallet=Decimal(wallet), unrealised=Decimal(0), equity=Decimal(0))


@given(
    st.lists(st.decimals(min_value=-50, max_value=50, places=2), min_size=1, max_size=8),
    st.decimals(min_value=-5, max_value=5, places=2),
    st.randoms(use_true_random=False),
)
def test_a_wallet_that_its_log_explains_has_not_drifted(
    changes: list[Decimal], drift: Decimal, shuffled: random.Random
) -> None:
    balance, flows = Decimal(1000), []
    for number, change in enumerate(changes):
        balance += change
        flows.append(flow(number, str(change), str(balance)))
    rest = flows[1:]
    shuffled.shuffle(rest)

    found = balance_drift(book(str(balance + drift), flows[0], *rest))

    assert (found is not None) == (abs(drift) > Decimal("0.01"))
    assert found is None or Decimal(found.mark) == drift


def test_a_line_that_is_missing_in_the_log_is_a_drift() -> None:
    found = balance_drift(book("130", flow(1, "10", "110"), flow(3, "10", "130")))

    assert found is not None
    assert (found.kind, found.symbol, found.mark) == (Kind.BALANCE_DRIFT, "", "10")
    assert balance_drift(book("130")) is None


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
