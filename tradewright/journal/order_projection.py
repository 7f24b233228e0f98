"""Orders and executions, as the events of their trades tell of them."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, or_, select, update

from tradewright import ids
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.ledger import OrderState
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    ExitSent,
    Trade,
    TradeEvent,
)
from tradewright.journal.chain import Appended
from tradewright.journal.database import insert_new, upsert
from tradewright.journal.row import Leg
from tradewright.journal.table import executions, orders

_LEGS: Final = {"e": Leg.ENTRY, "x": Leg.EXIT, "t": Leg.TARGET}
_CAUSES: Final = {
    ExitReason.STOP: Leg.STOP,
    ExitReason.TRAILING_STOP: Leg.STOP,
    ExitReason.TARGET: Leg.TARGET,
    ExitReason.LIQUIDATION: Leg.LIQUIDATION,
}


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


def entry_intended(connection: Connection, appended: Appended) -> None:
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


def follow(connection: Connection, appended: Appended, trade: Trade, change: TradeEvent) -> None:
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
            if not insert_new(connection, orders, exit_order):
                _sized(connection, exit_order)


def _sized(connection: Connection, told: Mapping[str, Any]) -> None:
    """Complete an order whose executions came first and told of it without its size."""
    if told["qty"] is None:
        return
    own = orders.c.account == told["account"], orders.c.key == told["key"]
    filled = connection.scalar(select(orders.c.filled_qty).where(*own)) or Decimal(0)
    state = OrderState.FILLED if filled >= told["qty"] else OrderState.PLACED
    connection.execute(
        update(orders)
        .where(*own)
        .values(qty=told["qty"], state=state, updated_at=told["updated_at"])
    )


def _leg(link: str, cause: ExitReason | None) -> Leg:
    if ids.is_kill_link(link):
        return Leg.KILL
    parsed = ids.parse_link(link)
    if parsed is not None:
        return _LEGS[parsed.leg]
    return _CAUSES.get(cause, Leg.BY_HAND) if cause else Leg.BY_HAND


def executed(
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
