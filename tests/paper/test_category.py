"""Categories in which nothing is traded: they are there, and empty."""

from typing import Any

import pytest

from tests.paper.conftest import Desk

OTHERS = ("spot", "inverse", "option")
LISTS = (
    "get_open_orders",
    "get_order_history",
    "get_executions",
    "get_positions",
    "get_closed_pnl",
    "get_fee_rates",
    "get_account_instruments_info",
    "get_transaction_log",
)


@pytest.mark.parametrize("category", OTHERS)
async def test_lists_of_another_category_are_empty(desk: Desk, category: str) -> None:
    await desk.buy()

    for method in LISTS:
        answer: dict[str, Any] = await desk.ask(method, category=category)
        assert answer["retCode"] == 0, method
        assert answer["result"] == {"category": category, "list": [], "nextPageCursor": ""}


@pytest.mark.parametrize("category", OTHERS)
async def test_there_is_nothing_to_cancel_in_another_category(desk: Desk, category: str) -> None:
    await desk.limit("49000")

    answer = await desk.ask("cancel_all_orders", category=category, settleCoin="USDT")

    assert answer["result"] == {"list": [], "success": "1"}
    assert len(await desk.rows("get_open_orders", symbol="BTCUSDT")) == 1
