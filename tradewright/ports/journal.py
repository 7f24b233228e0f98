"""What workflows write down."""

from abc import ABC, abstractmethod

from temporalio import activity

from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Value


class JournalBatch(Value):
    events: tuple[JournalEvent, ...]


class JournalPort(ABC):
    @activity.defn
    @abstractmethod
    async def record(self, batch: JournalBatch) -> None:
        """Append events to the journal; those that it has are left alone."""
