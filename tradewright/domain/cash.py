"""The cash of an account, flow by flow: what the exchange says must add up.

``opening + traded - fees - funding + moved = wallet`` and ``wallet + unrealised = equity``, to
the last digit that the exchange counts.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from tradewright.domain.market import Value

CENT: Final = Decimal("1e-8")
"""Exchanges round what they show: a wallet, a valuation."""
DRIFT: Final = Decimal("0.01")
"""USDT by which wallet and log may differ while both are read of a running account."""


class CashFlow(Value):
    """One line of the exchange's transaction log."""

    flow_id: str
    at: AwareDatetime
    is_trade: bool
    """Whether it is of a trade or of funding; else it was moved in or out."""
    traded: Decimal
    """Profit that the trade realised, before fees; of a transfer, what was moved."""
    fee: Decimal
    funding: Decimal
    """Received (negative: paid)."""
    change: Decimal
    balance: Decimal
    """Of the wallet, afterwards."""


class CashBook(Value):
    flows: tuple[CashFlow, ...]
    """Oldest first, without a gap."""
    wallet: Decimal
    unrealised: Decimal
    equity: Decimal


class CashReport(Value):
    opening: Decimal
    traded: Decimal
    fees: Decimal
    funding: Decimal
    """Paid (negative: received)."""
    moved: Decimal
    wallet: Decimal
    unrealised: Decimal
    equity: Decimal
    faults: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.faults


def cash_report(book: CashBook) -> CashReport:
    """Return the sums of *book*, and where they do not add up."""
    trades = [f for f in book.flows if f.is_trade]
    moved = sum((f.change for f in book.flows if not f.is_trade), Decimal(0))
    first = book.flows[0] if book.flows else None
    return CashReport(
        opening=first.balance - first.change if first else book.wallet,
        traded=sum((f.traded for f in trades), Decimal(0)),
        fees=sum((f.fee for f in trades), Decimal(0)),
        funding=-sum((f.funding for f in trades), Decimal(0)),
        moved=moved,
        wallet=book.wallet,
        unrealised=book.unrealised,
        equity=book.equity,
        faults=tuple(_faults(book)),
    )


def _faults(book: CashBook) -> Iterable[str]:
    before: CashFlow | None = None
    for flow in book.flows:
        if flow.change != flow.traded + flow.funding - flow.fee:
            yield (
                f"flow {flow.flow_id} changes the wallet by {flow.change}, "
                f"not by {flow.traded + flow.funding - flow.fee}"
            )
        if before is not None and before.balance + flow.change != flow.balance:
            yield (
                f"flow {flow.flow_id} leaves {flow.balance} in the wallet, "
                f"not {before.balance + flow.change}: a flow is missing"
            )
        before = flow
    if before is not None and abs(before.balance - book.wallet) > CENT:
        yield f"wallet holds {book.wallet}, but its last flow left {before.balance}"
    if abs(book.wallet + book.unrealised - book.equity) > CENT:
        yield f"equity is {book.equity}, not {book.wallet} + {book.unrealised} unrealised"
