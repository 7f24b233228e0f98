"""What happened on an account of late, in a bounded number of reads."""

from datetime import datetime, timedelta
from typing import Any

import structlog

from activities import parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.ledger import UNIFIED
from activities.lookup import EXECUTION_WINDOW
from activities.pace import milliseconds
from activities.parse import Row
from tradewright.domain.cash import CashBook
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.execution import Execution

log = structlog.get_logger(__name__)

PAGES = 2
"""Of the newest rows: what is older was seen by an earlier pass."""


async def fetch_recent_executions(client: BybitClient, now: datetime) -> tuple[Execution, ...]:
    """Return the newest executions on all symbols, oldest first; market clock.

    A row that cannot be understood is left out: its trade asks for its executions itself.
    """
    found: dict[str, Execution] = {}
    for row in await _newest(
        client, "get_executions", now, category=LINEAR, settleCoin=SETTLE_COIN, limit=100
    ):
        try:
            execution = parse.execution(row)
        except AnswerMalformed as e:
            log.error("row_not_understood", detail=str(e))
            continue
        if execution is not None:
            found[execution.exec_id] = execution
    return tuple(sorted(found.values(), key=lambda e: (e.at, e.seq)))


async def fetch_recent_cash(client: BybitClient, now: datetime) -> CashBook:
    """Return the newest changes of the wallet without a gap between them, and the wallet."""
    # With a category, Bybit leaves out what was moved in and out
    rows = await _newest(
        client, "get_transaction_log", now, accountType=UNIFIED, currency=SETTLE_COIN, limit=50
    )
    answer = await client.call("get_wallet_balance", accountType=UNIFIED, coin=SETTLE_COIN)
    (wallet,) = parse.rows("get_wallet_balance", answer)[:1]
    return parse.cash_book(wallet, map(parse.cash_flow, reversed(rows)))


async def _newest(client: BybitClient, method: str, now: datetime, **arguments: Any) -> list[Row]:
    """Return rows, newest first, of at most so many pages."""
    window: dict[str, Any] = {
        "startTime": milliseconds(now - EXECUTION_WINDOW + timedelta(minutes=1)),
        "endTime": milliseconds(now) + 1,
    }
    found: list[Row] = []
    cursor = ""
    for _ in range(PAGES):
        page: dict[str, Any] = {"cursor": cursor} if cursor else {}
        answer = await client.call(method, **arguments, **window, **page)
        rows = parse.rows(method, answer)
        found.extend(rows)
        cursor = answer["result"].get("nextPageCursor") or ""
        if not cursor or not rows:
            break
    return found
