"""What the exchange shows: positions, orders and executions, read page by page."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeVar

import structlog

from activities import parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.pace import milliseconds, moment
from activities.parse import Payment, PlacedOrder, Row
from activities.ticker import quoted
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.errors import AnswerMalformed, OrderRejected, Retry, TradewrightError
from tradewright.domain.execution import Execution
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.reconciliation import OpenOrder

log = structlog.get_logger(__name__)

T = TypeVar("T")

EXECUTION_WINDOW = timedelta(days=7)
"""The longest time that one read of executions spans."""
GONE = frozenset({110001, 110008, 110010, 110019, 170213})
"""retCodes of a cancel that finds nothing to cancel."""


class ReadsDisagree(TradewrightError):
    """Two reads of the same thing tell different stories; one of them lags."""

    retry = Retry.SAFE

    def __init__(self, symbol: str, detail: str) -> None:
        super().__init__(f"reads of {symbol} disagree: {detail}; they are read again")
        self.symbol = symbol


async def fetch_position(client: BybitClient, symbol: str) -> Position | None:
    """Return what is held in *symbol*; None is the exchange's own word that it is flat."""
    answer = await client.call("get_positions", category=LINEAR, symbol=symbol)
    rows = parse.rows("get_positions", answer)
    if not rows:
        # Bybit shows a row for a symbol that is flat, so that none is no answer
        raise AnswerMalformed(f"get_positions {symbol}", "it holds no row")
    return next((p for p in map(parse.position, rows) if p is not None), None)


async def fetch_positions(
    client: BybitClient, unreadable: list[Row] | None = None
) -> tuple[Position, ...]:
    """Return all that is held.

    Args:
        client: Of the account.
        unreadable: Takes the rows that cannot be understood, so that they hold up nothing else;
            without it one such row fails the read. Whoever passes it must not take the symbols
            of these rows for flat.
    """
    rows = _pages(client, "get_positions", settleCoin=SETTLE_COIN, limit=200)
    return tuple([p async for p in _parsed(rows, parse.position, unreadable)])


async def fetch_open_orders(
    client: BybitClient, symbol: str = "", unreadable: list[Row] | None = None
) -> tuple[OpenOrder, ...]:
    """Return every order that works or waits for its trigger, on *symbol* or on all.

    *unreadable* takes the rows that cannot be understood, as in `fetch_positions`.
    """
    where = {"symbol": symbol} if symbol else {"settleCoin": SETTLE_COIN}
    rows = _pages(client, "get_open_orders", **where, openOnly=0, limit=50)
    return tuple([order async for order in _parsed(rows, parse.open_order, unreadable)])


async def fetch_order(client: BybitClient, symbol: str, link: str) -> PlacedOrder | None:
    """Return the order that bears *link*, asked for wherever Bybit may show it.

    None says that no read shows it yet: reads lag behind writes.
    """
    for method in ("get_open_orders", "get_order_history"):
        answer = await client.call(method, category=LINEAR, symbol=symbol, orderLinkId=link)
        for row in parse.rows(method, answer):
            order = parse.placed_order(row)
            if order.order_link_id == link:
                return order
    answer = await client.call("get_executions", category=LINEAR, symbol=symbol, orderLinkId=link)
    rows = parse.rows("get_executions", answer)
    fills = [e for e in map(parse.execution, rows) if e and e.order_link_id == link]
    if not fills:
        return None
    filled = sum((e.qty for e in fills), Decimal(0))
    return PlacedOrder(
        order_id=fills[0].order_id,
        order_link_id=link,
        # It has traded; how it ended the other reads will tell
        status=parse.OrderStatus.PARTIALLY_FILLED,
        qty=filled,
        filled=filled,
    )


async def fetch_executions(
    client: BybitClient, symbol: str, since: datetime, until: datetime
) -> tuple[Execution, ...]:
    """Return what was traded on *symbol* from *since* on, oldest first; see `fetch_history`."""
    found = await fetch_history(client, symbol, since, until)
    return tuple(e for e in found if isinstance(e, Execution))


async def fetch_history(
    client: BybitClient, symbol: str, since: datetime, until: datetime
) -> tuple[Execution | Payment, ...]:
    """Return what was traded on *symbol* and paid for holding it, oldest first; market clock.

    *until* only says how many windows to read; what is newer comes along with the last one.
    """
    found: dict[str, Execution | Payment] = {}
    start = since
    while start <= max(since, until):
        rows = _pages(
            client, "get_executions", symbol=symbol, startTime=milliseconds(start), limit=100
        )
        async for row in rows:
            happened = parse.execution(row) or parse.payment(row)
            if happened is not None:
                found[happened.exec_id] = happened
        start += EXECUTION_WINDOW
    return tuple(sorted(found.values(), key=lambda e: (e.at, e.seq)))


class Quote(NamedTuple):
    """At what price a symbol traded last, and what one may sell and buy it at; None: nothing."""

    last: Decimal
    bid: Decimal | None
    ask: Decimal | None


async def fetch_last_price(client: BybitClient, symbol: str) -> Decimal:
    """Return at what price *symbol* traded last."""
    return (await fetch_quote(client, symbol)).last


async def fetch_quote(client: BybitClient, symbol: str) -> Quote:
    answer = await client.call("get_tickers", category=LINEAR, symbol=symbol)
    try:
        (row,) = parse.rows("get_tickers", answer)
        bid, ask = quoted(row, "bid1Price"), quoted(row, "ask1Price")
        return Quote(Decimal(row["lastPrice"]), bid, ask)
    except (KeyError, TypeError, ValueError, InvalidOperation) as e:
        raise AnswerMalformed(f"get_tickers {symbol}", f"{type(e).__name__}: {e}") from e


async def fetch_trailing(client: BybitClient, symbol: str) -> Decimal | None:
    """Return the distance at which the exchange trails the position's stop, if it does."""
    answer = await client.call("get_positions", category=LINEAR, symbol=symbol)
    shown = map(parse.trailing, parse.rows("get_positions", answer))
    return next((distance for distance in shown if distance is not None), None)


async def fetch_stop_trigger(client: BybitClient, symbol: str) -> str | None:
    """Return the kind of price that triggers the position's whole stop; None if none is listed."""
    rows = _pages(client, "get_open_orders", symbol=symbol, openOnly=0, limit=50)
    async for row in rows:
        if row.get("stopOrderType") == "StopLoss":
            return row.get("triggerBy") or None
    return None


async def server_now(client: BybitClient) -> datetime:
    """Return the time by the exchange's own clock."""
    answer = await client.call("get_server_time")
    try:
        return moment(answer["time"])
    except (KeyError, TypeError, ValueError) as e:
        raise AnswerMalformed("get_server_time", f"{type(e).__name__}: {e}") from e


async def cancel(client: BybitClient, symbol: str, **order: str) -> bool:
    """Cancel one order, by ``orderId`` or ``orderLinkId``; return whether it still worked."""
    try:
        await client.call("cancel_order", category=LINEAR, symbol=symbol, **order)
    except OrderRejected as e:
        if e.ret_code in GONE:
            return False
        raise
    return True


def executions_of(plan: TradePlan, found: Iterable[Execution]) -> tuple[Execution, ...]:
    """Return those of *found*, oldest first, that belong to the trade of *plan*.

    Those with a link of the trade do; those with a link of another trade do not. What closed
    it without a link (its stop, its target, a person) came after its first fill, for until
    then the last trade on the symbol may have been closing.
    """
    is_open = was_adopted = plan.origin is Origin.ADOPTED
    owned = []
    for execution in found:
        link = ids.parse_link(execution.order_link_id)
        if link is not None and link.trade != plan.trade_id:
            continue
        if was_adopted and execution.side is plan.side and execution.at <= plan.trigger:
            # Already in the quantity that was adopted, when the market's clock stands still
            continue
        if link is not None:
            is_open = True
        if is_open:
            owned.append(execution)
    return tuple(owned)


def first_of_position(position: Position, found: Iterable[Execution]) -> Execution | None:
    """Return the execution that opened *position*; None if it lies before all of *found*.

    Reckoned back from what is held: the one before which nothing was held on this side.
    """
    held = position.qty
    for execution in reversed(list(found)):
        held -= execution.qty * execution.side.sign * position.side.sign
        if held <= 0:
            return execution
    return None


async def _pages(client: BybitClient, method: str, **arguments: Any) -> AsyncIterator[Row]:
    cursor = ""
    while True:
        page = {"cursor": cursor} if cursor else {}
        answer = await client.call(method, category=LINEAR, **arguments, **page)
        rows = parse.rows(method, answer)
        for row in rows:
            yield row
        cursor = answer["result"].get("nextPageCursor") or ""
        if not cursor or not rows:
            return


async def _parsed(
    rows: AsyncIterator[Row],
    of: Callable[[Row], T | None],
    unreadable: list[Row] | None = None,
) -> AsyncIterator[T]:
    async for row in rows:
        try:
            value = of(row)
        except AnswerMalformed as e:
            if unreadable is None:
                raise
            log.error("row_not_understood", detail=str(e))
            unreadable.append(row)
            continue
        if value is not None:
            yield value
