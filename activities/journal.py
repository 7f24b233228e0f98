"""The journal, as workflows reach it."""

from temporalio import activity

from tradewright.journal import Journal
from tradewright.ports import JournalBatch, JournalPort


class JournalActivities(JournalPort):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @activity.defn
    async def record(self, batch: JournalBatch) -> None:
        await self._journal.append(batch.events)
