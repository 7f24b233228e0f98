"""What the kill switch does at Bybit and at the gate, as Temporal performs it."""

from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from temporalio import activity

from activities.bybit import BybitClient
from activities.flattening import Flattening, Links
from activities.pulse import Pulse, beating
from tradewright import ids
from tradewright.domain.gate import Gate
from tradewright.ports import Exposure, GateWish, KillPort, TripOrder

ROUND = 20.0
"""Seconds after which what is left is reported and the workflow asks again."""


class GateKeeper(Protocol):
    """The part of the journal that holds the gate."""

    async def gate(self, account: str) -> Gate | None: ...
    async def set_gate(self, wish: Gate, *, rearm: bool) -> Gate: ...


class BybitKillSwitch(KillPort):
    def __init__(self, client: BybitClient, journal: GateKeeper) -> None:
        self._client = client
        self._journal = journal

    @activity.defn
    async def read_gate(self, account: str) -> Gate:
        gate = await self._journal.gate(account)
        return gate if gate is not None else Gate(account=account, at=datetime.now(UTC))

    @activity.defn
    async def write_gate(self, wish: GateWish) -> Gate:
        return await self._journal.set_gate(wish.gate, rearm=wish.rearm)

    @activity.defn
    @beating
    async def cancel_entries(self, order: TripOrder) -> int:
        return await self._flattening(order).cancel_entries()

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        async with Pulse() as pulse:
            return await self._flattening(order, pulse).close_all(ROUND)

    @activity.defn
    @beating
    async def read_exposure(self, order: TripOrder) -> Exposure:
        return await self._flattening(order).exposure()

    def _flattening(self, order: TripOrder, pulse: Pulse | None = None) -> Flattening:
        details = activity.info().heartbeat_details
        first = max(order.first_link, int(details[0]) if details else 1)
        links = Links(partial(ids.kill_link, order.trip), first, pulse.note if pulse else None)
        return Flattening(self._client, links)
