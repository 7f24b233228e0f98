"""Orders and executions, as the events of their trades tell of them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, select, update

from tradewright import ids
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Side
from tradewright.domain.order import OrderState, OrderTrigger, next_state
from tradewright.domain.plan import TradePlan
from tradewright.domain.record import read_back
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


def _order(appended: Appended, side: Side, **fields: Any) -> dict[str, Any]:
    event = appended.event
    return {
        "account": event.account,
        "seq": appended.seq,
        "trade_id": event.trade_id,
        "order_id": "",
        "order_link_id": "",
        "symbol": event.symbol,
        "side": side,
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
    plan = read_back(TradePlan, data["plan"])
    link = str(data["order_link_id"])
    insert_new(
        connection,
        orders,
        _order(
            appended,
            plan.side,
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
                # The executions may have come first and settled its state
                told = {} if entry.order_id else {"order_id": order_id}
                state = _after(appended, entry, OrderTrigger.ACCEPTED)
                if told or state != entry.state:
                    _change(connection, appended, entry, state=state, **told)
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
                    plan.side.opposite,
                    key=link or order_id,
                    order_id=order_id,
                    order_link_id=link,
                    leg=_leg(link, None),
                    qty=qty or None,
                ),
            )
        case TargetsPlaced(orders=targets):
            for target in targets:
                told = _order(
                    appended,
                    plan.side.opposite,
                    key=target.order_link_id,
                    order_id=target.order_id,
                    order_link_id=target.order_link_id,
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


def executed(connection: Connection, appended: Appended, execution: Execution) -> None:
    """Write *execution* down and add it to its order; one that is written already is left alone."""
    event = appended.event
    fields = {name: getattr(execution, name) for name in Execution.model_fields}
    owner = {"account": event.account, "trade_id": event.trade_id}
    if insert_new(connection, executions, fields | owner):
        _filled(connection, appended, execution)


def complete(connection: Connection, appended: Appended, trade: Trade) -> None:
    """Write those executions of *trade* down that no event told of."""
    if not trade.executions:
        return
    own = (
        executions.c.account == appended.event.account,
        executions.c.trade_id == appended.event.trade_id,
    )
    written = set(connection.scalars(select(executions.c.exec_id).where(*own)))
    for execution in trade.executions:
        if execution.exec_id not in written:
            executed(connection, appended, execution)


def _filled(connection: Connection, appended: Appended, execution: Execution) -> None:
    """Add *execution* to its order; discover the order if need be."""
    key = execution.order_link_id or execution.order_id
    account = orders.c.account == appended.event.account
    # One after the other: for either at once SQLite reads all the orders of the account.
    # Locked, for what it has filled is added to
    for named in (orders.c.key == key, orders.c.order_id == execution.order_id):
        order = connection.execute(select(orders).where(account, named).with_for_update()).first()
        if order is not None:
            break
    else:
        row = _order(
            appended,
            execution.side,
            key=key,
            order_id=execution.order_id,
            order_link_id=execution.order_link_id,
            leg=_leg(execution.order_link_id, execution.cause),
            state=OrderState.FILLED,
            filled_qty=execution.qty,
            fees=execution.fee,
            sent_at=execution.at,
        )
        upsert(connection, orders, row)
        return
    filled = order.filled_qty + execution.qty
    is_whole = order.qty is None or filled >= order.qty
    trigger = OrderTrigger.FILLED if is_whole else OrderTrigger.PARTLY_FILLED
    _change(
        connection,
        appended,
        order,
        state=_after(appended, order, trigger),
        order_id=execution.order_id,
        filled_qty=filled,
        fees=order.fees + execution.fee,
    )
