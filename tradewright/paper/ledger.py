"""The audit of the ledger: what the stored rows add up to, beside what the accounts hold."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec

from tradewright.matching import Account, ExecType, Execution
from tradewright.paper.history import History
from tradewright.paper.query import Transfer
from tradewright.paper.wire import num

ZERO = Decimal(0)
_PAGE = 1000


class Sums(msgspec.Struct):
    """What the bookings of one account add up to."""

    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    transfers: Decimal = ZERO
    executions: int = 0
    sizes: dict[str, Decimal] = msgspec.field(default_factory=dict)

    def add(self, cause: Execution | Transfer) -> None:
        if isinstance(cause, Transfer):
            self.transfers += cause.amount
            return
        self.executions += 1
        if cause.exec_type is ExecType.FUNDING:
            self.funding += cause.fee
            return
        self.realised += cause.pnl
        self.fees += cause.fee
        size = self.sizes.get(cause.symbol, ZERO)
        self.sizes[cause.symbol] = size + cause.side.sign * cause.qty


async def ledger(history: History, account: Account) -> dict[str, Any]:
    """Return the ledger of *account* as it is now; others go on while it is read."""
    balance, seq = account.balance, history.last_booking()
    equity, unrealised = account.equity(), account.unrealised()
    margins = {
        "initial": num(account.position_margin() + account.order_margin()),
        "maintenance": num(account.maintenance_margin()),
        "available": num(account.available()),
    }
    held = {p.symbol: p.side.sign * p.size for p in account.held()}
    orders = history.count_orders(account.name)
    sums, cash = Sums(), True
    after = 0
    while page := history.bookings_after(account.name, after, seq, _PAGE):
        for booking in page:
            sums.add(booking.cause)
            known = balance.start + sums.transfers + sums.realised - sums.fees - sums.funding
            cash = cash and booking.cash == known
        after = page[-1].cause.seq
        await asyncio.sleep(0)
    sizes = {s: q for s, q in sums.sizes.items() if q}
    wallet = balance.start + sums.transfers + sums.realised - sums.fees - sums.funding
    parts = (sums.transfers, sums.realised, sums.fees, sums.funding)
    return {
        "account": account.name,
        "start": num(balance.start),
        "transfers": num(sums.transfers),
        "realised": num(sums.realised),
        "fees": num(sums.fees),
        "funding": num(sums.funding),
        "wallet": num(balance.cash),
        "unrealised": num(unrealised),
        "equity": num(equity),
        "margin": margins,
        "executions": sums.executions,
        "orders": orders,
        "positions": {s: num(q) for s, q in sizes.items()},
        "balanced": cash
        and wallet == balance.cash
        and parts == (balance.transfers, balance.realised, balance.fees, balance.funding)
        and wallet + unrealised == equity
        and sizes == held,
    }
