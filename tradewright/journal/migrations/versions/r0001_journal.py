"""The first tables: events and what stands beside them, and the projections."""

import sqlalchemy as sa
from alembic import op

from tradewright.journal.column import Instant, Json, Money, Words

revision = "0001"
down_revision = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("heads", Json(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_anchors"),
    )
    op.create_table(
        "events",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("chain_seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("market_at", Instant()),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("data", Json(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("chain", "chain_seq", name="uq_events_chain_chain_seq"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_kind", "events", ["kind", "seq"], unique=False)
    op.create_index("ix_events_trade_id", "events", ["trade_id"], unique=False)
    op.create_table(
        "executions",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("order_link_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("qty", Money(), nullable=False),
        sa.Column("fee", Money(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("is_maker", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.PrimaryKeyConstraint("account", "exec_id", name="pk_executions"),
    )
    op.create_index("ix_executions_at", "executions", ["at"], unique=False)
    op.create_index("ix_executions_order_id", "executions", ["order_id"], unique=False)
    op.create_index("ix_executions_trade_id", "executions", ["trade_id"], unique=False)
    op.create_table(
        "gates",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("by", Words(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("trip", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_gates"),
    )
    op.create_table(
        "heads",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("chain_seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("anchored", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_heads"),
    )
    op.create_table(
        "orders",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("order_link_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("qty", Money()),
        sa.Column("price", Money()),
        sa.Column("filled_qty", Money(), nullable=False),
        sa.Column("fees", Money(), nullable=False),
        sa.Column("detail", Words(), nullable=False),
        sa.Column("sent_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "key", name="pk_orders"),
    )
    op.create_index("ix_orders_order_id", "orders", ["order_id"], unique=False)
    op.create_index("ix_orders_trade_id", "orders", ["trade_id"], unique=False)
    op.create_table(
        "positions",
        sa.Column("snapshot_seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", Money(), nullable=False),
        sa.Column("entry_price", Money(), nullable=False),
        sa.Column("mark_price", Money(), nullable=False),
        sa.Column("stop_loss", Money()),
        sa.Column("take_profit", Money()),
        sa.Column("unrealised_pnl", Money(), nullable=False),
        sa.Column("leverage", Money(), nullable=False),
        sa.Column("created_at", Instant()),
        sa.PrimaryKeyConstraint("snapshot_seq", "symbol", name="pk_positions"),
    )
    op.create_table(
        "presets",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("applied_at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_presets"),
    )
    op.create_index("ix_presets_name", "presets", ["name", "applied_at"], unique=False)
    op.create_table(
        "refusals",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_refusals"),
    )
    op.create_table(
        "signals",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("preset_hash", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("confidence", Money(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("stop_loss", Money(), nullable=False),
        sa.Column("take_profit", Money()),
        sa.Column("trigger", Instant(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("factors", Json(), nullable=False),
        sa.Column("market", Json(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("qty", Money()),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("refusal", Words(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_signals"),
    )
    op.create_index("ix_signals_trade_id", "signals", ["trade_id"], unique=False)
    op.create_table(
        "snapshots",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("market_at", Instant(), nullable=False),
        sa.Column("equity", Money(), nullable=False),
        sa.Column("wallet", Money(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_account", "snapshots", ["account", "market_at"], unique=False)
    op.create_table(
        "trades",
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("chain_seq", sa.Integer(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("preset_hash", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", Money(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("stop_loss", Money(), nullable=False),
        sa.Column("take_profit", Money()),
        sa.Column("stop", Money()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("needs", Words(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("entry_price", Money()),
        sa.Column("exit_price", Money()),
        sa.Column("open_qty", Money(), nullable=False),
        sa.Column("pnl", Money(), nullable=False),
        sa.Column("fees", Money(), nullable=False),
        sa.Column("risk", Money(), nullable=False),
        sa.Column("r_multiple", Money()),
        sa.Column("exit_reason", sa.Text()),
        sa.Column("exit_note", Words(), nullable=False),
        sa.Column("exit_by", Words(), nullable=False),
        sa.Column("rejection", Words(), nullable=False),
        sa.Column("trigger", Instant(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("opened_at", Instant()),
        sa.Column("closed_at", Instant()),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("factors", Json(), nullable=False),
        sa.Column("market", Json(), nullable=False),
        sa.Column("open_view", Json()),
        sa.Column("close_view", Json()),
        sa.PrimaryKeyConstraint("trade_id", name="pk_trades"),
    )
    op.create_index(
        "ix_trades_live",
        "trades",
        ["account"],
        unique=False,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )
    op.create_index("ix_trades_seq", "trades", ["seq"], unique=False)
    op.create_table(
        "venue",
        sa.Column("venue", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("venue", name="pk_venue"),
    )

    for table in ("events", "anchors"):
        _append_only(table)


def _append_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} are append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_{table}()"
    )
