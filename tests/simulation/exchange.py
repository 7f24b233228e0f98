"""A small Bybit in virtual time: reads that lag, answers that are lost, fills that race cancels."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.simulation.book import STEP, SYMBOL, Book, Order, Row
from tests.simulation.conditions import Conditions
from tests.simulation.loop import NOON, VirtualLoop
from tradewright.domain.errors import ExchangeUnreachable, OrderRejected, OutcomeUnknown
from tradewright.domain.market import Side

WRITES = frozenset({"place_order", "cancel_order", "set_trading_stop", "set_leverage"})
PRICE = Decimal(50_000)


class Exchange:
    """Takes the calls of a `BybitClient`, and is moved by `tick`."""

    recv_window = timedelta(seconds=5)

    def __init__(
        self,
        loop: VirtualLoop,
        chance: random.Random,
        conditions: Conditions,
        note: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._conditions = conditions
        self._note = note
        self._lag, self._lag_until = 0.0, 0.0
        self.price = PRICE
        self.book = Book(loop, self._tell, note, lambda: chance.random() < conditions.left_resting)
        self.stream: list[tuple[float, str, Row]] = []
        """What is on its way to who listens: when it arrives, its topic, its row."""
        self.entries_sent = 0
        self.loosened: list[str] = []

    def _tell(self, topic: str, row: Row) -> None:
        if self._chance.random() < self._conditions.lost:
            return
        arrives = self._loop.elapsed + self._chance.choice((0, 0.02, 0.05, 0.2, 1, 4))
        self.stream.append((arrives, topic, row))
        if self._chance.random() < 0.15:
            self.stream.append((arrives + self._chance.random() * 5, topic, row))

    # --- the market -----------------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        """Move the price by what *seconds* bring, and fill what it reaches."""
        step = self._chance.gauss(0, self._conditions.volatility) * seconds**0.5
        self.price += Decimal(str(round(step, 1)))
        for order in [o for o in self.book.orders if o.works and o.price is not None]:
            assert order.price is not None
            is_reached = self._is_reached(order.price, order)
            if is_reached and self._chance.random() < self._conditions.fill_chance:
                self._fill_resting(order, order.price)
        self._follow()
        self._trigger()
        if self.book.holding.qty and self._chance.random() < self._conditions.hand_orders * seconds:
            qty = min(abs(self.book.holding.qty), Decimal("0.01"))
            self._fill_at_once(self.book.add(self.book.holding.side.opposite, qty, reduces=True))
        self.book.look_at_the_stop()

    def _is_reached(self, price: Decimal, order: Order) -> bool:
        return (price - self.price) * order.side.sign >= 0

    def tighten_by_hand(self) -> None:
        """Let a person halve what the position risks."""
        held = self.book.holding
        if held.qty and held.stop is not None:
            half = (held.stop + self.price) / 2
            stop = half.quantize(Decimal("0.1"))
            if (stop - held.stop) * held.side.sign > 0:
                self._note("by hand", "stop", held.stop, stop)
                self.book.change(stop=stop)

    def _fill_resting(self, order: Order, price: Decimal) -> None:
        qty = order.left
        if self._chance.random() < 0.5:
            share = Decimal(str(round(self._chance.random(), 2)))
            qty = min(qty, max(STEP, (qty * share).quantize(STEP)))
        if order.reduces:
            qty = min(qty, abs(self.book.holding.qty))
        if qty:
            self._fill(order, price, qty)

    def _fill(self, order: Order, price: Decimal, qty: Decimal) -> None:
        attaches = self._chance.random() >= self._conditions.unattached
        self.book.fill(order, price, qty, attaches=attaches)

    def _follow(self) -> None:
        """Keep the best price, from which a trailing stop hangs."""
        held, sign = self.book.holding, self.book.holding.side.sign
        if not (held.qty and held.trailing):
            return
        best = held.best if held.best is not None else held.trails_from
        if best is None or (self.price - best) * sign >= 0:
            self.book.change(best=self.price)

    def _trigger(self) -> None:
        """Close the position whole where its stop, its target or its trailing stop is reached."""
        held, sign = self.book.holding, self.book.holding.side.sign
        hangs = held.best - sign * held.trailing if held.best and held.trailing else None
        reached = [
            cause
            for cause, price, side in (
                ("CreateByStopLoss", held.stop, -1),
                ("CreateByTakeProfit", held.target, 1),
                ("CreateByTrailingStop", hangs, -1),
            )
            if price is not None and (self.price - price) * sign * side >= 0
        ]
        if not held.qty or not reached:
            return
        qty = abs(held.qty)
        order = self.book.add(held.side.opposite, qty, reduces=True, created_by=reached[0])
        if self._chance.random() < 0.3 and qty > 2 * STEP:
            # A part now, what is left a moment later
            self._fill(order, self.price, (qty / 2).quantize(STEP))
            self._loop.call_later(self._chance.random() * 2, self._fill_at_once, order)
        else:
            self._fill_at_once(order)

    def _fill_at_once(self, order: Order) -> None:
        """Fill an order at the market in one to three parts, or the beginning of it."""
        parts = self._chance.choice((1, 1, 2, 3))
        part = max(STEP, (order.left / parts).quantize(STEP))
        while order.works and order.left:
            parts -= 1
            qty = order.left if parts <= 0 else min(order.left, part)
            if order.reduces:
                qty = min(qty, abs(self.book.holding.qty))
            if not qty:
                self.book.end(order, "CancelByReduceOnly")
                return
            self._fill(order, self.price, qty)
            if order.left and order.link and self._chance.random() < 0.1:
                self.book.end(order, "EC_NoImmediateQtyToFill")

    # --- requests -------------------------------------------------------------------------------

    async def call_by(self, send_by: float, method: str, **arguments: Any) -> Row:
        if self._loop.elapsed > send_by:
            raise ExchangeUnreachable(method, "too late")
        return await self.call(method, **arguments)

    async def call(self, method: str, **arguments: Any) -> Row:
        slowest = 0.3 if self._conditions.slow else 0.05
        await asyncio.sleep(self._chance.choice((0.005, 0.02, 0.05, slowest)))
        luck = self._chance.random()
        if luck < self._conditions.unreachable:
            raise ExchangeUnreachable(method, "simulated")
        answer: Row = getattr(self, f"_{method}")(**arguments)
        await asyncio.sleep(self._chance.choice((0.005, 0.02, 0.05)))
        if method in WRITES and luck > 1 - self._conditions.unreachable:
            raise OutcomeUnknown(method, "simulated")
        return answer

    def _age(self) -> float:
        """Return how old what the next read shows is."""
        if not self._conditions.lagging_for:
            return self._chance.choice(self._conditions.lags)
        if self._loop.elapsed > self._lag_until:
            self._lag = self._chance.choice(self._conditions.lags)
            stays = self._chance.random() * self._conditions.lagging_for
            self._lag_until = self._loop.elapsed + stays
        return self._lag

    def _get_server_time(self) -> Row:
        return {"time": int((NOON.timestamp() + self._loop.elapsed) * 1000)}

    def _get_tickers(self, **_: Any) -> Row:
        return _listed({"lastPrice": str(self.price)})

    def _get_positions(self, **_: Any) -> Row:
        return _listed(self.book.seen(self._age())[0].row)

    def _get_open_orders(self, orderLinkId: str = "", **_: Any) -> Row:  # noqa: N803
        orders = self.book.seen(self._age())[1]
        return _listed(
            *(o.row for o in orders if (o.link == orderLinkId if orderLinkId else o.works))
        )

    def _get_order_history(self, orderLinkId: str, **_: Any) -> Row:  # noqa: N803
        orders = self.book.seen(self._age())[1]
        return _listed(*(o.row for o in orders if o.link == orderLinkId and not o.works))

    def _get_executions(self, orderLinkId: str = "", **_: Any) -> Row:  # noqa: N803
        until = self._loop.elapsed - self._age()
        shown = [row for at, row in self.book.executions if at <= until]
        return _listed(
            *(r for r in reversed(shown) if not orderLinkId or r["orderLinkId"] == orderLinkId)
        )

    def _set_leverage(self, **_: Any) -> Row:
        return {"result": {}}

    def _place_order(
        self,
        side: str,
        qty: str,
        orderType: str,  # noqa: N803
        orderLinkId: str,  # noqa: N803
        reduceOnly: bool,  # noqa: N803
        **more: Any,
    ) -> Row:
        book, held, size = self.book, self.book.holding, Decimal(qty)
        if any(order.link == orderLinkId for order in book.orders):
            raise OrderRejected(f"place_order {orderLinkId}", 110072, "OrderLinkedID is duplicate")
        self._note("place", orderLinkId, side, qty, orderType, more.get("price", ""))
        if reduceOnly and (not held.qty or held.side.value == side):
            raise OrderRejected(f"place_order {orderLinkId}", 110017, "current position is zero")
        self.entries_sent += not reduceOnly
        order = book.add(
            Side(side),
            size or abs(held.qty),
            link=orderLinkId,
            reduces=reduceOnly,
            price=_price(more, "price"),
            stop=_price(more, "stopLoss"),
            target=_price(more, "takeProfit"),
        )
        book.remember()
        if order.price is None:
            if self._chance.random() < 0.5:
                self._fill_at_once(order)
            else:
                self._loop.call_later(self._chance.random() * 0.5, self._fill_at_once, order)
        elif more["timeInForce"] == "PostOnly" and self._is_reached(order.price, order):
            book.end(order, "EC_PostOnlyWillTakeLiquidity")
        return {"result": {"orderId": f"o{order.number}"}}

    def _cancel_order(self, orderId: str = "", orderLinkId: str = "", **_: Any) -> Row:  # noqa: N803
        found = [
            o
            for o in self.book.orders
            if o.works and (f"o{o.number}" == orderId or (orderLinkId and o.link == orderLinkId))
        ]
        if found and found[0].price is not None and self._chance.random() < 0.2:
            # It is filled in the moment of its cancel
            self._fill_resting(found[0], found[0].price)
        if not found or not found[0].works:
            raise OrderRejected("cancel_order", 110001, "order not exists or too late to cancel")
        after = 0.4 * self._chance.random() if self._chance.random() < 0.5 else 0.0
        self._loop.call_later(after, self.book.end, found[0], "CancelByUser")
        return {"result": {}}

    def _set_trading_stop(self, **changes: Any) -> Row:
        held = self.book.holding
        if not held.qty:
            raise OrderRejected("set_trading_stop", 10001, "can not set tp/sl/ts for zero position")
        stop, trailing = _price(changes, "stopLoss"), _price(changes, "trailingStop")
        if stop is not None:
            self._set_stop(stop)
        if trailing is not None:
            begins = _price(changes, "activePrice")
            best = self.price if begins is None else None
            self._note("trail", trailing, begins)
            self.book.change(trailing=trailing, trails_from=begins, best=best)
        return {"result": {}}

    def _set_stop(self, stop: Decimal) -> None:
        held = self.book.holding
        if stop == held.stop:
            raise OrderRejected("set_trading_stop", 34040, "not modified")
        if (self.price - stop) * held.side.sign <= 0:
            raise OrderRejected("set_trading_stop", 10001, "StopLoss should lower than base_price")
        if held.stop is not None and (stop - held.stop) * held.side.sign < 0:
            self.loosened.append(f"{held.stop} to {stop} after {self._loop.elapsed:.1f} s")
        self._note("stop", held.stop, stop)
        self.book.change(stop=stop)


def _listed(*rows: Row) -> Row:
    return {"result": {"list": list(rows), "nextPageCursor": ""}}


def _price(arguments: Row, key: str) -> Decimal | None:
    return Decimal(arguments[key]) if arguments.get(key) else None


__all__ = ["PRICE", "SYMBOL", "Exchange"]
