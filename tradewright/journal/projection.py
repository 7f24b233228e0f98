"""What the events mean to those who ask: signals, refusals, orders, executions, trades, snapshots.

A pure function of the events in the order of their numbers, kept in tables: `project` may be run
again over all of them and comes to the same rows.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, insert, or_, select, update

from tradewright import ids
from tradewright.domain.account import Snapshot
from tradewright.domain.audit import OrderState
from tradewright.domain.event import EventKind
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    Trade,
    TradeEvent,
)
from tradewright.journal.chain import Appended
from tradewright.journal.database import insert_new, upsert
from tradewright.journal.errors import UnreadableEvent
from tradewright.journal.row import Leg, Stage
from tradewright.journal.table import (
    executions,
    orders,
    positions,
    refusals,
    signals,
    snapshots,
    trades,
)

_TRADE_EVENT: Final[TypeAdapter[TradeEvent]] = TypeAdapter(TradeEvent)
_LEGS: Final = {"e": Leg.ENTRY, "x": Leg.EXIT, "t": Leg.TARGET}
_CAUSES: Final = {
    ExitReason.STOP: Leg.STOP,
    ExitReason.TRAILING_STOP: Leg.STOP,
    ExitReason.TARGET: Leg.TARGET,
    ExitReason.LIQUIDATION: Leg.LIQUIDATION,
}


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
                _entry_intended(connection, appended)
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
    connection.execute(insert(snapshots), row)
    for position in snapshot.positions:
        fields = {name: getattr(position, name) for name in type(position).model_fields}
        connection.execute(insert(positions), fields | {"snapshot_seq": appended.seq})


# --- trades -------------------------------------------------------------------------------------


def _trade_changed(connection: Connection, appended: Appended) -> None:
    data = appended.event.data
    trade = Trade.model_validate(data["trade"])
    change = _TRADE_EVENT.validate_python(data["event"])
    _trade(connection, appended, trade)
    _orders_after(connection, appended, trade, change)
    late = (change.execution,) if isinstance(change, Executed) else ()
    _executed(connection, appended, trade.plan, (*trade.executions, *late))


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


# --- orders and executions ----------------------------------------------------------------------


def _order(appended: Appended, plan: TradePlan, **fields: Any) -> dict[str, Any]:
    event = appended.event
    return {
        "account": plan.account,
        "seq": appended.seq,
        "trade_id": plan.trade_id,
        "order_id": "",
        "order_link_id": "",
        "symbol": plan.symbol,
        "side": plan.side,
        "leg": Leg.ENTRY,
        "state": OrderState.PLACED,
        "qty": None,
        "price": None,
        "filled_qty": Decimal(0),
        "fees": Decimal(0),
        "detail": "",
        "sent_at": event.at,
        "updated_at": event.at,
    } | fields


def _entry_intended(connection: Connection, appended: Appended) -> None:
    data = appended.event.data
    plan = TradePlan.model_validate(data["plan"])
    link = str(data["order_link_id"])
    insert_new(
        connection,
        orders,
        _order(
            appended,
            plan,
            key=link,
            order_link_id=link,
            state=OrderState.INTENDED,
            qty=plan.qty,
            price=plan.price,
        ),
    )


def _orders_after(
    connection: Connection, appended: Appended, trade: Trade, change: TradeEvent
) -> None:
    plan, at = trade.plan, appended.event.at
    entry = (
        (orders.c.account == plan.account)
        & (orders.c.trade_id == plan.trade_id)
        & (orders.c.leg == Leg.ENTRY)
    )
    unsettled = entry & orders.c.state.in_([OrderState.INTENDED, OrderState.PLACED])
    match change:
        case EntryPlaced(order_id=order_id):
            done = connection.execute(
                update(orders)
                .where(entry, orders.c.state == OrderState.INTENDED)
                .values(order_id=order_id, state=OrderState.PLACED, updated_at=at)
            )
            # The executions may have come first and settled its state
            if not done.rowcount:
                connection.execute(
                    update(orders)
                    .where(entry, orders.c.order_id == "")
                    .values(order_id=order_id, updated_at=at)
                )
        case EntryRejected(code=code, reason=reason):
            connection.execute(
                update(orders)
                .where(unsettled)
                .values(state=OrderState.REJECTED, detail=f"{code}: {reason}", updated_at=at)
            )
            _refused(connection, appended, Stage.ENTRY, code, reason, plan.trade_id)
        case EntryEnded(reason=reason):
            connection.execute(
                update(orders)
                .where(unsettled)
                .values(state=OrderState.ENDED, detail=reason, updated_at=at)
            )
        case ExitSent(order_id=order_id, order_link_id=link, qty=qty) if order_id or link:
            exit_order = _order(
                appended,
                plan,
                key=link or order_id,
                order_id=order_id,
                order_link_id=link,
                side=plan.side.opposite,
                leg=_leg(link, None),
                qty=qty or None,
            )
            # Its executions may have come first and told of it without its size
            if not insert_new(connection, orders, exit_order):
                connection.execute(
                    update(orders)
                    .where(orders.c.account == plan.account, orders.c.key == exit_order["key"])
                    .values(qty=qty or None, updated_at=at)
                )


def _leg(link: str, cause: ExitReason | None) -> Leg:
    if ids.is_kill_link(link):
        return Leg.KILL
    parsed = ids.parse_link(link)
    if parsed is not None:
        return _LEGS[parsed.leg]
    return _CAUSES.get(cause, Leg.BY_HAND) if cause else Leg.BY_HAND


def _executed(
    connection: Connection, appended: Appended, plan: TradePlan, found: Iterable[Execution]
) -> None:
    matched: dict[str, Execution] = {}
    for execution in found:
        fields = {name: getattr(execution, name) for name in Execution.model_fields}
        if insert_new(
            connection,
            executions,
            fields | {"account": plan.account, "trade_id": plan.trade_id},
        ):
            matched[execution.order_id] = execution
    for execution in matched.values():
        _filled(connection, appended, plan, execution)


def _filled(
    connection: Connection, appended: Appended, plan: TradePlan, execution: Execution
) -> None:
    """Bring the order of *execution* up to all that was executed of it; discover it if need be."""
    own = executions.c.account == plan.account, executions.c.order_id == execution.order_id
    fills = connection.execute(select(executions.c.qty, executions.c.fee).where(*own)).all()
    filled = sum((fill.qty for fill in fills), Decimal(0))
    key = execution.order_link_id or execution.order_id
    order = connection.execute(
        select(orders.c.key, orders.c.qty, orders.c.state).where(
            orders.c.account == plan.account,
            or_(orders.c.key == key, orders.c.order_id == execution.order_id),
        )
    ).first()
    changes: dict[str, Any] = {
        "order_id": execution.order_id,
        "filled_qty": filled,
        "fees": sum((fill.fee for fill in fills), Decimal(0)),
    }
    if order is None:
        row = _order(
            appended,
            plan,
            key=key,
            order_link_id=execution.order_link_id,
            side=execution.side,
            leg=_leg(execution.order_link_id, execution.cause),
            state=OrderState.FILLED,
            sent_at=execution.at,
            **changes,
        )
        upsert(connection, orders, row)
        return
    if order.qty is None or filled >= order.qty:
        changes["state"] = OrderState.FILLED
    elif order.state == OrderState.INTENDED:
        changes["state"] = OrderState.PLACED
    connection.execute(
        update(orders)
        .where(orders.c.account == plan.account, orders.c.key == order.key)
        .values(**changes, updated_at=appended.event.at)
    )
