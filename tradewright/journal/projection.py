"""What the events mean to those who ask: signals, refusals, orders, executions, trades, snapshots.

A pure function of the events in the order of their numbers, kept in tables: `project` may be run
again over all of them and comes to the same rows.
"""

from collections.abc import Iterable

from pydantic import ValidationError
from sqlalchemy import Connection, insert

from tradewright.domain.account import Snapshot
from tradewright.domain.event import EventKind
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.record import read_back
from tradewright.domain.trade import (
    EntryRejected,
    Executed,
    Trade,
    TradeEvent,
)
from tradewright.journal import order_projection, position_projection
from tradewright.journal.chain import Appended
from tradewright.journal.errors import UnreadableEvent
from tradewright.journal.row import Stage
from tradewright.journal.table import refusals, shadow_trades, signals, snapshots
from tradewright.journal.trade_projection import TradeRows


def project(connection: Connection, appended: Iterable[Appended]) -> None:
    """Bring the projections up to the *appended* events.

    Raises:
        UnreadableEvent: The data of one are not what its kind promises.
    """
    rows, shadows = TradeRows(connection), TradeRows(connection, shadow_trades)
    for event in appended:
        _project(connection, event, rows, shadows)
    rows.write()
    shadows.write()


def _project(
    connection: Connection, appended: Appended, rows: TradeRows, shadows: TradeRows
) -> None:
    event = appended.event
    try:
        match event.kind:
            case EventKind.SIGNAL_REFUSED if "proposal" not in event.data:
                code, reason = str(event.data["code"]), str(event.data["reason"])
                _refused(connection, appended, Stage.EVALUATION, code, reason)
            case EventKind.SIGNAL_APPROVED | EventKind.SIGNAL_REFUSED:
                _signal(connection, appended)
            case EventKind.SHADOW_CHANGED:
                shadows.follow(appended, read_back(Trade, event.data["trade"]))
            case EventKind.ENTRY_INTENDED:
                order_projection.entry_intended(connection, appended)
            case EventKind.TRADE_CHANGED:
                _trade_changed(connection, appended, rows)
            case EventKind.SNAPSHOT:
                _snapshot(connection, appended)
            case EventKind.MESSAGE_REFUSED:
                _message_refused(connection, appended, rows)
    except (ValidationError, KeyError) as e:
        raise UnreadableEvent(event.event_id, event.kind, str(e)) from e


def _signal(connection: Connection, appended: Appended) -> None:
    event = appended.event
    proposal = read_back(Proposal, event.data["proposal"])
    approved = event.kind is EventKind.SIGNAL_APPROVED
    plan = read_back(TradePlan, event.data["plan"]) if approved else None
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
            "mode": proposal.mode,
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


def _message_refused(connection: Connection, appended: Appended, rows: TradeRows) -> None:
    event = appended.event
    fault = str(event.data["fault"])
    _refused(connection, appended, Stage.MESSAGE, "message_refused", fault)
    if event.trade_id:
        rows.need(event.trade_id, fault)


def _snapshot(connection: Connection, appended: Appended) -> None:
    snapshot = read_back(Snapshot, appended.event.data["snapshot"])
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


def _trade_changed(connection: Connection, appended: Appended, rows: TradeRows) -> None:
    data = appended.event.data
    change: TradeEvent = read_back(TradeEvent, data["event"])
    # Of fills that came at once only the last one's event tells what became of the trade
    trade = read_back(Trade, data["trade"]) if "trade" in data else None
    if isinstance(change, Executed):
        order_projection.executed(connection, appended, change.execution)
    if trade is None:
        return
    is_first = rows.of(trade.plan.trade_id) is None
    rows.follow(appended, trade)
    if is_first or trade.is_final:
        order_projection.complete(connection, appended, trade)
    order_projection.follow(connection, appended, trade, change)
    if isinstance(change, EntryRejected):
        _refused(connection, appended, Stage.ENTRY, change.code, change.reason)
