"""What the kill switch does at Bybit: it goes on through every error that may pass."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

import structlog
from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.parse import Row
from activities.pulse import Pulse, beating
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.errors import OrderRejected, OutcomeUnknown, TradewrightError
from tradewright.domain.gate import Gate
from tradewright.domain.reconciliation import OpenOrder
from tradewright.ports import Exposure, GateWish, KillPort, TripOrder

log = structlog.get_logger(__name__)

DUPLICATE_LINK = 110072
ROUND = 20.0
"""Seconds after which what is left is reported and the workflow asks again."""
PASSES = 5
POLL = 0.2
LONGEST_PAUSE = 2.0


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
        cancelled: set[str] = set()
        # One that cannot be cancelled does not hold the flattening up: cancel-all comes for it
        for _ in range(PASSES):
            shown = await lookup.fetch_open_orders(self._client, unreadable=[])
            entries = [o for o in shown if _may_open(o)]
            if not entries:
                break
            for entry in entries:
                try:
                    if await lookup.cancel(self._client, entry.symbol, orderId=entry.order_id):
                        cancelled.add(entry.order_id)
                except TradewrightError as e:
                    await _pause(e)
            await asyncio.sleep(POLL)
        return len(cancelled)

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        details = activity.info().heartbeat_details
        numbers = itertools.count(int(details[0]) if details else 1)
        deadline = time.monotonic() + ROUND
        async with Pulse() as pulse:
            while True:
                try:
                    exposure = await self._flatten_once(order.trip, numbers, pulse)
                except TradewrightError as e:
                    if time.monotonic() > deadline:
                        raise
                    await _pause(e)
                    continue
                if exposure.is_flat or time.monotonic() > deadline:
                    return exposure
                await asyncio.sleep(POLL)

    @activity.defn
    @beating
    async def read_exposure(self, order: TripOrder) -> Exposure:
        return await self._exposure()

    async def _flatten_once(self, trip: int, numbers: Iterator[int], pulse: Pulse) -> Exposure:
        """Send what closes the positions that are shown; once none is, remove every order.

        A position that cannot be read keeps the orders, for its stop is among them.
        """
        exposure = await self._exposure()
        if exposure.positions:
            closing = [self._close(p, trip, numbers, pulse) for p in exposure.positions]
            await asyncio.gather(*closing)
        elif exposure.orders and not exposure.unreadable:
            await self._client.call("cancel_all_orders", category=LINEAR, settleCoin=SETTLE_COIN)
        return exposure

    async def _close(
        self, position: Position, trip: int, numbers: Iterator[int], pulse: Pulse
    ) -> None:
        qty = await self._sliced(position)
        while True:
            number = next(numbers)
            # Before the order, so that the next attempt begins behind it
            pulse.note(number + 1)
            link = ids.kill_link(trip, number)
            try:
                await self._client.call(
                    "place_order",
                    category=LINEAR,
                    symbol=position.symbol,
                    side=position.side.opposite.value,
                    orderType="Market",
                    qty=parse.text(qty),
                    orderLinkId=link,
                    positionIdx=0,
                    reduceOnly=True,
                )
            except OrderRejected as e:
                if e.ret_code == DUPLICATE_LINK:
                    # Of an attempt whose heartbeat was lost; its order is done or closes with this
                    continue
                log.warning("kill_order_rejected", order_link_id=link, detail=str(e))
            except OutcomeUnknown as e:
                log.warning("kill_order_unknown", order_link_id=link, detail=str(e))
                await self._await_order(position.symbol, link)
            except TradewrightError as e:
                await _pause(e)
            return

    async def _await_order(self, symbol: str, link: str) -> None:
        """Give an order that may have landed a moment to show; the position decides then.

        A second order beside it cannot do harm: both only reduce.
        """
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                if await lookup.fetch_order(self._client, symbol, link) is not None:
                    return
            except TradewrightError as e:
                await _pause(e)
            await asyncio.sleep(POLL)

    async def _sliced(self, position: Position) -> Decimal:
        try:
            instrument = await self._client.instrument(position.symbol)
        except TradewrightError as e:
            # Bybit itself splits a reduce-only order that is too large
            log.warning("kill_without_instrument", symbol=position.symbol, detail=str(e))
            return position.qty
        return min(position.qty, instrument.max_market_qty)

    async def _exposure(self) -> Exposure:
        now = datetime.now(UTC)
        unread_positions: list[Row] = []
        unread_orders: list[Row] = []
        positions = await lookup.fetch_positions(self._client, unread_positions)
        orders = await lookup.fetch_open_orders(self._client, unreadable=unread_orders)
        return Exposure(
            at=now,
            positions=positions,
            orders=len(orders) + len(unread_orders),
            unreadable=len(unread_positions),
        )


def _may_open(order: OpenOrder) -> bool:
    return not order.reduce_only and order.stop_order_type not in parse.STOP_TYPES


async def _pause(error: TradewrightError) -> None:
    """Wait as long as *error* asks for, but never long: what is held may be falling."""
    log.warning("kill_switch_hindered", error=type(error).__name__, detail=str(error))
    asked = error.retry_after.total_seconds() if error.retry_after else POLL
    await asyncio.sleep(min(asked, LONGEST_PAUSE))
