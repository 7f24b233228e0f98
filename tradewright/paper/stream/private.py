"""What the private streams say: everything that happened to an account, in its order."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tradewright.matching import (
    Account,
    Event,
    ExecType,
    Executed,
    OrderChanged,
    PositionChanged,
    WalletChanged,
)
from tradewright.paper import holding, wire
from tradewright.paper.clock import wall_ms
from tradewright.paper.stream.hub import Hub
from tradewright.paper.wire import Row

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

_FAST = "execution.fast"
_BY_CATEGORY = ("order", "execution", "position", _FAST)
_CATEGORIES = ("linear", "spot", "inverse", "option")
_NAMES = {topic: (topic, f"{topic}.linear") for topic in ("wallet", *_BY_CATEGORY)}
TOPICS = frozenset(
    {"wallet", "greeks", "dcp.future", "dcp.spot", "dcp.option", *_BY_CATEGORY}
    | {f"{topic}.{category}" for topic in _BY_CATEGORY for category in _CATEGORIES}
)
"""All that may be subscribed to; the ones of other categories never say anything."""


class PrivateFeed:
    """Builds messages, and only those that somebody wants; ``creationTime`` is wall time.

    Of what is not durable yet nothing is told, though the engine may be ahead.
    """

    def __init__(self, exchange: "Exchange", hub: Hub) -> None:
        self._exchange = exchange
        self._hub = hub
        self._messages = 0

    def tell(self, events: Iterable[Event]) -> None:
        """Push what one change, or one move of the market, did."""
        touched: dict[tuple[str, str], None] = {}
        for event in events:
            if isinstance(event, OrderChanged):
                order = event.order
                self._push(order.account, "order", wire.order_message, order)
                touched[order.account, order.symbol] = None
            elif isinstance(event, Executed):
                self._execution(event)
            elif isinstance(event, PositionChanged):
                position = event.position
                touched.pop((position.account, position.symbol), None)
                account = self._account(position.account)
                row = holding.position_message
                self._push(position.account, "position", row, position, account)
            elif isinstance(event, WalletChanged):
                name = event.balance.account
                self._push(name, "wallet", holding.wallet_row, self._account(name))
        for name, symbol in touched:
            # Bybit pushes the position at every order change, though nothing changed in it
            account = self._account(name)
            position = account.positions[symbol]
            self._push(name, "position", holding.position_message, position, account)

    def _execution(self, event: Executed) -> None:
        execution = event.execution
        name = execution.account
        self._push(name, "execution", wire.execution_message, execution)
        if execution.exec_type is ExecType.TRADE:
            self._push(name, _FAST, wire.fast_execution_message, execution)

    def _push(self, name: str, topic: str, row: Callable[..., Row], *of: Any) -> None:
        topics = [t for t in _NAMES[topic] if self._hub.wants(t, name)]
        if not topics:
            return
        self._messages += 1
        message: Row = {}
        if topic != _FAST:
            uid = self._account(name).profile.uid
            message["id"] = f"{uid}_{topic}_{self._messages}"
        message |= {"topic": topic, "creationTime": wall_ms(), "data": [row(*of)]}
        for wanted in topics:
            message["topic"] = wanted
            self._hub.publish(wanted, message, name)

    def _account(self, name: str) -> Account:
        return self._exchange.written.account(name)
