"""What a trade asks of Bybit, as Temporal performs it: every activity is safe to repeat."""

from temporalio import activity

from activities.bybit import BybitClient
from activities.entry import EntryJournal, EntryOrders
from activities.exits import Exits
from activities.pace import Pace
from activities.pulse import Pulse, beating
from activities.reading import TradeReads
from activities.stops import Stops
from activities.targets import Targets
from activities.urgency import Urgency, urgent
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
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
from tradewright.ports import ExchangePort, TradeEvents, TradeOrder


class BybitExchange(ExchangePort):
    def __init__(self, client: BybitClient, journal: EntryJournal, pace: Pace) -> None:
        self._reads = TradeReads(client, pace)
        self._entries = EntryOrders(client, journal, pace)
        self._stops = Stops(client, self._reads)
        self._targets = Targets(client, self._reads)
        self._exits = Exits(client, self._reads)

    @activity.defn
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        async with Pulse(activity.info().heartbeat_details) as pulse:
            return await self._entries.place(order.plan, pulse)

    @activity.defn
    @beating
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        with urgent(Urgency.STOP):
            return await self._stops.verify(order)

    @activity.defn
    @beating
    async def set_stop(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        with urgent(Urgency.STOP):
            return await self._stops.move(order)

    @activity.defn
    @beating
    async def set_trailing(self, order: TradeOrder) -> TrailingSet | TrailingRefused | PositionRead:
        with urgent(Urgency.STOP):
            return await self._stops.trail(order)

    @activity.defn
    @beating
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced | PositionRead:
        with urgent(Urgency.STOP):
            return await self._targets.place(order)

    @activity.defn
    @beating
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        with urgent(Urgency.EXIT):
            return await self._exits.cancel_entry(order)

    @activity.defn
    @beating
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        with urgent(Urgency.STOP):
            return await self._reads.look_up(order)

    @activity.defn
    @beating
    async def flatten(self, order: TradeOrder) -> ExitSent:
        with urgent(Urgency.EXIT):
            return await self._exits.flatten(order)

    @activity.defn
    @beating
    async def settle(self, order: TradeOrder) -> TradeEvents:
        with urgent(Urgency.EXIT):
            return await self._exits.settle(order)
