"""What is shown of the running system, a line each, and how it is drawn from what was asked."""

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pydantic import AwareDatetime
from temporalio.client import WorkflowExecution

from tradewright import ids
from tradewright.app.books import Books
from tradewright.domain.account import Account, Block, Limits, Pause, Position
from tradewright.domain.gate import Gate
from tradewright.domain.market import Side, Value
from tradewright.domain.plan import Mode
from tradewright.domain.trade import Trade, TradeState
from tradewright.ports import KillSwitchState, StrategyStatus

if TYPE_CHECKING:
    from tradewright.journal import TradeRow


STOPPED: Final = "stopped"
MODE_STATES: Final = {Mode.TRADE: "trading", Mode.SHADOW: "shadow", Mode.ALERT: "alert"}


class TradeLine(Value):
    """One trade in one line."""

    trade_id: str
    workflow_id: str
    preset: str
    symbol: str
    side: Side | None = None
    state: str
    qty: Decimal | None = None
    open_qty: Decimal | None = None
    """What is held of it; None once it has ended."""
    entry_price: Decimal | None = None
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    open_pnl: Decimal | None = None
    """Unrealised, by the desk's last snapshot."""
    pnl: Decimal | None = None
    """Realised, after fees."""
    r_multiple: Decimal | None = None
    exit_reason: str = ""
    """Empty before it leaves, even where a part has left."""
    opened_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    needs_operator: str = ""


class StrategyLine(Value):
    name: str
    workflow_id: str
    state: str
    """trading, shadow, alert, paused, disabled, stopped, or silent: nobody answers for it."""
    status: StrategyStatus | None = None


def strategy_state(status: StrategyStatus) -> str:
    """Return what it does in one word."""
    if not status.enabled:
        return "disabled"
    return "paused" if status.paused else MODE_STATES[status.mode]


class DeskLine(Value):
    """The account's desk, as far as a person asks for it."""

    workflow_id: str
    gate: str
    gate_reason: str
    snapshot_at: AwareDatetime | None
    equity: Decimal | None
    day_loss_fraction: Decimal
    max_daily_loss_fraction: Decimal
    open_trades: int
    max_open_trades: int
    positions: tuple[Position, ...]
    blocks: tuple[Block, ...]
    pauses: tuple[Pause, ...]
    reconciled_at: AwareDatetime | None


class FeedLine(Value):
    """A consumer of a stream."""

    name: str
    workflow_id: str
    state: str
    heard_at: AwareDatetime | None = None
    works: bool


class ReconciliationLine(Value):
    workflow_id: str
    at: AwareDatetime
    report: Books | None = None
    """None if the run failed."""


class Need(Value):
    """A workflow that waits for a person."""

    workflow_id: str
    why: str


class Overview(Value):
    """All that `status` shows; `faults` are what could not be asked."""

    venue: str
    account: str
    at: AwareDatetime
    gate: Gate | None
    """The journal's row, which entries obey; where none was written yet, the kill switch's."""
    kill_switch: KillSwitchState | None
    desk: DeskLine | None
    strategies: tuple[StrategyLine, ...]
    trades: tuple[TradeLine, ...]
    feeds: tuple[FeedLine, ...]
    reconciliation: ReconciliationLine | None
    needs: tuple[Need, ...]
    faults: tuple[str, ...]


def line_of_trade(trade: Trade, workflow_id: str, needs_operator: str = "") -> TradeLine:
    plan = trade.plan
    return TradeLine(
        trade_id=plan.trade_id,
        workflow_id=workflow_id,
        preset=plan.preset,
        symbol=plan.symbol,
        side=plan.side,
        state=trade.state,
        qty=trade.entry_qty if trade.was_open else plan.qty,
        open_qty=None if trade.is_final else trade.open_qty,
        entry_price=trade.entry_price,
        stop=trade.stop if trade.stop is not None else trade.wanted_stop,
        take_profit=plan.take_profit,
        pnl=trade.pnl if trade.exits or trade.is_final else None,
        r_multiple=trade.r_multiple if trade.exits else None,
        exit_reason=_why(trade),
        opened_at=trade.opened_at,
        closed_at=trade.closed_at,
        needs_operator=needs_operator,
    )


def _why(trade: "Trade | TradeRow") -> str:
    stays = trade.state in {TradeState.PENDING, TradeState.ENTERING, TradeState.OPEN}
    return "" if stays else trade.exit_reason or trade.rejection


def line_of_row(row: "TradeRow") -> TradeLine:
    ended = not row.live
    return TradeLine(
        trade_id=row.trade_id,
        workflow_id=row.workflow_id,
        preset=row.preset,
        symbol=row.symbol,
        side=row.side,
        state=row.state,
        qty=row.qty,
        open_qty=None if ended else row.open_qty,
        entry_price=row.entry_price,
        # Before the exchange has confirmed it, where it is to stand
        stop=row.stop_loss if row.stop is None and not ended else row.stop,
        take_profit=row.take_profit,
        pnl=row.pnl if row.exit_price is not None or ended else None,
        r_multiple=row.r_multiple if row.exit_price is not None else None,
        exit_reason=_why(row),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        needs_operator=row.needs,
    )


def line_of_attributes(found: WorkflowExecution) -> TradeLine:
    shown = {pair.key.name: pair.value for pair in found.typed_search_attributes}
    symbol, _, trade_id = found.id.partition("/")[2].partition("/")
    return TradeLine(
        trade_id=trade_id,
        workflow_id=found.id,
        preset=str(shown.get("Preset", "")),
        symbol=symbol,
        side=Side(shown["Side"]) if "Side" in shown else None,
        state=str(shown.get("TradeState", "unknown")),
        opened_at=shown.get("EntryAt"),
        needs_operator="no worker answers for it",
    )


def line_of_desk(book: Account, limits: Limits) -> DeskLine:
    snapshot = book.snapshot
    return DeskLine(
        workflow_id=ids.account_workflow(book.name),
        gate=book.gate,
        gate_reason=book.gate_reason,
        snapshot_at=snapshot.at if snapshot else None,
        equity=snapshot.equity if snapshot else None,
        day_loss_fraction=book.day_loss_fraction,
        max_daily_loss_fraction=limits.max_daily_loss_fraction,
        open_trades=len(book.reservations),
        max_open_trades=limits.max_open_trades,
        positions=snapshot.positions if snapshot else (),
        blocks=book.blocks,
        pauses=book.pauses,
        reconciled_at=book.reconciled_at,
    )
