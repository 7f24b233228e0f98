"""What the streams say: to the public, and to each account."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tradewright.matching import Event
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.private import PrivateFeed
from tradewright.paper.stream.public import PublicFeed

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange


class Feed(PublicFeed):
    """Builds messages, and only those that somebody wants."""

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange, Hub())
        self._private = PrivateFeed(exchange, self.hub)

    def tell(self, events: Iterable[Event]) -> None:
        told = list(events)
        super().tell(told)
        self._private.tell(told)
