"""Orders and executions, as the events of their trades tell of them."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, or_, select, update

from tradewright import ids
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.order import OrderState, OrderTrigger, next_state
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    ExitSent,
    TargetsPlaced,
    Trade,
    TradeEvent,
)
from tradewright.journal.chain import Appended
from tradewright.journal.database import insert_new, upsert
from tradewright.journal.row import Leg
from tradewright.journal.table import executions, orders

log = structlog.get_logger(__name__)

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
    plan = trade.plan
    match change:
        case EntryPlaced(order_id=order_id):
            for entry in _entries(connection, plan):
                _step(connection, appended, entry, OrderTrigger.ACCEPTED)
                # The executions may have come first and settled its state
                if not entry.order_id:
                    _change(connection, appended, entry, order_id=order_id)
        case EntryRejected(code=code, reason=reason):
            for entry in _entries(connection, plan):
                # The rest of an entry that has traded ends: what was traded was not refused
                trigger = OrderTrigger.ENDED if entry.filled_qty else OrderTrigger.REJECTED
                _step(connection, appended, entry, trigger, detail=f"{code}: {reason}")
        case EntryEnded(reason=reason):
            for entry in _entries(connection, plan):
                _step(connection, appended, entry, OrderTrigger.ENDED, detail=reason)
        case ExitSent(order_id=order_id, order_link_id=link, qty=qty) if order_id or link:
            _sent(
                connection,
                appended,
                _order(
                    appended,
                    plan,
                    key=link or order_id,
                    order_id=order_id,
                    order_link_id=link,
                    side=plan.side.opposite,
                    leg=_leg(link, None),
                    qty=qty or None,
                ),
            )
        case TargetsPlaced(orders=targets):
            for target in targets:
                told = _order(
                    appended,
                    plan,
                    key=target.order_link_id,
                    order_id=target.order_id,
                    order_link_id=target.order_link_id,
                    side=plan.side.opposite,
                    leg=Leg.TARGET,
                    qty=target.qty,
                    price=target.price,
                )
                _sent(connection, appended, told)
    if trade.is_final:
        _left(connection, appended, plan)


def _entries(connection: Connection, plan: TradePlan) -> Sequence[Row[Any]]:
    return connection.execute(
        select(orders).where(
            orders.c.account == plan.account,
            orders.c.trade_id == plan.trade_id,
            orders.c.leg == Leg.ENTRY,
        )
    ).all()


def _step(
    connection: Connection, appended: Appended, order: Row[Any], trigger: OrderTrigger, **also: Any
) -> None:
    """Let *order* take *trigger*, and change *also* if that moves it."""
    state = _after(appended, order, trigger)
    if state != order.state:
        _change(connection, appended, order, state=state, **also)


def _after(appended: Appended, order: Row[Any], trigger: OrderTrigger) -> OrderState:
    """Return the state that follows; what the table does not know is reported, not applied."""
    state = OrderState(order.state)
    try:
        return next_state(state, trigger)
    except IllegalTransition as e:
        log.error(
            "order_transition_unknown",
            key=order.key,
            trade_id=order.trade_id,
            event_id=appended.event.event_id,
            detail=str(e),
        )
        return state


def _change(connection: Connection, appended: Appended, order: Row[Any], **fields: Any) -> None:
    connection.execute(
        update(orders)
        .where(orders.c.account == order.account, orders.c.key == order.key)
        .values(**fields, updated_at=appended.event.at)
    )


def _left(connection: Connection, appended: Appended, plan: TradePlan) -> None:
    """End what still worked: a trade is final when the exchange has no order of its any more."""
    working = connection.execute(
        select(orders).where(
            orders.c.account == plan.account,
            orders.c.trade_id == plan.trade_id,
            orders.c.state == OrderState.PLACED,
        )
    ).all()
    for order in working:
        _step(connection, appended, order, OrderTrigger.ENDED, detail="its trade has ended")


def _sent(connection: Connection, appended: Appended, told: Mapping[str, Any]) -> None:
    """Write an order down, or complete it if its executions told of it first, without its size."""
    if insert_new(connection, orders, told) or told["qty"] is None:
        return
    order = connection.execute(
        select(orders).where(orders.c.account == told["account"], orders.c.key == told["key"])
    ).one()
    is_whole = order.filled_qty >= told["qty"]
    trigger = OrderTrigger.FILLED if is_whole else OrderTrigger.MEASURED
    state = _after(appended, order, trigger)
    _change(connection, appended, order, qty=told["qty"], price=told["price"], state=state)


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
        select(orders).where(
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
    is_whole = order.qty is None or filled >= order.qty
    trigger = OrderTrigger.FILLED if is_whole else OrderTrigger.PARTLY_FILLED
    state = _after(appended, order, trigger)
    _change(connection, appended, order, state=state, **changes)
