"""Compare what the exchange shows with what the trades believe; decide nothing, report all."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

from pydantic import AwareDatetime, Field

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.market import Side, Symbol, Value
from tradewright.domain.trade import TradeState


class Kind(StrEnum):
    """What can differ between the exchange and the trades."""

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


class OpenOrder(Value):
    """An order that works or waits for its trigger at the exchange."""

    order_id: str
    order_link_id: str = ""
    symbol: Symbol
    side: Side
    qty: Decimal
    reduce_only: bool = False
    stop_order_type: str = Field(default="", description="Bybit's word; empty for plain orders.")


class Shown(Value):
    """What the exchange shows of one account at one moment."""

    at: AwareDatetime = Field(description="Wall clock.")
    market_at: AwareDatetime
    positions: tuple[Position, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    first_exec_ids: dict[str, str] = Field(
        default_factory=dict, description="By symbol: the oldest execution found of a position."
    )


class Believed(Value):
    """What one running trade believes."""

    workflow_id: str
    trade_id: str
    symbol: Symbol
    side: Side
    state: TradeState
    open_qty: Decimal
    busy: bool = Field(description="It has work in flight: its belief may be about to change.")


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

    @property
    def fingerprint(self) -> str:
        held = f"{self.position.side}{self.position.qty}" if self.position else ""
        return f"{self.kind}/{self.symbol}/{self.trade_id}/{self.order_id}/{held}"


def discrepancies(shown: Shown, believed: Iterable[Believed]) -> tuple[Discrepancy, ...]:
    """Return every difference between *shown* and *believed*, worst first, sorted by symbol.

    Args:
        shown: The exchange's positions and orders. A read that failed is not an empty one: it
            must not come here.
        believed: The running trades, found by the account's reservations and by the links of
            the orders shown, each confirmed by `describe`.
    """
    trades = sorted(believed, key=lambda b: b.trade_id)
    by_symbol = {b.symbol: b for b in trades}
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
        elif not trade.busy:
            found.extend(_differences(trade, position))
    for trade in trades:
        if trade.symbol not in held and not trade.busy and trade.state is TradeState.OPEN:
            found.append(
                Discrepancy(
                    kind=Kind.GHOST_TRADE,
                    symbol=trade.symbol,
                    trade_id=trade.trade_id,
                    workflow_id=trade.workflow_id,
                    detail=f"trade {trade.trade_id} believes in {trade.open_qty}, nothing is held",
                )
            )
    running = {b.trade_id for b in trades}
    for order in sorted(shown.orders, key=lambda o: o.order_id):
        link = ids.parse_link(order.order_link_id)
        if link is not None and link.trade not in running:
            found.append(
                Discrepancy(
                    kind=Kind.UNKNOWN_ORDER,
                    symbol=order.symbol,
                    order_id=order.order_id,
                    trade_id=link.trade,
                    detail=f"order {order.order_link_id} works and its trade does not run",
                )
            )
    return tuple(found)


def _differences(trade: Believed, position: Position) -> Iterable[Discrepancy]:
    def differs(kind: Kind, detail: str) -> Discrepancy:
        return Discrepancy(
            kind=kind,
            symbol=trade.symbol,
            trade_id=trade.trade_id,
            workflow_id=trade.workflow_id,
            position=position,
            detail=f"trade {trade.trade_id} {detail}",
        )

    if trade.side is not position.side:
        yield differs(
            Kind.SIDE_MISMATCH, f"believes in {trade.side}, the exchange holds {position.side}"
        )
    elif trade.open_qty != position.qty:
        yield differs(
            Kind.SIZE_MISMATCH, f"believes in {trade.open_qty}, the exchange holds {position.qty}"
        )
    if position.stop_loss is None and trade.state is TradeState.OPEN:
        yield differs(Kind.MISSING_STOP, "has no stop at the exchange")


def agreed(first: Iterable[Discrepancy], second: Iterable[Discrepancy]) -> tuple[Discrepancy, ...]:
    """Return those of *second* that *first* saw too, unchanged: what may be acted on."""
    seen = {d.fingerprint for d in first}
    return tuple(d for d in second if d.fingerprint in seen)
