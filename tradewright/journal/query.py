"""What may be asked of the journal; nothing here writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Numeric, Select, Table, cast, select

from tradewright.domain.account import LONGEST_MEMORY, Baseline, Past, Position, Result
from tradewright.domain.event import EventKind
from tradewright.domain.gate import Gate
from tradewright.domain.ledger import Books
from tradewright.domain.market import Value
from tradewright.domain.position import PositionState
from tradewright.domain.record import read_back
from tradewright.journal.chain import read_event
from tradewright.journal.database import Database
from tradewright.journal.row import (
    EventRow,
    ExecutionRow,
    OrderRow,
    RefusalRow,
    SignalRow,
    SnapshotRow,
    StoredPreset,
    TradeRow,
    fields_of,
)
from tradewright.journal.table import (
    events,
    executions,
    gates,
    orders,
    positions,
    presets,
    refusals,
    shadow_trades,
    signals,
    snapshots,
    trades,
)

V = TypeVar("V", bound=Value)

RECENT = 100
"""Snapshots among which the latest that tells a baseline is looked for."""
STREAK = 1_000
"""Closed trades among which those that lost in a row are counted."""


class Queries:
    """The reading half of the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def gate(self, account: str) -> Gate | None:
        return await self._first(Gate, select(gates).where(gates.c.account == account))

    async def preset(self, preset_hash: str) -> StoredPreset | None:
        return await self._first(StoredPreset, select(presets).where(presets.c.hash == preset_hash))

    async def latest_presets(self) -> tuple[StoredPreset, ...]:
        """Return the version of each preset that was applied last, sorted by name."""
        found = await self._all(
            StoredPreset, select(presets).order_by(presets.c.applied_at, presets.c.hash)
        )
        latest = {preset.name: preset for preset in found}
        return tuple(latest[name] for name in sorted(latest))

    async def preset_versions(self, name: str) -> tuple[StoredPreset, ...]:
        """Return every version of the preset that was applied, the last applied first."""
        query = select(presets).where(presets.c.name == name)
        return await self._all(
            StoredPreset, query.order_by(presets.c.applied_at.desc(), presets.c.hash)
        )

    async def trade(self, trade_id: str, *, shadow: bool = False) -> TradeRow | None:
        """Return the trade, or with *shadow* the virtual one of that id."""
        table = shadow_trades if shadow else trades
        return await self._first(TradeRow, select(table).where(table.c.trade_id == trade_id))

    async def trades(
        self,
        account: str | None = None,
        *,
        live: bool | None = None,
        preset: str | None = None,
        symbol: str | None = None,
        needs: bool | None = None,
        shadow: bool = False,
        limit: int | None = 100,
    ) -> tuple[TradeRow, ...]:
        """Return trades, newest first; *needs* keeps those that wait for an operator, or the
        others. With *shadow* they are the virtual ones, and no others.
        """
        table = shadow_trades if shadow else trades
        query = _equal(table, account=account, live=live, preset=preset, symbol=symbol)
        if needs is not None:
            query = query.where((table.c.needs != "") == needs)
        return await self._all(TradeRow, query.order_by(table.c.seq.desc()).limit(limit))

    async def trade_history(self, trade_id: str) -> tuple[EventRow, ...]:
        """Return all that was written of a trade, oldest first."""
        return await self.events(trade_id=trade_id, limit=None)

    async def events(
        self,
        *,
        chain: str | None = None,
        kind: EventKind | None = None,
        account: str | None = None,
        trade_id: str | None = None,
        after: int = 0,
        limit: int | None = 1000,
    ) -> tuple[EventRow, ...]:
        """Return events numbered above *after*, oldest first."""
        query = (
            _equal(events, chain=chain, kind=kind, account=account, trade_id=trade_id)
            .where(events.c.seq > after)
            .order_by(events.c.seq)
            .limit(limit)
        )

        def work(connection: Connection) -> tuple[EventRow, ...]:
            return tuple(
                EventRow(
                    seq=row.seq,
                    chain_seq=row.chain_seq,
                    event=read_event(row),
                    prev_hash=row.prev_hash,
                    hash=row.hash,
                )
                for row in connection.execute(query)
            )

        return await self._database.read(work)

    async def orders(
        self, trade_id: str | None = None, *, account: str | None = None, limit: int | None = None
    ) -> tuple[OrderRow, ...]:
        """Return orders, oldest first."""
        query = _equal(orders, trade_id=trade_id, account=account)
        return await self._all(OrderRow, query.order_by(orders.c.seq, orders.c.key).limit(limit))

    async def executions(
        self,
        trade_id: str | None = None,
        *,
        account: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[ExecutionRow, ...]:
        """Return executions, oldest first.

        Args:
            trade_id: Only those of this trade.
            account: Only those of this account.
            since: Market clock; only those at or after it.
            limit: No more than so many.
        """
        query = _equal(executions, trade_id=trade_id, account=account)
        if since is not None:
            query = query.where(executions.c.at >= since)
        order = executions.c.at, executions.c.seq, executions.c.exec_id
        return await self._all(ExecutionRow, query.order_by(*order).limit(limit))

    async def signals(
        self,
        account: str | None = None,
        *,
        preset: str | None = None,
        symbol: str | None = None,
        trade_id: str | None = None,
        approved: bool | None = None,
        limit: int | None = 100,
    ) -> tuple[SignalRow, ...]:
        """Return signals, newest first."""
        query = _equal(
            signals,
            account=account,
            preset=preset,
            symbol=symbol,
            trade_id=trade_id,
            approved=approved,
        )
        return await self._all(SignalRow, query.order_by(signals.c.seq.desc()).limit(limit))

    async def refusals(
        self,
        account: str | None = None,
        *,
        preset: str | None = None,
        symbol: str | None = None,
        code: str | None = None,
        limit: int | None = 100,
    ) -> tuple[RefusalRow, ...]:
        """Return what was refused and why, newest first."""
        query = _equal(refusals, account=account, preset=preset, symbol=symbol, code=code)
        return await self._all(RefusalRow, query.order_by(refusals.c.seq.desc()).limit(limit))

    async def snapshots(
        self,
        account: str,
        *,
        since: datetime | None = None,
        newest_first: bool = True,
        limit: int | None = 100,
    ) -> tuple[SnapshotRow, ...]:
        """Return what the account looked like; *since* is of the market clock."""
        query = _equal(snapshots, account=account)
        if since is not None:
            query = query.where(snapshots.c.market_at >= since)
        order = snapshots.c.seq.desc() if newest_first else snapshots.c.seq
        return await self._snapshots(query.order_by(order).limit(limit))

    async def peak(self, account: str) -> SnapshotRow | None:
        """Return the snapshot with the highest equity that the account ever had."""
        query = _equal(snapshots, account=account)
        highest = cast(snapshots.c.equity, Numeric).desc()
        found = await self._snapshots(query.order_by(highest, snapshots.c.seq).limit(1))
        return found[0] if found else None

    async def past(self, account: str) -> Past | None:
        """Return what a new desk of *account* goes on from; None if it never had one.

        The baseline is that of the latest snapshot, which was taken against it. Losses in a row
        are counted from the trades themselves: the last ones may have told nobody.
        """
        found = await self._latest_baseline(account)
        baseline = found or await self._peak_alone(account)
        if baseline is None:
            return None
        closed = await self._all(
            TradeRow,
            _equal(trades, account=account, live=False)
            .where(trades.c.closed_at.is_not(None))
            .order_by(trades.c.closed_at.desc(), trades.c.seq.desc())
            .limit(STREAK),
        )
        since = baseline.streak_since
        counted = [t for t in closed if t.pnl and (not since or (t.closed_at or since) > since)]
        return Past(baseline=baseline, losses=_losses(counted), results=_results(closed))

    async def _latest_baseline(self, account: str) -> Baseline | None:
        query = (
            _equal(events, account=account, kind=EventKind.SNAPSHOT)
            .order_by(events.c.seq.desc())
            .limit(RECENT)
        )

        def work(connection: Connection) -> Baseline | None:
            for row in connection.execute(query):
                if (told := read_event(row).data.get("baseline")) is not None:
                    return read_back(Baseline, told)
            return None

        return await self._database.read(work)

    async def _peak_alone(self, account: str) -> Baseline | None:
        """Return the little that snapshots say which were written without a baseline."""
        peak = await self.peak(account)
        return Baseline(peak_equity=peak.equity) if peak else None

    async def books(self, account: str, *, since: datetime | None = None) -> Books:
        """Return what the audit compares: all orders, executions and trades of *account*.

        Args:
            account: Name of the account.
            since: Market clock; executions before it are left out, as the exchange's are.
        """
        return Books(
            orders=tuple(row.ledger for row in await self.orders(account=account)),
            executions=tuple(
                row.ledger for row in await self.executions(account=account, since=since)
            ),
            trades=tuple(row.ledger for row in await self.trades(account, limit=None)),
        )

    async def _first(self, model: type[V], query: Select[Any]) -> V | None:
        found = await self._all(model, query.limit(1))
        return found[0] if found else None

    async def _all(self, model: type[V], query: Select[Any]) -> tuple[V, ...]:
        def work(connection: Connection) -> tuple[V, ...]:
            rows = connection.execute(query)
            return tuple(read_back(model, fields_of(model, row)) for row in rows)

        return await self._database.read(work)

    async def _snapshots(self, query: Select[Any]) -> tuple[SnapshotRow, ...]:
        def work(connection: Connection) -> tuple[SnapshotRow, ...]:
            rows = connection.execute(query).all()
            held = _positions(connection, [row.seq for row in rows])
            return tuple(
                SnapshotRow(
                    account=row.account,
                    at=row.at,
                    market_at=row.market_at,
                    equity=row.equity,
                    wallet=row.wallet,
                    positions=held.get(row.seq, ()),
                )
                for row in rows
            )

        return await self._database.read(work)


def _positions(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[Position, ...]]:
    held: dict[int, tuple[Position, ...]] = {}
    if not seqs:
        return held
    wanted = (
        positions.c.snapshot_seq.between(min(seqs), max(seqs)),
        positions.c.state != PositionState.FLAT,
    )
    for row in connection.execute(select(positions).where(*wanted).order_by(positions.c.symbol)):
        position = Position.model_validate(fields_of(Position, row))
        held[row.snapshot_seq] = (*held.get(row.snapshot_seq, ()), position)
    return held


def _losses(newest_first: Sequence[TradeRow]) -> int:
    for count, trade in enumerate(newest_first):
        if trade.pnl > 0:
            return count
    return len(newest_first)


def _results(newest_first: Sequence[TradeRow]) -> tuple[Result, ...]:
    """Return what guards of presets may still count, oldest first."""
    return tuple(
        Result(
            trade_id=trade.trade_id,
            preset=trade.preset,
            symbol=trade.symbol,
            at=trade.closed_at,
            pnl=trade.pnl,
            until=trade.closed_at + LONGEST_MEMORY,
        )
        for trade in reversed(newest_first)
        if trade.pnl and trade.closed_at is not None
    )


def _equal(table: Table, **wanted: Any) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = [
        table.c[name] == value for name, value in wanted.items() if value is not None
    ]
    return select(table).where(*conditions)
