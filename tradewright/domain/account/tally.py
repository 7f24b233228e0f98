"""What the wallet did between two looks at it, sorted into trading and moved money."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime, Field

from tradewright.domain.cash import DRIFT, CashFlow
from tradewright.domain.market import Value

OVERLAP: Final = timedelta(minutes=5)
"""How far before the last flow the log is read again: rows may appear late."""
IDLE: Final = timedelta(hours=1)
"""The longest time before now that an idle account's log is read again."""


class CashMark(Value):
    """Up to where the transaction log was counted."""

    at: AwareDatetime = Field(description="Market clock.")
    balance: Decimal = Field(description="Of the wallet there.")
    counted: dict[str, AwareDatetime] = Field(
        default_factory=dict, description="Flows within the overlap, by id: not counted again."
    )

    @property
    def since(self) -> datetime:
        """Return from when the log is to be read again."""
        return self.at - OVERLAP


class Tally(Value):
    """What was counted since the mark before; of the day are only its own flows."""

    explained: bool = Field(description="Whether the log leads to the wallet that was read.")
    moved: Decimal = Field(default=Decimal(0), description="Deposits less withdrawals.")
    realised: Decimal = Field(default=Decimal(0), description="Of the day, after fees.")
    fees: Decimal = Field(default=Decimal(0), description="Of the day, paid.")
    funding: Decimal = Field(default=Decimal(0), description="Of the day; negative: paid.")
    mark: CashMark


def tally(
    flows: Sequence[CashFlow], wallet: Decimal, mark: CashMark | None, now: datetime
) -> Tally:
    """Return what *flows* did to the wallet since *mark*.

    Only flows up to the one that leaves what was read in the wallet are counted: later ones came
    between the two reads. If none does, a flow is missing still and nothing is explained; all
    are counted then, should somebody have to go on without it.

    Args:
        flows: Of the transaction log, oldest first, from `mark.since` or the day's start on.
        wallet: What it held when it was read, before the flows were.
        mark: Of the tally before; None begins, and money moved before that moment is no move.
        now: Market clock, its day is the day that is counted.
    """
    known = mark.counted if mark else {}
    new = [flow for flow in flows if flow.flow_id not in known]
    if mark is not None:
        opening = mark.balance
    else:
        opening = new[0].balance - new[0].change if new else wallet
    balances = [opening, *(flow.balance for flow in new)]
    fitting = [n for n, balance in enumerate(balances) if abs(balance - wallet) <= DRIFT]
    counted = new[: fitting[-1]] if fitting else new
    today = [flow for flow in counted if flow.is_trade and flow.at.date() == now.date()]
    moved = sum((f.change for f in counted if not f.is_trade), Decimal(0)) if mark else Decimal(0)
    return Tally(
        explained=bool(fitting),
        moved=moved,
        realised=sum((f.traded - f.fee for f in today), Decimal(0)),
        fees=sum((f.fee for f in today), Decimal(0)),
        funding=sum((f.funding for f in today), Decimal(0)),
        mark=_mark(counted, wallet, mark, now),
    )


def _mark(
    counted: Sequence[CashFlow], wallet: Decimal, before: CashMark | None, now: datetime
) -> CashMark:
    known = dict(before.counted) if before else {}
    known |= {flow.flow_id: flow.at for flow in counted}
    at = max([now - IDLE, *known.values(), *([before.at] if before else [])])
    # A read that lags may not show them the next time, and one after it again
    recent = {flow_id: of for flow_id, of in known.items() if of >= at - OVERLAP}
    return CashMark(at=at, balance=wallet, counted=recent)
