"""What became of positions between two snapshots, and the funding of trades."""

import sqlalchemy as sa
from alembic import op

from tradewright.journal.column import Money

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("trades", sa.Column("funding", Money(), nullable=False, server_default="0"))
    op.add_column(
        "positions", sa.Column("state", sa.Text(), nullable=False, server_default="protected")
    )
    op.add_column("positions", sa.Column("change", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE positions SET state = 'naked' WHERE stop_loss IS NULL")
