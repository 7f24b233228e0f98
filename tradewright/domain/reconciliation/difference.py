"""Compare what the exchange shows with what the trades believe; decide nothing, report all."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.cash import DRIFT, CashBook
from tradewright.domain.execution import Execution
from tradewright.domain.market import Side, Symbol, Value
from tradewright.domain.trade import FINAL, TradeState

OF_NO_POSITION: Final = frozenset({"", "Stop"})
"""Bybit's stop order types that do not belong to a position: plain and conditional orders."""


class Kind(StrEnum):
    """What can differ between the exchange, the trades and the journal."""

    ORPHAN_POSITION = "orphan_position"
    GHOST_TRADE = "ghost_trade"
    SIZE_MISMATCH = "size_mismatch"
    SIDE_MISMATCH = "side_mismatch"
    MISSING_STOP = "missing_stop"
    WRONG_STOP = "wrong_stop"
    UNKNOWN_ORDER = "unknown_order"
    """An order with a link of ours whose trade does not run."""
    FOREIGN_ORDER = "foreign_order"
    MISSING_EXECUTION = "missing_execution"
    BALANCE_DRIFT = "balance_drift"
    ALTERED_JOURNAL = "altered_journal"
    UNANSWERING_TRADE = "unanswering_trade"


class OpenOrder(Value):
    """An order that works or waits for its trigger at the exchange."""

    order_id: str
    order_link_id: str = ""
    symbol: Symbol
    side: Side
    qty: Decimal
    reduce_only: bool = False
    stop_order_type: str = Field(default="", description="Bybit's word; empty for plain orders.")

    @property
    def is_foreign(self) -> bool:
        """Return whether somebody else has sent it; the stops of a position bear no link."""
        return self.stop_order_type in OF_NO_POSITION and not ids.is_ours(self.order_link_id)


class Shown(Value):
    """What the exchange shows of one account at one moment."""

    at: AwareDatetime = Field(description="Wall clock.")
    market_at: AwareDatetime
    positions: tuple[Position, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    executions: tuple[Execution, ...] = Field(default=(), description="Of late, oldest first.")


class Believed(Value):
    """What one running trade believes."""

    workflow_id: str
    trade_id: str
    symbol: Symbol
    side: Side
    state: TradeState
    open_qty: Decimal
    stop: Decimal | None = Field(default=None, description="Where it wants its stop.")
    trailed: bool = Field(
        default=False, description="The exchange follows the price: its stop may be tighter."
    )
    since: AwareDatetime | None = Field(default=None, description="Market clock; of its opening.")
    exec_ids: frozenset[str] = frozenset()
    busy: bool = Field(description="It has work in flight: its belief may be about to change.")
    answers: bool = Field(default=True, description="Else it says nothing of what it believes.")


class Discrepancy(Value):
    """One difference; its fingerprint is equal in two passes only if nothing moved."""

    kind: Kind
    symbol: str = Field(
        default="", pattern=r"^([A-Z0-9-]{4,32})?$", description="Empty: the whole account."
    )
    detail: str
    trade_id: str = ""
    workflow_id: str = ""
    order_id: str = ""
    position: Position | None = None
    mark: str = Field(default="", description="What else tells it from another of its kind.")
    tighter: bool = Field(
        default=False, description="Of a wrong stop: it risks less than its trade wants."
    )

    @property
    def fingerprint(self) -> str:
        held = f"{self.position.side}{self.position.qty}" if self.position else ""
        mark = f"/{self.mark}" if self.mark else ""
        return f"{self.kind}/{self.symbol}/{self.trade_id}/{self.order_id}/{held}{mark}"


def discrepancies(shown: Shown, believed: Iterable[Believed]) -> tuple[Discrepancy, ...]:
    """Return every difference between *shown* and *believed*, worst first, sorted by symbol.

    Args:
        shown: The exchange's positions, orders and late executions. A read that failed is not an
            empty one: it must not come here.
        believed: The running trades, found by the account's reservations and by the links of
            the orders shown, each confirmed by `describe`.
    """
    trades = sorted(believed, key=lambda b: b.trade_id)
    # One that has ended and waits for the journal owns nothing any more
    by_symbol = {b.symbol: b for b in trades if b.state not in FINAL}
    by_id = {b.trade_id: b for b in trades}
    held = {p.symbol: p for p in shown.positions}
    found: list[Discrepancy] = []
    for symbol, position in sorted(held.items()):
        trade = by_symbol.get(symbol)
        if trade is None:
            found.append(
                Discrepancy(
                    kind=Kind.ORPHAN_POSITION,
                    symbol=symbol,
                    position=position,
                    detail=f"{position.side} {position.qty} is held and no trade owns it",
                )
            )
        elif not trade.answers and position.stop_loss is None:
            found.append(_without_stop(trade, position))
        elif not trade.busy:
            found.extend(_of_position(trade, position))
    for trade in trades:
        if not trade.answers:
            detail = "runs and does not answer; reset its workflow, or terminate it: what it "
            found.append(_of_trade(Kind.UNANSWERING_TRADE, trade, f"{detail}holds is adopted then"))
        if trade.symbol not in held and not trade.busy and trade.state is TradeState.OPEN:
            detail = f"believes in {trade.open_qty}, nothing is held"
            found.append(_of_trade(Kind.GHOST_TRADE, trade, detail))
    for order in sorted(shown.orders, key=lambda o: o.order_id):
        found.extend(_of_order(order, by_id))
    for execution in shown.executions:
        found.extend(_of_execution(execution, by_id, by_symbol))
    return tuple(found)


def _of_position(trade: Believed, position: Position) -> Iterable[Discrepancy]:
    def differs(kind: Kind, detail: str, mark: str = "") -> Discrepancy:
        return _of_trade(kind, trade, detail, position=position, mark=mark)

    if trade.side is not position.side:
        yield differs(
            Kind.SIDE_MISMATCH, f"believes in {trade.side}, the exchange holds {position.side}"
        )
        # Its stop would be on the winning side of what is held
        return
    if trade.open_qty != position.qty:
        yield differs(
            Kind.SIZE_MISMATCH, f"believes in {trade.open_qty}, the exchange holds {position.qty}"
        )
    if trade.state is not TradeState.OPEN:
        return
    if position.stop_loss is None:
        yield _without_stop(trade, position)
    elif fault := _fault_of_stop(trade, position.stop_loss):
        detail = f"wants its stop at {trade.stop}, the exchange has a {fault} one at "
        wrong = differs(
            Kind.WRONG_STOP, f"{detail}{position.stop_loss}", mark=str(position.stop_loss)
        )
        yield wrong.model_copy(update={"tighter": fault == "tighter"})


def _without_stop(trade: Believed, position: Position) -> Discrepancy:
    detail = "has no stop at the exchange"
    return _of_trade(Kind.MISSING_STOP, trade, detail, position=position)


def _fault_of_stop(trade: Believed, stands: Decimal) -> str:
    if trade.stop is None or stands == trade.stop:
        return ""
    if (stands - trade.stop) * trade.side.sign < 0:
        return "looser"
    return "" if trade.trailed else "tighter"


def _of_order(order: OpenOrder, by_id: Mapping[str, Believed]) -> Iterable[Discrepancy]:
    link = ids.parse_link(order.order_link_id)
    if link is not None and link.trade not in by_id:
        yield Discrepancy(
            kind=Kind.UNKNOWN_ORDER,
            symbol=order.symbol,
            order_id=order.order_id,
            trade_id=link.trade,
            detail=f"order {order.order_link_id} works and its trade does not run",
        )
    elif order.is_foreign:
        name = order.order_link_id or order.order_id
        yield Discrepancy(
            kind=Kind.FOREIGN_ORDER,
            symbol=order.symbol,
            order_id=order.order_id,
            detail=f"order {name}, {order.side} {order.qty}, works and is not ours",
        )


def _of_execution(
    execution: Execution, by_id: Mapping[str, Believed], by_symbol: Mapping[str, Believed]
) -> Iterable[Discrepancy]:
    link = ids.parse_link(execution.order_link_id)
    if link is not None:
        trade = by_id.get(link.trade)
    else:
        trade = by_symbol.get(execution.symbol)
        # What closes a position bears no link of the trade; before that it was another's
        if trade is not None and (trade.since is None or execution.at <= trade.since):
            trade = None
    if trade is None or trade.busy or execution.exec_id in trade.exec_ids:
        return
    if link is not None and trade.since is not None and execution.at < trade.since:
        # An adopted trade has its first executions in its quantity already
        return
    yield _of_trade(
        Kind.MISSING_EXECUTION,
        trade,
        f"does not know of execution {execution.exec_id}, {execution.side} {execution.qty} at "
        f"{execution.price}",
        mark=execution.exec_id,
    )


def _of_trade(
    kind: Kind, trade: Believed, detail: str, position: Position | None = None, mark: str = ""
) -> Discrepancy:
    return Discrepancy(
        kind=kind,
        symbol=trade.symbol,
        trade_id=trade.trade_id,
        workflow_id=trade.workflow_id,
        position=position,
        detail=f"trade {trade.trade_id} {detail}",
        mark=mark,
    )


def balance_drift(book: CashBook, tolerance: Decimal = DRIFT) -> Discrepancy | None:
    """Return by how much the wallet changed without a line in its log, if by more than rounding.

    ``wallet = opening + all changes``. Which of several flows of the first millisecond was the
    first is not certain: the wallet has not drifted if any of them explains it.
    """
    if not book.flows:
        return None
    first = book.flows[0]
    changes = sum((flow.change for flow in book.flows), Decimal(0))
    explained = [f.balance - f.change + changes for f in book.flows if f.at == first.at]
    drift = book.wallet - explained[0]
    if any(abs(book.wallet - wallet) <= tolerance for wallet in explained):
        return None
    return Discrepancy(
        kind=Kind.BALANCE_DRIFT,
        detail=f"the wallet holds {book.wallet}, its log since {first.at:%Y-%m-%d %H:%M:%S} UTC "
        f"leaves {explained[0]}: {drift:+} that nothing explains",
        mark=f"{drift.normalize():f}",
    )


def agreed(first: Iterable[Discrepancy], second: Iterable[Discrepancy]) -> tuple[Discrepancy, ...]:
    """Return those of *second* that *first* saw too, unchanged: what may be acted on."""
    seen = {d.fingerprint for d in first}
    return tuple(d for d in second if d.fingerprint in seen)
