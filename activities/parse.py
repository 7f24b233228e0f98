"""Bybit's JSON as values of the domain; the same of REST and of the private stream.

Unknown keys are ignored, missing ones that matter are not: what cannot be understood raises
`AnswerMalformed`, for a position that was not understood is not a flat one.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import AwareDatetime, Field, ValidationError

from activities.pace import moment
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.cash import CashBook, CashFlow
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Instrument, Side, Value
from tradewright.domain.reconciliation import OpenOrder

T = TypeVar("T")
Row = Mapping[str, Any]

# What moves a position; funding does not
TRADES = frozenset(
    {"Trade", "AdlTrade", "BustTrade", "Delivery", "Settle", "BlockTrade", "MovePosition"}
)
FUNDING = "Funding"

# What trading does to the wallet; other flows move money in or out
TRADING_FLOWS = frozenset({"TRADE", "SETTLEMENT", "LIQUIDATION", "ADL"})

CREATE_TYPES: Mapping[str, ExitReason] = {
    "CreateByStopLoss": ExitReason.STOP,
    "CreateByPartialStopLoss": ExitReason.STOP,
    "CreateByTakeProfit": ExitReason.TARGET,
    "CreateByPartialTakeProfit": ExitReason.TARGET,
    "CreateByTrailingStop": ExitReason.TRAILING_STOP,
    "CreateByTrailingProfit": ExitReason.TRAILING_STOP,
    "CreateByLiq": ExitReason.LIQUIDATION,
    "CreateByTakeOver_PassThrough": ExitReason.LIQUIDATION,
    "CreateByAdl_PassThrough": ExitReason.LIQUIDATION,
    "CreateBySettle": ExitReason.DELISTED,
}
STOP_TYPES: Mapping[str, ExitReason] = {
    "StopLoss": ExitReason.STOP,
    "PartialStopLoss": ExitReason.STOP,
    "TakeProfit": ExitReason.TARGET,
    "PartialTakeProfit": ExitReason.TARGET,
    "TrailingStop": ExitReason.TRAILING_STOP,
}
EXEC_TYPES: Mapping[str, ExitReason] = {
    "BustTrade": ExitReason.LIQUIDATION,
    "AdlTrade": ExitReason.LIQUIDATION,
    "Delivery": ExitReason.DELISTED,
    "Settle": ExitReason.DELISTED,
}


class Payment(Value):
    """Funding of one position, listed among the executions."""

    exec_id: str
    seq: int
    symbol: str
    amount: Decimal = Field(description="Quote currency; what was paid is negative.")
    at: AwareDatetime = Field(description="Market clock.")


class OrderStatus(StrEnum):
    """Of an order at Bybit."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    DEACTIVATED = "Deactivated"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"

    @property
    def is_terminal(self) -> bool:
        return self not in WORKING


WORKING = frozenset(
    {
        OrderStatus.NEW,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.UNTRIGGERED,
        OrderStatus.TRIGGERED,
    }
)


class PlacedOrder(Value):
    """An order that the exchange knows, working or not."""

    order_id: str
    order_link_id: str
    status: OrderStatus
    qty: Decimal
    filled: Decimal
    reason: str = ""

    @property
    def came_to_nothing(self) -> bool:
        return self.status.is_terminal and not self.filled


def rows(request: str, answer: Row) -> list[Row]:
    """Return the rows of a read's *answer*."""
    try:
        listed = answer["result"]["list"]
    except (KeyError, TypeError) as e:
        raise AnswerMalformed(request, "it holds no list") from e
    if not isinstance(listed, list):
        raise AnswerMalformed(request, "it holds no list")
    return listed


def text(number: Decimal) -> str:
    """Return *number* as Bybit reads it, without an exponent."""
    return format(number, "f")


def instrument(row: Row) -> Instrument:
    def of(row: Row) -> Instrument:
        lot, price = row["lotSizeFilter"], row["priceFilter"]
        return Instrument(
            symbol=row["symbol"],
            base_coin=row["baseCoin"],
            quote_coin=row["quoteCoin"],
            tick_size=price["tickSize"],
            qty_step=lot["qtyStep"],
            min_qty=lot["minOrderQty"],
            max_qty=lot["maxOrderQty"],
            max_market_qty=lot.get("maxMktOrderQty") or lot["maxOrderQty"],
            min_notional=lot.get("minNotionalValue") or Decimal(5),
            max_leverage=row.get("leverageFilter", {}).get("maxLeverage") or Decimal(100),
        )

    return _understood("instrument", of, row)


def position(row: Row) -> Position | None:
    """Return what *row* holds; None when it is flat."""

    def of(row: Row) -> Position | None:
        if not Decimal(row["size"]):
            return None
        created = row.get("createdTime")
        # The stream and REST call the entry price differently
        entry = _number(row, "avgPrice") or _number(row, "entryPrice")
        return Position(
            symbol=row["symbol"],
            side=Side(row["side"]),
            qty=Decimal(row["size"]),
            entry_price=entry or Decimal(0),
            mark_price=_number(row, "markPrice") or entry or Decimal(0),
            stop_loss=_number(row, "stopLoss"),
            take_profit=_number(row, "takeProfit"),
            unrealised_pnl=_number(row, "unrealisedPnl") or Decimal(0),
            leverage=_number(row, "leverage") or Decimal(1),
            created_at=moment(created) if created and int(created) else None,
        )

    return _understood("position", of, row)


def trailing(row: Row) -> Decimal | None:
    """Return at which distance the stop of the position in *row* trails the price."""
    return _understood("position", lambda row: _number(row, "trailingStop"), row)


def execution(row: Row) -> Execution | None:
    """Return what *row* traded; None when it moved no position (funding)."""

    def of(row: Row) -> Execution | None:
        if row["execType"] not in TRADES:
            return None
        return Execution(
            exec_id=row["execId"],
            seq=int(row.get("seq") or 0),
            order_id=row["orderId"],
            order_link_id=row.get("orderLinkId") or "",
            symbol=row["symbol"],
            side=Side(row["side"]),
            price=Decimal(row["execPrice"]),
            qty=Decimal(row["execQty"]),
            fee=_number(row, "execFee") or Decimal(0),
            at=moment(row["execTime"]),
            is_maker=bool(row.get("isMaker")),
            cause=_cause(row),
        )

    return _understood("execution", of, row)


def payment(row: Row) -> Payment | None:
    """Return the funding that *row* tells of; None when it tells of something else."""

    def of(row: Row) -> Payment | None:
        if row["execType"] != FUNDING:
            return None
        return Payment(
            exec_id=row["execId"],
            seq=int(row.get("seq") or 0),
            symbol=row["symbol"],
            # A fee: positive is paid
            amount=-(_number(row, "execFee") or Decimal(0)),
            at=moment(row["execTime"]),
        )

    return _understood("payment", of, row)


def filled_so_far(row: Row) -> Decimal | None:
    """Return how much of its order was filled after the execution of *row*, if it says so."""

    def of(row: Row) -> Decimal | None:
        if row["execType"] != "Trade" or row.get("leavesQty") in {None, ""}:
            return None
        ordered = _number(row, "orderQty")
        return None if ordered is None else ordered - Decimal(row["leavesQty"])

    return _understood("execution", of, row)


def open_order(row: Row) -> OpenOrder:
    def of(row: Row) -> OpenOrder:
        stop_type = row.get("stopOrderType") or ""
        return OpenOrder(
            order_id=row["orderId"],
            order_link_id=row.get("orderLinkId") or "",
            symbol=row["symbol"],
            side=Side(row["side"]),
            qty=_number(row, "qty") or Decimal(0),
            # Either of them keeps an order from opening a position
            reduce_only=bool(row.get("reduceOnly") or row.get("closeOnTrigger")),
            stop_order_type="" if stop_type == "UNKNOWN" else stop_type,
        )

    return _understood("order", of, row)


def placed_order(row: Row) -> PlacedOrder:
    def of(row: Row) -> PlacedOrder:
        reject, cancel = row.get("rejectReason") or "", row.get("cancelType") or ""
        reason = cancel if reject in {"", "EC_NoError"} else reject
        return PlacedOrder(
            order_id=row["orderId"],
            order_link_id=row.get("orderLinkId") or "",
            status=OrderStatus(row["orderStatus"]),
            qty=_number(row, "qty") or Decimal(0),
            filled=_number(row, "cumExecQty") or Decimal(0),
            reason="" if reason == "UNKNOWN" else reason,
        )

    return _understood("order", of, row)


def cash_flow(row: Row) -> CashFlow:
    """Return one line of the transaction log."""

    def of(row: Row) -> CashFlow:
        def money(key: str) -> Decimal:
            return _number(row, key) or Decimal(0)

        return CashFlow(
            flow_id=row["id"],
            at=moment(row["transactionTime"]),
            is_trade=row["type"] in TRADING_FLOWS,
            traded=money("cashFlow"),
            fee=money("fee"),
            funding=money("funding"),
            change=money("change"),
            balance=money("cashBalance"),
        )

    return _understood("cash flow", of, row)


def cash_book(wallet: Row, flows: Iterable[CashFlow]) -> CashBook:
    """Return *flows*, oldest first, beside what the *wallet* holds after them."""

    def of(row: Row) -> CashBook:
        (coin,) = row["coin"]
        return CashBook(
            flows=tuple(flows),
            wallet=Decimal(coin["walletBalance"]),
            unrealised=_number(coin, "unrealisedPnl") or Decimal(0),
            equity=Decimal(coin["equity"]),
        )

    return _understood("wallet", of, wallet)


def _cause(row: Row) -> ExitReason | None:
    if ids.is_kill_link(row.get("orderLinkId") or ""):
        return ExitReason.KILL_SWITCH
    return (
        EXEC_TYPES.get(row["execType"])
        or CREATE_TYPES.get(row.get("createType") or "")
        or STOP_TYPES.get(row.get("stopOrderType") or "")
    )


def _number(row: Row, key: str) -> Decimal | None:
    """Return the number under *key*; None where Bybit writes nothing, or zero, for nothing."""
    value = row.get(key)
    return Decimal(value) or None if value not in {None, ""} else None


def _understood(what: str, of: Callable[[Row], T], row: Row) -> T:
    try:
        return of(row)
    except (KeyError, TypeError, ValueError, InvalidOperation, ValidationError) as e:
        detail = f"{type(e).__name__} in {dict(row)!r}"
        raise AnswerMalformed(f"a read of {what}s", detail) from e
