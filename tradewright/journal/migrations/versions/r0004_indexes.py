"""Indexes that SQLite uses for what is asked at every write and every glance."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _index(name: str, table: str, columns: list[str], sqlite: str = "", other: str = "") -> None:
    where = {"sqlite_where": sa.text(sqlite), "postgresql_where": sa.text(other)} if sqlite else {}
    op.create_index(name, table, columns, **where)


def upgrade() -> None:
    _index("ix_heads_moved", "heads", ["chain"], "anchored = 0", "NOT anchored")
    _index("ix_snapshots_seq", "snapshots", ["account", "seq"])
    op.drop_index("ix_executions_at", "executions")
    _index("ix_executions_at", "executions", ["account", "at"])
    for table in ("trades", "shadow_trades"):
        op.drop_index(f"ix_{table}_live", table)
        _index(f"ix_{table}_live", table, ["account", "seq"], "live = 1", "live")
