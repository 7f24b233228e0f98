"""Virtual trades beside the real ones, and the mode that a signal was decided in."""

import sqlalchemy as sa
from alembic import op

from tradewright.journal.column import Instant, Json, Money, Words

revision = "0003"
down_revision = "0002"

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("signals", sa.Column("mode", sa.Text(), nullable=False, server_default="trade"))
    op.create_table(
        "shadow_trades",
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
        sa.Column("funding", Money(), nullable=False, server_default="0"),
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
        sa.PrimaryKeyConstraint("trade_id", name="pk_shadow_trades"),
    )
    op.create_index("ix_shadow_trades_seq", "shadow_trades", ["seq"])
    live = sa.text("live")
    op.create_index(
        "ix_shadow_trades_live",
        "shadow_trades",
        ["account"],
        sqlite_where=live,
        postgresql_where=live,
    )
