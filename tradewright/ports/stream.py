"""What follows the private stream."""

from abc import ABC, abstractmethod

from temporalio import activity


class StreamPort(ABC):
    @activity.defn
    @abstractmethod
    async def consume_stream(self, account: str) -> None:
        """Follow the private stream until cancelled, signalling every execution's trade."""
