"""The exchange's own book of one account: whole for an audit, its cash for the desk."""

from datetime import datetime, timedelta
from typing import Any

from activities import parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.lookup import EXECUTION_WINDOW
from activities.pace import milliseconds
from activities.parse import Row
from tradewright.domain.audit import Ledger, LedgerExecution, LedgerOrder
from tradewright.domain.cash import CashBook, CashFlow
from tradewright.domain.market import Side
from tradewright.domain.order import state_of_status

UNIFIED = "UNIFIED"
IN_USDT = {"settleCoin": SETTLE_COIN}


async def fetch_ledger(client: BybitClient, since: datetime, until: datetime) -> Ledger:
    """Return all orders and executions between two times of the market clock.

    Bybit shows orders that ended without a fill for 24 hours only.
    """
    orders: dict[str, LedgerOrder] = {}
    executions: dict[str, LedgerExecution] = {}
    start = since
    while start <= until:
        window = {
            "startTime": milliseconds(start),
            "endTime": milliseconds(min(start + EXECUTION_WINDOW, until)) + 1,
        }
        for row in await _all(client, "get_order_history", **IN_USDT, limit=50, **window):
            orders[str(row["orderId"])] = _order(row)
        for row in await _all(client, "get_executions", **IN_USDT, limit=100, **window):
            if (execution := _execution(row)) is not None:
                executions[execution.exec_id] = execution
        start += EXECUTION_WINDOW
    for row in await _all(client, "get_open_orders", **IN_USDT, limit=50, openOnly=0):
        orders[str(row["orderId"])] = _order(row)
    return Ledger(orders=tuple(orders.values()), executions=tuple(executions.values()))


async def fetch_cash(client: BybitClient, since: datetime, until: datetime) -> CashBook:
    """Return every change of the wallet between two times of the market clock."""
    flows = await fetch_flows(client, since, until)
    answer = await client.call("get_wallet_balance", accountType=UNIFIED, coin=SETTLE_COIN)
    return parse.cash_book(parse.rows("get_wallet_balance", answer)[0], flows)


async def fetch_flows(client: BybitClient, since: datetime, until: datetime) -> list[CashFlow]:
    """Return the lines of the transaction log between two times of the market clock."""
    flows: list[CashFlow] = []
    start = since
    while start <= until:
        rows = await _all(
            client,
            "get_transaction_log",
            # With a category, Bybit leaves out what was moved in and out
            "",
            accountType=UNIFIED,
            currency=SETTLE_COIN,
            limit=50,
            startTime=milliseconds(start),
            endTime=milliseconds(min(start + EXECUTION_WINDOW, until)),
        )
        # Each window is listed newest first
        flows.extend(parse.cash_flow(row) for row in reversed(rows))
        start += EXECUTION_WINDOW + timedelta(milliseconds=1)
    return flows


async def _all(
    client: BybitClient, method: str, category: str = LINEAR, /, **arguments: Any
) -> list[Row]:
    found: list[Row] = []
    where: dict[str, Any] = {"category": category, **arguments} if category else arguments
    cursor = ""
    while True:
        answer = await client.call(method, cursor=cursor, **where)
        page = parse.rows(method, answer)
        found.extend(page)
        cursor = answer["result"].get("nextPageCursor") or ""
        if not cursor or not page:
            return found


def _order(row: Row) -> LedgerOrder:
    placed = parse.placed_order(row)
    return LedgerOrder(
        order_id=placed.order_id,
        order_link_id=placed.order_link_id,
        symbol=row["symbol"],
        side=Side(row["side"]),
        qty=placed.qty,
        state=state_of_status(placed.status),
    )


def _execution(row: Row) -> LedgerExecution | None:
    execution = parse.execution(row)
    if execution is None:
        return None
    return LedgerExecution(
        exec_id=execution.exec_id,
        order_id=execution.order_id,
        order_link_id=execution.order_link_id,
        symbol=execution.symbol,
        side=execution.side,
        price=execution.price,
        qty=execution.qty,
        fee=execution.fee,
    )
