"""Who tells a trade of the world: the stream, the closed candles, and people."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from activities import parse
from tests.simulation.conditions import Conditions
from tests.simulation.exchange import Exchange
from tests.simulation.loop import VirtualLoop
from tradewright import ids
from tradewright.domain.exits import manage
from tradewright.domain.market import Candle
from tradewright.domain.trade import (
    EntryEnded,
    Executed,
    RecheckRequested,
    StopLost,
    StopMoved,
    Trade,
    TradeEvent,
    TradeState,
)
from tradewright.ports import TradeView
from workflows.trade import ExitWish, ResolveWish, TradeWorkflow

MINUTE = 60


class Surroundings:
    """Moves the exchange, and tells the workflow that runs at the time."""

    def __init__(
        self,
        loop: VirtualLoop,
        chance: random.Random,
        conditions: Conditions,
        exchange: Exchange,
        cancel: Callable[[], None],
        note: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._conditions = conditions
        self._exchange = exchange
        self._cancel = cancel
        self._note = note
        self.workflow: TradeWorkflow | None = None
        self.watch: Callable[[Trade, float], None] = lambda trade, seconds: None
        """Is shown the trade beside the exchange after every move of the market."""

    @property
    def _running(self) -> TradeWorkflow:
        assert self.workflow is not None
        return self.workflow

    @property
    def _view(self) -> TradeView:
        return self._running.trade()

    def _tell(self, event: TradeEvent) -> None:
        self._note("told", event.kind)
        TradeWorkflow.report(self._running, cast(Any, event.model_dump(mode="json")))

    async def market(self) -> None:
        while True:
            seconds = self._chance.choice((0.1, 0.3, 0.5))
            await asyncio.sleep(seconds)
            self._exchange.tick(seconds)
            self.watch(self._view.trade, seconds)
            now, stream = self._loop.elapsed, self._exchange.stream
            arrived = [message for message in stream if message[0] <= now]
            self._exchange.stream = [message for message in stream if message[0] > now]
            self._chance.shuffle(arrived)
            for _, topic, row in arrived:
                event = self._happened(row) if topic == "execution" else _ended(row)
                if event is not None:
                    self._tell(event)

    def _happened(self, row: parse.Row) -> TradeEvent:
        """Return what the private stream's follower tells of an execution."""
        execution, opened_at = parse.execution(row), self._view.trade.opened_at
        assert execution is not None
        caused = execution.cause is not None or ids.is_ours(execution.order_link_id)
        if caused or (opened_at is not None and execution.at > opened_at):
            return Executed(execution=execution)
        return RecheckRequested(reason="an execution names no trade")

    async def candles(self) -> None:
        while True:
            prices = [self._exchange.price]
            for _ in range(MINUTE):
                await asyncio.sleep(1)
                prices.append(self._exchange.price)
            now = self._loop.now()
            candle = Candle(
                open_time=now - timedelta(seconds=MINUTE),
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                volume=Decimal(1),
            )
            await asyncio.sleep(self._chance.choice((0, 0.1, 3)))
            event = manage(self._view.trade, candle, now)
            if event is not None:
                self._tell(event)

    async def watchman(self) -> None:
        """Tell of a stop that is gone, as a reconciliation does."""
        while True:
            await asyncio.sleep(3)
            trade, held = self._view.trade, self._exchange.book.holding
            is_quiet = trade.state is TradeState.OPEN and trade.stop is not None
            if is_quiet and held.qty and held.stop is None and not self._view.busy:
                self._tell(StopLost())

    async def people(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._conditions.people_every))
            self._do_something(self._chance.random())
            choices = self._view.choices
            if choices:
                wish = ResolveWish(choice=self._chance.choice(choices), by="ann")
                self._note("resolved", wish.choice, self._view.needs_operator)
                TradeWorkflow.resolve_by_update(self._running, wish)

    def _do_something(self, luck: float) -> None:
        trade, price = self._view.trade, self._exchange.price
        if luck < 0.15:
            self._note("told", "exit")
            TradeWorkflow.exit_by_update(self._running, ExitWish(note="enough", by="ann"))
        elif luck < 0.25:
            self._note("cancelled")
            self._cancel()
        elif luck < 0.55:
            self._tell(RecheckRequested(reason="the books differ"))
            if self._chance.random() < 0.5:
                self._tell(RecheckRequested(reason="they still do"))
        elif luck < 0.65 and trade.state is TradeState.OPEN:
            sign, instrument = trade.plan.side.sign, trade.plan.instrument
            wished = instrument.floor_price(price - sign * self._chance.choice((5, 30, -20)))
            if trade.tightens(wished):
                self._tell(StopMoved(price=wished, reason="operator", by="ann"))
        elif luck < 0.7 and trade.state is TradeState.OPEN:
            # Of a stop that was never gone
            self._tell(StopLost())
        elif self._conditions.hand_stops:
            self._exchange.tighten_by_hand()


def _ended(row: parse.Row) -> EntryEnded | None:
    link = ids.parse_link(row["orderLinkId"])
    if link is None or link.leg != "e":
        return None
    return EntryEnded(order_id=row["orderId"], reason=row["cancelType"])
