"""What the streams say: the account's events, and the market."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from tradewright.matching import (
    Event,
    Executed,
    OrderChanged,
    PositionChanged,
    WalletChanged,
)
from tradewright.paper import holding, wire
from tradewright.paper.clock import ms, wall
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.public import PublicFeed

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

PRIVATE_TOPICS = frozenset({"order", "execution", "position", "wallet"})


class Feed(PublicFeed):
    """Builds messages, and only those that somebody wants."""

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange, Hub())
        self._messages = 0
        self._untold: list[Event] = []

    def tell_soon(self, events: list[Event]) -> None:
        """Push *events* once the answer to the request that caused them is on its way."""
        if not self._untold:
            asyncio.get_running_loop().call_soon(self.tell, [])
        self._untold += events

    def tell(self, events: Iterable[Event]) -> None:
        """Push what happened to the account, in the order in which it happened."""
        account = self._exchange.engine.accounts["main"]
        events, self._untold = [*self._untold, *events], []
        super().tell(events)
        touched: dict[str, None] = {}
        for event in events:
            if isinstance(event, OrderChanged):
                self._private("order", partial(wire.order_message, event.order))
                touched[event.order.symbol] = None
            elif isinstance(event, Executed):
                self._private("execution", partial(wire.execution_message, event.execution))
            elif isinstance(event, PositionChanged):
                row = partial(holding.position_message, event.position, account)
                self._private("position", row)
                touched.pop(event.position.symbol, None)
            elif isinstance(event, WalletChanged):
                self._private("wallet", partial(holding.wallet_row, account))
        for symbol in touched:
            # Bybit pushes the position at every order change, though nothing changed in it
            position = account.positions[symbol]
            self._private("position", partial(holding.position_message, position, account))

    def _private(self, topic: str, row: Callable[[], wire.Row]) -> None:
        topics = [t for t in (topic, f"{topic}.linear") if self.hub.wants(t, "main")]
        if not topics:
            return
        self._messages += 1
        message = {
            "id": f"paper-{topic}-{self._messages}",
            "topic": topic,
            "creationTime": ms(wall()),
            "data": [row()],
        }
        for wanted in topics:
            self.hub.publish(wanted, message | {"topic": wanted}, "main")
