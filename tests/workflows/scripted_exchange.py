"""The exchange of a script: one symbol, filled at once."""

import itertools
from datetime import timedelta
from decimal import Decimal

from temporalio import activity

from tests.workflows.script import NOON, Script
from tradewright import ids
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopKept,
    StopMissing,
    StopRefused,
    TargetsPlaced,
    TrailingRefused,
    TrailingSet,
)
from tradewright.ports import (
    ExchangePort,
    TradeEvents,
    TradeOrder,
)


class ScriptedExchange(ExchangePort):
    """An exchange of one symbol that fills at once, and tells only who asks."""

    def __init__(self) -> None:
        self.script = Script()
        self.held = Decimal(0)
        self.stop: Decimal | None = None
        self.executions: list[Execution] = []
        self._numbers = itertools.count(1)

    def execute(
        self,
        plan: TradePlan,
        side: Side,
        *,
        link: str = "",
        cause: ExitReason | None = None,
        qty: Decimal | None = None,
    ) -> Execution:
        """Fill *plan*, whole or *qty* of it; on its own side it enters, on the other it leaves."""
        number = next(self._numbers)
        qty = plan.qty if qty is None else qty
        execution = Execution(
            exec_id=f"{plan.trade_id}-{number}",
            seq=number,
            order_id=f"order-{link or number}",
            order_link_id=link,
            symbol=plan.symbol,
            side=side,
            price=plan.price if side is plan.side else plan.price + 100 * plan.side.sign,
            qty=qty,
            fee=Decimal("0.05"),
            at=NOON + timedelta(seconds=number),
            cause=cause,
        )
        self.executions.append(execution)
        self.held += qty if side is plan.side else -qty
        self.stop = plan.stop_loss if self.held else None
        return execution

    def _position(self, *, settled: bool = False) -> PositionRead:
        return PositionRead(qty=self.held, at=NOON + timedelta(minutes=1), settled=settled)

    def _all(self, *, settled: bool = False) -> TradeEvents:
        read = self._position(settled=settled)
        return TradeEvents(events=(*(Executed(execution=e) for e in self.executions), read))

    def _settled(self) -> TradeEvents:
        return self._all(settled=True)

    @activity.defn
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        def fill() -> EntryPlaced:
            link = ids.order_link(order.plan.trade_id, "e", 1)
            if order.plan.rest_until is not None:
                return EntryPlaced(order_id=f"order-{link}")
            self.execute(order.plan, order.plan.side, link=link)
            return EntryPlaced(order_id=f"order-{link}")

        found: EntryPlaced | EntryRejected = await self.script.play("place_entry", order, fill)
        return found

    @activity.defn
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        def shown() -> StopConfirmed | StopMissing | PositionRead:
            if not self.held:
                return self._position()
            return StopMissing() if self.stop is None else StopConfirmed(price=self.stop)

        found: StopConfirmed | StopMissing | PositionRead = await self.script.play(
            "verify_stop", order, shown
        )
        return found

    @activity.defn
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        def cancelled() -> TradeEvents:
            link = ids.order_link(order.plan.trade_id, "e", 1)
            ended = EntryEnded(order_id=f"order-{link}", reason="cancelled")
            return TradeEvents(events=(*self._all().events[:-1], ended, self._position()))

        found: TradeEvents = await self.script.play("cancel_entry", order, cancelled)
        return found

    @activity.defn
    async def set_trailing(self, order: TradeOrder) -> TrailingSet | TrailingRefused | PositionRead:
        found: TrailingSet | TrailingRefused | PositionRead = await self.script.play(
            "set_trailing", order, TrailingSet
        )
        return found

    @activity.defn
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced | PositionRead:
        found: TargetsPlaced | PositionRead = await self.script.play(
            "place_targets", order, lambda: TargetsPlaced(orders=order.targets)
        )
        return found

    @activity.defn
    async def set_stop(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        def moved() -> StopConfirmed:
            self.stop = order.price
            assert order.price is not None
            return StopConfirmed(price=order.price)

        found: StopConfirmed | StopRefused | StopKept | PositionRead = await self.script.play(
            "set_stop", order, moved
        )
        return found

    @activity.defn
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        found: TradeEvents = await self.script.play("look_up", order, self._all)
        return found

    @activity.defn
    async def flatten(self, order: TradeOrder) -> ExitSent:
        def close() -> ExitSent:
            if not self.held:
                return ExitSent()
            link = ids.order_link(order.plan.trade_id, "x", order.number)
            out = order.plan.side.opposite
            execution = self.execute(order.plan, out, link=link, qty=self.held)
            return ExitSent(order_link_id=link, order_id=execution.order_id, qty=execution.qty)

        found: ExitSent = await self.script.play("flatten", order, close)
        return found

    @activity.defn
    async def settle(self, order: TradeOrder) -> TradeEvents:
        found: TradeEvents = await self.script.play("settle", order, self._settled)
        return found
