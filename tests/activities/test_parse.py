"""Bybit's rows, as its documentation shows them, and rows that nobody could understand."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from activities import parse
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.execution import ExitReason

SAMPLES = Path(__file__).parents[3] / "shared" / "facts" / "bybit" / "samples"

EXECUTION = {
    **{"execId": "a", "seq": 7, "orderId": "b", "symbol": "BTCUSDT", "side": "Sell"},
    **{"execPrice": "50000", "execQty": "0.1", "execFee": "2.75", "execTime": "1672282722429"},
    **{"execType": "Trade", "orderLinkId": "", "isMaker": False},
}
POSITION = {"symbol": "BTCUSDT", "side": "Buy", "size": "0.1", "avgPrice": "5", "markPrice": "6"}


def sample(name: str) -> dict[str, Any]:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    answer: dict[str, Any] = json.loads(path.read_text())
    return answer


def test_the_documented_rows_are_understood() -> None:
    (execution,) = map(parse.execution, parse.rows("", sample("GET_v5_execution_list_0")))
    (order,) = map(parse.open_order, parse.rows("", sample("GET_v5_order_realtime_0")))
    (position,) = map(parse.position, parse.rows("", sample("GET_v5_position_list_0")))

    assert execution is not None
    assert (execution.price, execution.fee) == (Decimal("1190.15"), Decimal("0.071409"))
    assert (order.order_link_id, order.stop_order_type) == ("test-000005", "")
    assert position is not None
    assert position.qty == 300
    assert position.stop_loss is None


def test_a_dated_contract_is_understood() -> None:
    dated = {"symbol": "BTCUSDT-21FEB25"}

    position = parse.position(POSITION | dated)
    order = parse.open_order(dated | {"orderId": "1", "side": "Buy", "qty": "0.1"})

    assert position is not None
    assert position.symbol == order.symbol == "BTCUSDT-21FEB25"


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({}, None),
        ({"createType": "CreateByUser", "stopOrderType": "UNKNOWN"}, None),
        ({"createType": "CreateByStopLoss"}, ExitReason.STOP),
        ({"stopOrderType": "TakeProfit"}, ExitReason.TARGET),
        ({"createType": "CreateByTrailingStop"}, ExitReason.TRAILING_STOP),
        ({"createType": "CreateByLiq"}, ExitReason.LIQUIDATION),
        ({"execType": "BustTrade"}, ExitReason.LIQUIDATION),
        ({"execType": "AdlTrade"}, ExitReason.LIQUIDATION),
        ({"createType": "CreateByAdl_PassThrough"}, ExitReason.LIQUIDATION),
        ({"execType": "Delivery"}, ExitReason.DELISTED),
        ({"execType": "Settle"}, ExitReason.DELISTED),
        ({"createType": "CreateBySettle"}, ExitReason.DELISTED),
        ({"orderLinkId": "kill-2-1"}, ExitReason.KILL_SWITCH),
    ],
)
def test_an_execution_says_what_made_it(row: dict[str, str], cause: ExitReason | None) -> None:
    execution = parse.execution(EXECUTION | row)

    assert execution is not None
    assert execution.cause is cause


def test_funding_is_no_execution() -> None:
    assert parse.execution(EXECUTION | {"execType": "Funding"}) is None


@pytest.mark.parametrize(("fee", "amount"), [("0.00867", "-0.00867"), ("-0.5", "0.5"), ("", "0")])
def test_funding_that_is_paid_is_negative(fee: str, amount: str) -> None:
    payment = parse.payment(EXECUTION | {"execType": "Funding", "execFee": fee})

    assert payment is not None
    assert (payment.symbol, payment.amount) == ("BTCUSDT", Decimal(amount))
    assert parse.payment(EXECUTION) is None


@pytest.mark.parametrize(
    ("row", "filled"),
    [
        ({"orderQty": "0.3", "leavesQty": "0.1"}, "0.2"),
        ({"orderQty": "0.3", "leavesQty": "0"}, "0.3"),
        ({"orderQty": "0.3", "leavesQty": ""}, None),
        ({"leavesQty": "0"}, None),
        ({"orderQty": "0.3", "leavesQty": "0", "execType": "BustTrade"}, None),
    ],
)
def test_an_execution_says_how_far_its_order_is(row: dict[str, str], filled: str | None) -> None:
    assert parse.filled_so_far(EXECUTION | row) == (None if filled is None else Decimal(filled))


def test_a_position_without_size_is_flat_whatever_else_it_says() -> None:
    assert parse.position({"symbol": "BTCUSDT", "side": "", "size": "0", "avgPrice": ""}) is None


@pytest.mark.parametrize("nothing", ["", "0", "0.00", None])
def test_a_stop_of_nothing_is_no_stop(nothing: str | None) -> None:
    position = parse.position(POSITION | {"stopLoss": nothing})

    assert position is not None
    assert position.stop_loss is None


@pytest.mark.parametrize(
    ("of", "row"),
    [
        (parse.position, POSITION | {"size": "much"}),
        (parse.position, {k: v for k, v in POSITION.items() if k != "size"}),
        (parse.position, POSITION | {"side": "Up"}),
        (parse.execution, EXECUTION | {"execTime": ""}),
        (parse.placed_order, {"orderId": "a", "orderStatus": "Dreaming"}),
        (parse.instrument, {"symbol": "BTCUSDT"}),
    ],
)
def test_what_cannot_be_understood_is_never_guessed(
    of: Callable[[Any], Any], row: dict[str, Any]
) -> None:
    with pytest.raises(AnswerMalformed):
        of(row)


@pytest.mark.parametrize("answer", [{}, {"result": None}, {"result": {"list": None}}])
def test_an_answer_without_rows_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(AnswerMalformed):
        parse.rows("get_positions", answer)


def test_numbers_go_out_without_an_exponent() -> None:
    assert [parse.text(Decimal(n)) for n in ("1E+2", "1E-7", "0.10")] == [
        "100",
        "0.0000001",
        "0.10",
    ]
