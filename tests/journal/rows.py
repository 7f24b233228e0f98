"""What the projections hold."""

from sqlalchemy import Connection

from tradewright.journal import Journal
from tradewright.journal.table import PROJECTIONS


async def everything(journal: Journal) -> dict[str, list[str]]:
    def rows(connection: Connection) -> dict[str, list[str]]:
        return {t.name: sorted(map(repr, connection.execute(t.select()))) for t in PROJECTIONS}

    return await journal._database.read(rows)
