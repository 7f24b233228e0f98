"""The tables. Events are the truth; presets, gates and the venue stand beside them as they are;
the rest is projected from the events and can be made again.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tradewright.journal.column import Instant, Json, Money, Words

metadata: Final = MetaData(
    naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)
SEQ: Final = BigInteger().with_variant(Integer, "sqlite")


def _where(sqlite: str, postgresql: str) -> dict[str, Any]:
    """Return which rows an index is of; SQLite uses it only for a query that says the same."""
    return {"sqlite_where": text(sqlite), "postgresql_where": text(postgresql)}


events: Final = Table(
    "events",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("chain", Text, nullable=False),
    Column("chain_seq", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("market_at", Instant),
    Column("trade_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("preset", Text, nullable=False),
    Column("data", Json, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("chain", "chain_seq"),
    Index("ix_events_trade_id", "trade_id"),
    Index("ix_events_kind", "kind", "seq"),
    sqlite_autoincrement=True,
)

heads: Final = Table(
    "heads",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("chain_seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("anchored", Boolean, nullable=False),
    Index("ix_heads_moved", "chain", **_where("anchored = 0", "NOT anchored")),
)

anchors: Final = Table(
    "anchors",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("heads", Json, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

venue: Final = Table("venue", metadata, Column("venue", Text, primary_key=True))

presets: Final = Table(
    "presets",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Index("ix_presets_name", "name", "applied_at"),
)

gates: Final = Table(
    "gates",
    metadata,
    Column("account", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("by", Words, nullable=False),
    Column("at", Instant, nullable=False),
    Column("trip", Integer, nullable=False),
)

signals: Final = Table(
    "signals",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("preset", Text, nullable=False),
    Column("preset_hash", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("confidence", Money, nullable=False),
    Column("price", Money, nullable=False),
    Column("stop_loss", Money, nullable=False),
    Column("take_profit", Money),
    Column("trigger", Instant, nullable=False),
    Column("window", Text, nullable=False),
    Column("factors", Json, nullable=False),
    Column("market", Json, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("qty", Money),
    Column("code", Text, nullable=False),
    Column("refusal", Words, nullable=False),
    Column("mode", Text, nullable=False, server_default="trade"),
    Index("ix_signals_trade_id", "trade_id"),
)

refusals: Final = Table(
    "refusals",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("stage", Text, nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("preset", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Words, nullable=False),
)

orders: Final = Table(
    "orders",
    metadata,
    Column("account", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # the order link; of an order without one, its id
    Column("seq", SEQ, nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("order_link_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("leg", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("qty", Money),
    Column("price", Money),
    Column("filled_qty", Money, nullable=False),
    Column("fees", Money, nullable=False),
    Column("detail", Words, nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_orders_trade_id", "trade_id"),
    Index("ix_orders_order_id", "order_id"),
)

executions: Final = Table(
    "executions",
    metadata,
    Column("account", Text, primary_key=True),
    Column("exec_id", Text, primary_key=True),
    Column("trade_id", Text, nullable=False),
    Column("seq", SEQ, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("order_link_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("price", Money, nullable=False),
    Column("qty", Money, nullable=False),
    Column("fee", Money, nullable=False),
    Column("at", Instant, nullable=False),
    Column("is_maker", Boolean, nullable=False),
    Column("cause", Text),
    Index("ix_executions_trade_id", "trade_id"),
    Index("ix_executions_order_id", "order_id"),
    Index("ix_executions_at", "account", "at"),
)


def _trades(name: str) -> Table:
    """Return a table of trades; those that are virtual have one of their own."""
    return Table(
        name,
        metadata,
        Column("trade_id", Text, primary_key=True),
        Column("seq", SEQ, nullable=False),
        Column("chain_seq", Integer, nullable=False),
        Column("workflow_id", Text, nullable=False),
        Column("account", Text, nullable=False),
        Column("preset", Text, nullable=False),
        Column("preset_hash", Text, nullable=False),
        Column("symbol", Text, nullable=False),
        Column("side", Text, nullable=False),
        Column("qty", Money, nullable=False),
        Column("price", Money, nullable=False),
        Column("stop_loss", Money, nullable=False),
        Column("take_profit", Money),
        Column("stop", Money),
        Column("state", Text, nullable=False),
        Column("live", Boolean, nullable=False),
        Column("needs", Words, nullable=False),
        Column("origin", Text, nullable=False),
        Column("reason", Words, nullable=False),
        Column("entry_price", Money),
        Column("exit_price", Money),
        Column("open_qty", Money, nullable=False),
        Column("pnl", Money, nullable=False),
        Column("fees", Money, nullable=False),
        Column("funding", Money, nullable=False, server_default="0"),
        Column("risk", Money, nullable=False),
        Column("r_multiple", Money),
        Column("exit_reason", Text),
        Column("exit_note", Words, nullable=False),
        Column("exit_by", Words, nullable=False),
        Column("rejection", Words, nullable=False),
        Column("trigger", Instant, nullable=False),
        Column("decided_at", Instant, nullable=False),
        Column("opened_at", Instant),
        Column("closed_at", Instant),
        Column("updated_at", Instant, nullable=False),
        Column("factors", Json, nullable=False),
        Column("market", Json, nullable=False),
        Column("open_view", Json),
        Column("close_view", Json),
        Index(f"ix_{name}_seq", "seq"),
        Index(f"ix_{name}_live", "account", "seq", **_where("live = 1", "live")),
    )


trades: Final = _trades("trades")
shadow_trades: Final = _trades("shadow_trades")

snapshots: Final = Table(
    "snapshots",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("market_at", Instant, nullable=False),
    Column("equity", Money, nullable=False),
    Column("wallet", Money, nullable=False),
    Index("ix_snapshots_account", "account", "market_at"),
    Index("ix_snapshots_seq", "account", "seq"),
)

positions: Final = Table(
    "positions",
    metadata,
    Column("snapshot_seq", SEQ, primary_key=True, autoincrement=False),
    Column("symbol", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default="protected"),
    Column("change", Text, nullable=False, server_default=""),  # since the snapshot before
    Column("side", Text, nullable=False),
    Column("qty", Money, nullable=False),
    Column("entry_price", Money, nullable=False),
    Column("mark_price", Money, nullable=False),
    Column("stop_loss", Money),
    Column("take_profit", Money),
    Column("unrealised_pnl", Money, nullable=False),
    Column("leverage", Money, nullable=False),
    Column("created_at", Instant),
)

PROJECTIONS: Final = (
    *(signals, refusals, orders, executions, trades, shadow_trades, snapshots, positions),
)
