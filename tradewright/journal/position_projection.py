"""Positions, as each snapshot of the account shows them, and what became of them in between."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import structlog
from sqlalchemy import Connection, Row, insert, select

from tradewright.domain.account import Position
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.position import PositionState, changes, next_state
from tradewright.journal.chain import Appended
from tradewright.journal.row import fields_of
from tradewright.journal.table import positions, snapshots

log = structlog.get_logger(__name__)


def seen(connection: Connection, appended: Appended, found: Iterable[Position]) -> None:
    """Write down what a snapshot shows, each position with its state and what led to it.

    A position that is gone gets one more row, of quantity zero.
    """
    last = _last(connection, appended)
    written: dict[str, PositionState] = {}
    for position in found:
        before = last.get(position.symbol)
        held = Position.model_validate(fields_of(Position, before)) if before else None
        state = PositionState(before.state) if before else PositionState.FLAT
        if position.symbol in written:
            # One symbol, two positions: the account is in hedge mode, which is not ours
            held, state = None, written[position.symbol]
        told = changes(held, position)
        try:
            for trigger in told:
                state = next_state(state, trigger)
        except IllegalTransition as e:
            log.error(
                "position_transition_unknown",
                symbol=position.symbol,
                event_id=appended.event.event_id,
                detail=str(e),
            )
            continue
        fields = {name: getattr(position, name) for name in Position.model_fields}
        _write(connection, appended, fields, state, told)
        written[position.symbol] = state
    for symbol in sorted(last.keys() - written.keys()):
        before = last[symbol]
        told = changes(Position.model_validate(fields_of(Position, before)), None)
        gone = {"qty": Decimal(0), "unrealised_pnl": Decimal(0), "stop_loss": None}
        fields = fields_of(Position, before) | gone | {"take_profit": None}
        (trigger,) = told
        _write(connection, appended, fields, next_state(PositionState(before.state), trigger), told)


def _last(connection: Connection, appended: Appended) -> dict[str, Row[Any]]:
    """Return what the account held at its last snapshot, by symbol."""
    seq = connection.scalar(
        select(snapshots.c.seq)
        .where(snapshots.c.account == appended.event.account, snapshots.c.seq < appended.seq)
        .order_by(snapshots.c.seq.desc())
        .limit(1)
    )
    if seq is None:
        return {}
    held = positions.c.snapshot_seq == seq, positions.c.state != PositionState.FLAT
    return {row.symbol: row for row in connection.execute(select(positions).where(*held))}


def _write(
    connection: Connection,
    appended: Appended,
    fields: dict[str, Any],
    state: PositionState,
    told: Iterable[str],
) -> None:
    row = {"snapshot_seq": appended.seq, "state": state, "change": ", ".join(told)}
    connection.execute(insert(positions), fields | row)
