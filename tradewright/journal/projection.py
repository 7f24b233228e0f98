"""What the events mean to those who ask: signals, refusals, orders, executions, trades, snapshots.

A pure function of the events in the order of their numbers, kept in tables: `project` may be run
again over all of them and comes to the same rows.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, insert, select, update

from tradewright import ids
from tradewright.domain.account import Snapshot
from tradewright.domain.event import EventKind
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.trade import (
    EntryRejected,
    Executed,
    Trade,
    TradeEvent,
)
from tradewright.journal import order_projection, position_projection
from tradewright.journal.chain import Appended
from tradewright.journal.database import upsert
from tradewright.journal.errors import UnreadableEvent
from tradewright.journal.row import Stage
from tradewright.journal.table import refusals, signals, snapshots, trades

_TRADE_EVENT: Final[TypeAdapter[TradeEvent]] = TypeAdapter(TradeEvent)


def project(connection: Connection, appended: Appended) -> None:
    """Bring the projections up to *appended*.

    Raises:
        UnreadableEvent: Its data are not what its kind promises.
    """
    event = appended.event
    try:
        match event.kind:
            case EventKind.SIGNAL_APPROVED | EventKind.SIGNAL_REFUSED:
                _signal(connection, appended)
            case EventKind.ENTRY_INTENDED:
                order_projection.entry_intended(connection, appended)
            case EventKind.TRADE_CHANGED:
                _trade_changed(connection, appended)
            case EventKind.SNAPSHOT:
                _snapshot(connection, appended)
            case EventKind.MESSAGE_REFUSED:
                _message_refused(connection, appended)
    except (ValidationError, KeyError) as e:
        raise UnreadableEvent(event.event_id, event.kind, str(e)) from e


def _signal(connection: Connection, appended: Appended) -> None:
    event = appended.event
    proposal = Proposal.model_validate(event.data["proposal"])
    approved = event.kind is EventKind.SIGNAL_APPROVED
    plan = TradePlan.model_validate(event.data["plan"]) if approved else None
    code = "" if approved else str(event.data["code"])
    refusal = "" if approved else str(event.data["reason"])
    connection.execute(
        insert(signals),
        {
            "seq": appended.seq,
            "at": event.at,
            "trade_id": proposal.trade_id,
            "account": proposal.account,
            "preset": proposal.preset,
            "preset_hash": proposal.preset_hash,
            "symbol": proposal.symbol,
            "side": proposal.signal.side,
            "reason": proposal.signal.reason,
            "confidence": proposal.signal.confidence,
            "price": proposal.price,
            "stop_loss": proposal.stop_loss,
            "take_profit": proposal.take_profit,
            "trigger": proposal.trigger,
            "window": proposal.window,
            "factors": proposal.signal.factors,
            "market": proposal.market,
            "approved": approved,
            "qty": plan.qty if plan else None,
            "code": code,
            "refusal": refusal,
        },
    )
    if not approved:
        _refused(connection, appended, Stage.DECISION, code, refusal, proposal.trade_id)


def _refused(
    connection: Connection,
    appended: Appended,
    stage: Stage,
    code: str,
    reason: str,
    trade_id: str = "",
) -> None:
    event = appended.event
    connection.execute(
        insert(refusals),
        {
            "seq": appended.seq,
            "at": event.at,
            "stage": stage,
            "trade_id": trade_id or event.trade_id,
            "account": event.account,
            "preset": event.preset,
            "symbol": event.symbol,
            "code": code,
            "reason": reason,
        },
    )


def _message_refused(connection: Connection, appended: Appended) -> None:
    event = appended.event
    fault = str(event.data["fault"])
    _refused(connection, appended, Stage.MESSAGE, "message_refused", fault)
    if event.trade_id:
        connection.execute(
            update(trades)
            .where(trades.c.trade_id == event.trade_id, trades.c.live)
            .values(needs=fault)
        )


def _snapshot(connection: Connection, appended: Appended) -> None:
    snapshot = Snapshot.model_validate(appended.event.data["snapshot"])
    row = {
        "seq": appended.seq,
        "account": appended.event.account,
        "at": snapshot.at,
        "market_at": snapshot.market_at,
        "equity": snapshot.equity,
        "wallet": snapshot.wallet,
    }
    position_projection.seen(connection, appended, snapshot.positions)
    connection.execute(insert(snapshots), row)


# --- trades -------------------------------------------------------------------------------------


def _trade_changed(connection: Connection, appended: Appended) -> None:
    data = appended.event.data
    trade = Trade.model_validate(data["trade"])
    change = _TRADE_EVENT.validate_python(data["event"])
    _trade(connection, appended, trade)
    order_projection.follow(connection, appended, trade, change)
    late = (change.execution,) if isinstance(change, Executed) else ()
    order_projection.executed(connection, appended, trade.plan, (*trade.executions, *late))
    if isinstance(change, EntryRejected):
        _refused(connection, appended, Stage.ENTRY, change.code, change.reason)


def _trade(connection: Connection, appended: Appended, trade: Trade) -> None:
    plan, event = trade.plan, appended.event
    before = connection.execute(select(trades).where(trades.c.trade_id == plan.trade_id)).first()
    # News that arrives out of order never brings an ended trade back to life
    if before is not None and not before.live and not trade.is_final:
        return
    open_view, close_view = _views(before, trade, event.data.get("view"))
    needs = event.data.get("needs", before.needs if before else "")
    upsert(
        connection,
        trades,
        {
            "trade_id": plan.trade_id,
            "seq": before.seq if before else appended.seq,
            "chain_seq": appended.chain_seq,
            "workflow_id": ids.trade_workflow(plan.symbol, plan.trade_id),
            "account": plan.account,
            "preset": plan.preset,
            "preset_hash": plan.preset_hash,
            "symbol": plan.symbol,
            "side": plan.side,
            "qty": plan.qty,
            "price": plan.price,
            "stop_loss": plan.stop_loss,
            "take_profit": plan.take_profit,
            "stop": trade.stop,
            "state": trade.state,
            "live": not trade.is_final,
            "needs": "" if trade.is_final else str(needs),
            "origin": plan.origin,
            "reason": plan.reason,
            "entry_price": trade.entry_price,
            "exit_price": trade.exit_price,
            "open_qty": trade.open_qty,
            "pnl": trade.pnl,
            "fees": trade.fees,
            "funding": trade.funding,
            "risk": plan.risk,
            "r_multiple": trade.r_multiple,
            "exit_reason": trade.exit_reason,
            "exit_note": trade.exit_note,
            "exit_by": trade.exit_by,
            "rejection": trade.rejection,
            "trigger": plan.trigger,
            "decided_at": plan.decided_at,
            "opened_at": trade.opened_at,
            "closed_at": trade.closed_at,
            "updated_at": event.at,
            "factors": plan.factors,
            "market": plan.market,
            "open_view": open_view,
            "close_view": close_view,
        },
    )


def _views(
    before: Row[Any] | None, trade: Trade, view: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return the market at the open and at the close: the first view while something is held
    is the open's, every other the close's.
    """
    opened, closed = (before.open_view, before.close_view) if before else (None, None)
    if view is None:
        return opened, closed
    if opened is None and trade.open_qty > 0:
        return view, closed
    return opened, view
