"""Indexes that SQLite uses for what is asked at every write and every glance."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _where(sqlite: str, postgresql: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(sqlite), "postgresql_where": sa.text(postgresql)}


def upgrade() -> None:
    moved = _where("anchored = 0", "NOT anchored")
    op.create_index("ix_heads_moved", "heads", ["chain"], **moved)
    op.create_index("ix_snapshots_seq", "snapshots", ["account", "seq"])
    op.drop_index("ix_executions_at", "executions")
    op.create_index("ix_executions_at", "executions", ["account", "at"])
    live = _where("live = 1", "live")
    for table in ("trades", "shadow_trades"):
        op.drop_index(f"ix_{table}_live", table)
        op.create_index(f"ix_{table}_live", table, ["account", "seq"], **live)
