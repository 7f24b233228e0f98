"""The row of each trade, as the last event that carries the trade left it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from tradewright import ids
from tradewright.domain.plan import Mode
from tradewright.domain.trade import Trade
from tradewright.journal.chain import Appended
from tradewright.journal.database import upsert
from tradewright.journal.table import trades

Fields = Mapping[str, Any]


class TradeRows:
    """The rows of one transaction: each is read once, and written once however often it changes."""

    def __init__(self, connection: Connection, table: Table = trades) -> None:
        self._connection = connection
        self._table = table
        self._rows: dict[str, Fields | None] = {}
        self._changed: dict[str, Fields] = {}

    def of(self, trade_id: str) -> Fields | None:
        if trade_id not in self._rows:
            # Locked, for all of it is written again, and other chains tell of the trade, too
            wanted = select(self._table).where(self._table.c.trade_id == trade_id).with_for_update()
            row = self._connection.execute(wanted).first()
            self._rows[trade_id] = dict(row._mapping) if row else None
        return self._rows[trade_id]

    def _put(self, row: Fields) -> None:
        self._rows[row["trade_id"]] = self._changed[row["trade_id"]] = row

    def write(self) -> None:
        """Write what has changed."""
        for row in self._changed.values():
            upsert(self._connection, self._table, row)
        self._changed.clear()

    def need(self, trade_id: str, fault: str) -> None:
        """Let a trade that lives need a person, because of *fault*."""
        before = self.of(trade_id)
        if before is not None and before["live"]:
            self._put({**before, "needs": fault})

    def follow(self, appended: Appended, trade: Trade) -> None:
        before = self.of(trade.plan.trade_id)
        # News that arrives out of order never brings an ended trade back to life
        if before is None or before["live"] or trade.is_final:
            self._put(_row(appended, trade, before))


def _row(appended: Appended, trade: Trade, before: Fields | None) -> Fields:
    plan, event = trade.plan, appended.event
    open_view, close_view = _views(before, trade, event.data.get("view"))
    name = ids.shadow_workflow if plan.mode is Mode.SHADOW else ids.trade_workflow
    needs = event.data.get("needs", before["needs"] if before else "")
    return {
        "trade_id": plan.trade_id,
        "seq": before["seq"] if before else appended.seq,
        "chain_seq": appended.chain_seq,
        "workflow_id": name(plan.symbol, plan.trade_id),
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
    }


def _views(
    before: Fields | None, trade: Trade, view: Fields | None
) -> tuple[Fields | None, Fields | None]:
    """Return the market at the open and at the close: the first view while something is held
    is the open's, every other the close's.
    """
    opened, closed = (before["open_view"], before["close_view"]) if before else (None, None)
    if view is None:
        return opened, closed
    if opened is None and trade.open_qty > 0:
        return view, closed
    return opened, view
