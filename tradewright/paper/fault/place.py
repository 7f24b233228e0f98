"""All places of one exchange where something may go wrong."""

from typing import Any

from starlette.routing import Route

from tradewright.paper.exchange import Exchange
from tradewright.paper.fault import control, scenario
from tradewright.paper.fault.air import FaultyAir
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.door import FaultyDoor
from tradewright.paper.fault.handshake import FaultyHandshake
from tradewright.paper.fault.order import FaultyOrders
from tradewright.paper.fault.patience import Patience
from tradewright.paper.gateway import Gateway
from tradewright.paper.keys import KeyRing
from tradewright.paper.stream.socket import Streams

_TOLD = 20


class Faults:
    """The faults of *exchange*; those of its settings are in force from `begin` on.

    Raises:
        ScenarioInvalid: The file that the settings name cannot be used.
    """

    def __init__(
        self, exchange: Exchange, gateway: Gateway, streams: Streams, ring: KeyRing
    ) -> None:
        file = exchange.settings.faults
        self._planned = scenario.load(file) if file is not None else None
        self._patience = Patience()
        self.board = FaultBoard(exchange.now)
        self.door = FaultyDoor(self.board, gateway, ring, exchange, self._patience)
        self.streams = FaultyHandshake(self.board, streams, self._patience)
        self.air = FaultyAir(self.board, exchange.feed.hub)
        self.orders = FaultyOrders(self.board, exchange, self.air)

    def begin(self) -> None:
        if self._planned is not None:
            self.board.put(self._planned)

    def close(self) -> None:
        self.air.close()
        self._patience.end()

    def told(self) -> dict[str, Any]:
        """Return what the window tells: faults in force, and the last strikes in words."""
        shown = self.board.shown()
        return {"faults": shown["faults"], "strikes": [*map(_sentence, shown["strikes"][:_TOLD])]}

    def routes(self) -> list[Route]:
        return control.routes(self.board)


def _sentence(strike: dict[str, Any]) -> str:
    who = " ".join(strike[key] for key in ("place", "order_link_id") if strike[key])
    return f"{strike['at'][11:19]} {strike['fault']}: {who} {strike['effect']}"
