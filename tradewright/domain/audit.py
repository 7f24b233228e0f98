"""Three books of the same trades: the exchange's, the journal's and Temporal's, compared.

Every execution, order, trade and sum that is not the same everywhere is a difference. Nothing is
decided here, and nothing forgiven: consistent books have no differences at all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tradewright import ids
from tradewright.domain.ledger import (
    Books,
    Ledger,
    LedgerExecution,
    LedgerOrder,
    LedgerTrade,
    WorkflowTrade,
)
from tradewright.domain.market import Value
from tradewright.domain.order import OrderState
from tradewright.domain.trade import Trade, TradeState

__all__ = [
    "AuditDifference",
    "AuditReport",
    "Books",
    "DifferenceKind",
    "Ledger",
    "LedgerExecution",
    "LedgerOrder",
    "LedgerTrade",
    "OrderState",
    "Tally",
    "Where",
    "WorkflowTrade",
    "audit",
]

ROUNDING: Final = Decimal("1e-12")
"""Average prices are quotients: what is added up in another order differs by less than this."""


class Where(StrEnum):
    """Which book is the odd one."""

    EXCHANGE = "exchange"
    JOURNAL = "journal"
    TEMPORAL = "temporal"


class DifferenceKind(StrEnum):
    """What differs."""

    EXECUTION_MISSING = "execution_missing"
    EXECUTION_TWICE = "execution_twice"
    EXECUTION_DIFFERS = "execution_differs"
    EXECUTION_UNOWNED = "execution_unowned"
    """It belongs to no trade."""
    OWNER_DIFFERS = "owner_differs"
    ORDER_MISSING = "order_missing"
    ORDER_TWICE = "order_twice"
    ORDER_DIFFERS = "order_differs"
    ORDER_LEFT = "order_left"
    """It still works although its trade has ended."""
    TRADE_MISSING = "trade_missing"
    TRADE_DIFFERS = "trade_differs"
    TRADE_UNFINISHED = "trade_unfinished"
    """Its workflow ended before it did."""
    NOT_FLAT = "not_flat"
    """It has ended with something held."""
    FEES_DIFFER = "fees_differ"
    PNL_DIFFERS = "pnl_differs"


class AuditDifference(Value):
    kind: DifferenceKind
    where: Where
    id: str
    detail: str


class Tally(Value):
    """What one book adds up to; PnL is of trades, net of fees, without funding."""

    orders: int
    executions: int
    trades: int
    fees: Decimal
    pnl: Decimal


class AuditReport(Value):
    differences: tuple[AuditDifference, ...]
    exchange: Tally
    journal: Tally
    temporal: Tally

    @property
    def ok(self) -> bool:
        return not self.differences


def audit(exchange: Ledger, journal: Books, temporal: Iterable[WorkflowTrade]) -> AuditReport:
    """Return every difference between the three books, and what each adds up to.

    All three must cover the same account and the same time, from before the first trade on or
    from a moment when nothing was held.
    """
    trades = {told.trade.plan.trade_id: told for told in temporal}
    found = [
        *_execution_differences(exchange, journal, trades),
        *_order_differences(exchange, journal, trades),
        *_trade_differences(journal, trades),
        *_sum_differences(exchange, journal, trades),
    ]
    return AuditReport(
        differences=tuple(sorted(found, key=lambda d: (d.kind, d.id, d.where))),
        exchange=_exchange_tally(exchange, trades),
        journal=Tally(
            orders=len(journal.orders),
            executions=len(journal.executions),
            trades=len(journal.trades),
            fees=sum((e.fee for e in journal.executions), Decimal(0)),
            pnl=_total(t.traded for t in journal.trades),
        ),
        temporal=Tally(
            orders=len({e.order_id for t in trades.values() for e in t.trade.executions}),
            executions=sum(len(t.trade.executions) for t in trades.values()),
            trades=len(trades),
            fees=sum((t.trade.fees for t in trades.values()), Decimal(0)),
            pnl=_total(LedgerTrade.of(t.trade).traded for t in trades.values()),
        ),
    )


# --- executions ---------------------------------------------------------------------------------


def _execution_differences(
    exchange: Ledger, journal: Books, trades: Mapping[str, WorkflowTrade]
) -> Iterable[AuditDifference]:
    kind = DifferenceKind
    told = [
        LedgerExecution.of(execution, trade_id)
        for trade_id, workflow in trades.items()
        for execution in workflow.trade.executions
    ]
    books = {
        Where.EXCHANGE: exchange.executions,
        Where.JOURNAL: journal.executions,
        Where.TEMPORAL: tuple(told),
    }
    by_id: dict[str, dict[Where, LedgerExecution]] = defaultdict(dict)
    for where, executions in books.items():
        for execution in executions:
            if where in by_id[execution.exec_id]:
                yield AuditDifference(
                    kind=kind.EXECUTION_TWICE,
                    where=where,
                    id=execution.exec_id,
                    detail=f"execution {execution.exec_id} is in the book twice",
                )
            by_id[execution.exec_id][where] = execution
    for exec_id, copies in by_id.items():
        for where in books.keys() - copies.keys():
            holders = " and ".join(sorted(copies))
            known = next(iter(copies.values()))
            yield AuditDifference(
                kind=kind.EXECUTION_MISSING,
                where=where,
                id=exec_id,
                detail=f"{known.side} {known.qty} {known.symbol} at {known.price} of order "
                f"{known.order_link_id or known.order_id} is in {holders} only",
            )
        reference = copies.get(Where.EXCHANGE) or copies.get(Where.JOURNAL)
        for where, copy in copies.items():
            if reference is not None and (detail := _unlike(reference, copy)):
                yield AuditDifference(
                    kind=kind.EXECUTION_DIFFERS, where=where, id=exec_id, detail=detail
                )
        yield from _owner_differences(exec_id, copies)


def _owner_differences(
    exec_id: str, copies: Mapping[Where, LedgerExecution]
) -> Iterable[AuditDifference]:
    owners = {where: copy.trade_id for where, copy in copies.items() if where != Where.EXCHANGE}
    known = next(iter(copies.values()))
    if not any(owners.values()):
        yield AuditDifference(
            kind=DifferenceKind.EXECUTION_UNOWNED,
            where=Where.EXCHANGE,
            id=exec_id,
            detail=f"order {known.order_link_id or known.order_id} belongs to no trade",
        )
        return
    link = ids.parse_link(known.order_link_id)
    wanted = link.trade if link else owners.get(Where.TEMPORAL) or owners[Where.JOURNAL]
    for where, owner in owners.items():
        if owner != wanted:
            yield AuditDifference(
                kind=DifferenceKind.OWNER_DIFFERS,
                where=where,
                id=exec_id,
                detail=f"given to trade {owner or 'none'}, it belongs to {wanted}",
            )


def _unlike(reference: Value, copy: Value, *, but: frozenset[str] = frozenset({"trade_id"})) -> str:
    """Return in which fields *copy* differs from *reference*, in words; empty if in none."""
    return ", ".join(
        f"{name} is {getattr(copy, name)} instead of {getattr(reference, name)}"
        for name in type(copy).model_fields
        if name not in but and getattr(copy, name) != getattr(reference, name)
    )


# --- orders -------------------------------------------------------------------------------------


def _order_differences(
    exchange: Ledger, journal: Books, trades: Mapping[str, WorkflowTrade]
) -> Iterable[AuditDifference]:
    kind = DifferenceKind
    books: dict[Where, dict[str, LedgerOrder]] = {Where.EXCHANGE: {}, Where.JOURNAL: {}}
    for where, ledger in ((Where.EXCHANGE, exchange), (Where.JOURNAL, journal)):
        for order in ledger.orders:
            if ids.parse_link(order.order_link_id) is None:
                continue
            if order.order_link_id in books[where]:
                yield AuditDifference(
                    kind=kind.ORDER_TWICE,
                    where=where,
                    id=order.order_link_id,
                    detail=f"orders {books[where][order.order_link_id].order_id} and "
                    f"{order.order_id} bear the same link",
                )
            books[where][order.order_link_id] = order
    shown, written = books[Where.EXCHANGE], books[Where.JOURNAL]
    for link in shown.keys() - written.keys():
        yield AuditDifference(
            kind=kind.ORDER_MISSING,
            where=Where.JOURNAL,
            id=link,
            detail=f"order {shown[link].order_id} was sent and is not written down",
        )
    executed = {e.order_link_id for e in (*exchange.executions, *journal.executions)}
    for link in written.keys() - shown.keys():
        # Exchanges forget, after a day, orders that ended without a fill
        forgotten = written[link].state is OrderState.ENDED and link not in executed
        if not forgotten and written[link].state not in {OrderState.INTENDED, OrderState.REJECTED}:
            yield AuditDifference(
                kind=kind.ORDER_MISSING,
                where=Where.EXCHANGE,
                id=link,
                detail=f"order {written[link].order_id} is written down as {written[link].state}",
            )
    for link in shown.keys() & written.keys():
        unknown = {name for name in ("qty", "order_id") if not getattr(written[link], name)}
        # An answer that was lost leaves the order's id unknown until its executions tell it
        if detail := _unlike(shown[link], written[link], but=frozenset({"state", *unknown})):
            yield AuditDifference(
                kind=kind.ORDER_DIFFERS, where=Where.JOURNAL, id=link, detail=detail
            )
    for link, order in shown.items():
        parsed = ids.parse_link(link)
        owner = trades.get(parsed.trade) if parsed else None
        if owner and owner.trade.is_final and order.state is OrderState.PLACED:
            yield AuditDifference(
                kind=kind.ORDER_LEFT,
                where=Where.EXCHANGE,
                id=link,
                detail=f"it still works although its trade is {owner.trade.state}",
            )


# --- trades -------------------------------------------------------------------------------------


def _trade_differences(
    journal: Books, trades: Mapping[str, WorkflowTrade]
) -> Iterable[AuditDifference]:
    kind = DifferenceKind
    written = {trade.trade_id: trade for trade in journal.trades}
    for trade_id in written.keys() - trades.keys():
        yield AuditDifference(
            kind=kind.TRADE_MISSING,
            where=Where.TEMPORAL,
            id=trade_id,
            detail=f"the journal has it as {written[trade_id].state}",
        )
    for trade_id in trades.keys() - written.keys():
        yield AuditDifference(
            kind=kind.TRADE_MISSING,
            where=Where.JOURNAL,
            id=trade_id,
            detail=f"its workflow has it as {trades[trade_id].trade.state}",
        )
    for trade_id, told in trades.items():
        trade = told.trade
        if told.ended and not trade.is_final:
            yield AuditDifference(
                kind=kind.TRADE_UNFINISHED,
                where=Where.TEMPORAL,
                id=trade_id,
                detail=f"its workflow ended while it was {trade.state}",
            )
        copy = written.get(trade_id)
        if copy is not None and (detail := _unlike(LedgerTrade.of(trade), copy)):
            yield AuditDifference(
                kind=kind.TRADE_DIFFERS, where=Where.JOURNAL, id=trade_id, detail=detail
            )


# --- sums ---------------------------------------------------------------------------------------


def _sum_differences(
    exchange: Ledger, journal: Books, trades: Mapping[str, WorkflowTrade]
) -> Iterable[AuditDifference]:
    """Add up each trade from the executions of each book and compare with what it claims."""
    owners = _owners(journal, trades)
    books = {Where.EXCHANGE: exchange.executions, Where.JOURNAL: journal.executions}
    claims: dict[str, tuple[Decimal, Decimal]] = {
        t.trade_id: (t.fees, t.traded)
        for t in (*journal.trades, *(LedgerTrade.of(told.trade) for told in trades.values()))
    }
    ended = {t.trade_id for t in journal.trades if t.state is TradeState.CLOSED} | {
        trade_id for trade_id, told in trades.items() if told.trade.is_final
    }
    for where, executions in books.items():
        own: dict[str, list[LedgerExecution]] = defaultdict(list)
        for execution in executions:
            own[owners.get(execution.exec_id, "")].append(execution)
        for trade_id, (fees, pnl) in claims.items():
            told = trades.get(trade_id)
            sums = _Sums(own[trade_id], told.trade if told else None)
            if abs(sums.fees - fees) > ROUNDING:
                yield AuditDifference(
                    kind=DifferenceKind.FEES_DIFFER,
                    where=where,
                    id=trade_id,
                    detail=f"its executions cost {sums.fees}, the trade says {fees}",
                )
            if trade_id not in ended:
                continue
            if sums.held:
                yield AuditDifference(
                    kind=DifferenceKind.NOT_FLAT,
                    where=where,
                    id=trade_id,
                    detail=f"it has ended and its executions leave {sums.held}",
                )
            elif abs(sums.cash - sums.fees - pnl) > ROUNDING:
                yield AuditDifference(
                    kind=DifferenceKind.PNL_DIFFERS,
                    where=where,
                    id=trade_id,
                    detail=f"its executions earned {sums.cash - sums.fees}, the trade says {pnl}",
                )


class _Sums:
    """What executions leave behind: quantity held, cash earned, fees paid."""

    def __init__(self, executions: Iterable[LedgerExecution], trade: Trade | None) -> None:
        # What was held before an adoption came without executions of the trade's own
        adopted = trade.adopted_qty * trade.plan.side.sign if trade else Decimal(0)
        self.held = adopted
        self.cash = -adopted * trade.adopted_price if trade else Decimal(0)
        self.fees = Decimal(0)
        for execution in executions:
            self.held += execution.qty * execution.side.sign
            self.cash -= execution.qty * execution.price * execution.side.sign
            self.fees += execution.fee


def _owners(journal: Books, trades: Mapping[str, WorkflowTrade]) -> dict[str, str]:
    """Return by execution the trade that it belongs to."""
    written = {e.exec_id: e.trade_id for e in journal.executions}
    told = {
        execution.exec_id: trade_id
        for trade_id, workflow in trades.items()
        for execution in workflow.trade.executions
    }
    return written | told


def _exchange_tally(exchange: Ledger, trades: Mapping[str, WorkflowTrade]) -> Tally:
    links = (ids.parse_link(order.order_link_id) for order in exchange.orders)
    # Adopted trades began with orders that are not ours
    adopted = {trade_id for trade_id, told in trades.items() if told.trade.adopted_qty}
    return Tally(
        orders=len(exchange.orders),
        executions=len(exchange.executions),
        trades=len({link.trade for link in links if link} | adopted),
        fees=sum((e.fee for e in exchange.executions), Decimal(0)),
        pnl=_total(-e.qty * e.price * e.side.sign - e.fee for e in exchange.executions),
    )


def _total(earned: Iterable[Decimal]) -> Decimal:
    """Return the sum of *earned* without the residue that average prices leave in it."""
    total = sum(earned, Decimal(0)).quantize(ROUNDING)
    return Decimal(f"{total.normalize():f}")
