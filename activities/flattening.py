"""The way to flat at Bybit: one logic, for the kill worker and for the command without Temporal."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from functools import partial

import structlog

from activities import lookup, parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.parse import Row
from activities.urgency import Urgency, urgent
from tradewright.domain.account import Position
from tradewright.domain.errors import OrderRejected, OutcomeUnknown, TradewrightError
from tradewright.domain.market import Instrument
from tradewright.domain.reconciliation import OpenOrder
from tradewright.ports import Exposure

log = structlog.get_logger(__name__)

DUPLICATE_LINK = 110072
PASSES = 5
POLL = 0.2
REREAD = 2.0
"""Seconds after which positions are read again although an order of ours is not answered."""
LONGEST_PAUSE = 2.0
BLOCK, LONGEST_LEAP = 1000, 1000


class Links:
    """Numbers the orders of one trip; *note* hears which ones are taken before they are used."""

    def __init__(
        self, name: Callable[[int], str], first: int = 1, note: Callable[[int], None] | None = None
    ) -> None:
        self._name = name
        self._note = note
        self._leap = 1
        self._reserved = first
        self.next = first

    def take(self) -> str:
        number, self.next = self.next, self.next + 1
        if self.next > self._reserved:
            # In blocks: of heartbeats that follow each other closely, most are never sent
            self._reserved = number + BLOCK
            if self._note is not None:
                self._note(self._reserved)
        return self._name(number)

    def leap(self) -> None:
        """Pass over what an earlier attempt has used: ever further, for it may be much."""
        self.next += self._leap
        self._leap = min(2 * self._leap, LONGEST_LEAP)


class Flattening:
    """Cancels what could enter and closes what is held, through every error that may pass.

    All is asked at once: the client lets go as much in a second as the exchange takes.
    """

    def __init__(
        self,
        client: BybitClient,
        links: Links,
        *,
        watch: Callable[[Exposure], None] | None = None,
    ) -> None:
        """*watch* is shown every read of the positions."""
        self._client = client
        self._links = links
        self._watch = watch
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._closed_at: dict[str, float] = {}

    async def cancel_entries(self) -> int:
        """Cancel, one by one, what could open a position; return how many there were.

        One that cannot be cancelled holds up nothing: cancel-all comes for it once flat.
        """
        cancelled: set[str] = set()

        async def cancel(entry: OpenOrder) -> None:
            try:
                if await lookup.cancel(self._client, entry.symbol, orderId=entry.order_id):
                    cancelled.add(entry.order_id)
            except TradewrightError as e:
                await _pause(e)

        with urgent(Urgency.EXIT):
            for attempt in range(PASSES):
                try:
                    shown = await lookup.fetch_open_orders(self._client, unreadable=[])
                except TradewrightError as e:
                    if attempt == PASSES - 1:
                        raise
                    await _pause(e)
                    continue
                entries = [order for order in shown if _may_open(order)]
                if not entries:
                    break
                await asyncio.gather(*(cancel(entry) for entry in entries))
                await asyncio.sleep(POLL)
        return len(cancelled)

    async def close_all(self, within: float) -> Exposure:
        """Close every position, then remove every order; return what was read last.

        Args:
            within: Seconds after which what is left is returned.

        Raises:
            TradewrightError: The exchange could not be read in all that time.
        """
        deadline = time.monotonic() + within
        try:
            with urgent(Urgency.EXIT):
                while True:
                    try:
                        exposure = await self._pass()
                    except TradewrightError as e:
                        if time.monotonic() > deadline:
                            raise
                        await _pause(e)
                        continue
                    if exposure.is_flat or time.monotonic() > deadline:
                        return exposure
                    await self._breathe()
        finally:
            # What is sent stays sent; whoever goes on reads the positions first
            for task in self._closing.values():
                task.cancel()
            await asyncio.gather(*self._closing.values(), return_exceptions=True)
            self._closing.clear()

    async def exposure(self) -> Exposure:
        """Read orders, and then positions: what rested could have filled in between."""
        with urgent(Urgency.EXIT):
            now = datetime.now(UTC)
            unread: list[Row] = []
            orders = await lookup.fetch_open_orders(self._client, unreadable=unread)
            return await self._held(now, len(orders) + len(unread))

    async def _pass(self) -> Exposure:
        """Send what closes the positions that are shown; once none is, remove every order.

        A position that cannot be read keeps the orders, for its stop is among them.
        """
        began = time.monotonic()
        exposure = await self._held(datetime.now(UTC), 0)
        if not exposure.positions:
            exposure = await self.exposure()
        for position in sorted(exposure.positions, key=lambda p: p.notional, reverse=True):
            symbol = position.symbol
            # A read that began before the last order was answered tells nothing about it
            if symbol not in self._closing and self._closed_at.get(symbol, 0) < began:
                task = asyncio.create_task(self._close(position))
                task.add_done_callback(partial(self._end, symbol))
                self._closing[symbol] = task
        if not exposure.positions and exposure.orders and not exposure.unreadable:
            await self._client.call("cancel_all_orders", category=LINEAR, settleCoin=SETTLE_COIN)
        return exposure

    def _end(self, symbol: str, _: asyncio.Task[None]) -> None:
        self._closing.pop(symbol, None)
        self._closed_at[symbol] = time.monotonic()

    async def _breathe(self) -> None:
        """Wait for the orders under way, but not for one that hangs."""
        if self._closing:
            await asyncio.wait(self._closing.values(), timeout=REREAD)
        else:
            await asyncio.sleep(POLL)

    async def _close(self, position: Position) -> None:
        await asyncio.gather(*(self._send(position, qty) for qty in await self._slices(position)))

    async def _send(self, position: Position, qty: Decimal) -> None:
        """Send one slice; whatever becomes of it, the position is read before there is another."""
        link = self._links.take()
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
                # Of an attempt whose heartbeat was lost; its order is done, or closes with ours
                self._links.leap()
            log.warning("kill_order_rejected", order_link_id=link, detail=str(e))
        except OutcomeUnknown as e:
            log.warning("kill_order_unknown", order_link_id=link, detail=str(e))
            await self._await_order(position.symbol, link)
        except TradewrightError as e:
            await _pause(e)

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

    async def _slices(self, position: Position) -> Sequence[Decimal]:
        try:
            instrument = await self._client.instrument(position.symbol)
        except TradewrightError as e:
            # Bybit itself splits a reduce-only order that is too large
            log.warning("kill_without_instrument", symbol=position.symbol, detail=str(e))
            return (position.qty,)
        return slices(position.qty, instrument)

    async def _held(self, at: datetime, orders: int) -> Exposure:
        unread: list[Row] = []
        positions = await lookup.fetch_positions(self._client, unread)
        exposure = Exposure(
            at=at,
            positions=positions,
            orders=orders,
            unreadable=len(unread),
            next_link=self._links.next,
        )
        if self._watch is not None:
            self._watch(exposure)
        return exposure


def slices(qty: Decimal, instrument: Instrument) -> tuple[Decimal, ...]:
    """Return *qty* in as few market orders as the exchange takes, of about the same size.

    A small rest would be below the smallest order.
    """
    count = math.ceil(qty / instrument.max_market_qty)
    share = (qty / count / instrument.qty_step).to_integral_value(ROUND_UP) * instrument.qty_step
    share = min(share, instrument.max_market_qty)
    found: list[Decimal] = []
    while qty > 0:
        found.append(min(share, qty))
        qty -= share
    return tuple(found)


def _may_open(order: OpenOrder) -> bool:
    return not order.reduce_only and order.stop_order_type not in parse.STOP_TYPES


async def _pause(error: TradewrightError) -> None:
    """Wait as long as *error* asks for, but never long: what is held may be falling."""
    log.warning("kill_switch_hindered", error=type(error).__name__, detail=str(error))
    asked = error.retry_after.total_seconds() if error.retry_after else POLL
    await asyncio.sleep(min(asked, LONGEST_PAUSE))
