"""What a person is told of a strategy's signals and of the symbols that it fails on."""

from decimal import Decimal

from tradewright import ids
from tradewright.domain.market import Side
from tradewright.domain.notice import Notice, Priority
from tradewright.domain.plan import Proposal


def plain(price: Decimal) -> str:
    """Return *price* without trailing zeros.

    Example:
        >>> plain(Decimal("50000.10")), plain(Decimal("5E+4"))
        ('50000.1', '50000')
    """
    return f"{price.normalize():f}"


def signal_alerted(proposal: Proposal) -> Notice:
    """Say what a preset in mode `alert` has seen; nothing comes of it but this."""
    direction = "long" if proposal.signal.side is Side.BUY else "short"
    goal = f", target {plain(proposal.take_profit)}" if proposal.take_profit else ""
    workflow_id = ids.strategy_workflow(proposal.preset)
    return Notice(
        key=f"{workflow_id}/alert/{proposal.trade_id}",
        account=proposal.account,
        priority=Priority.WARNING,
        title=f"{proposal.preset}: {proposal.symbol} {direction}",
        text=f"at {plain(proposal.price)}, stop {plain(proposal.stop_loss)}{goal}\n"
        f"{proposal.signal.reason}",
        workflow_id=workflow_id,
    )


def symbol_rests(
    account: str, preset: str, symbol: str, reason: str, *, resolved: bool = False
) -> Notice:
    """Say that a preset leaves a symbol alone that it fails on; resolved, that it works again."""
    workflow_id = ids.strategy_workflow(preset)
    return Notice(
        key=f"{workflow_id}/rests/{symbol}",
        account=account,
        priority=Priority.WARNING,
        title=f"{preset} rests on {symbol}",
        text=reason,
        workflow_id=workflow_id,
        resolved=resolved,
    )
