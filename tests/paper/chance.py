"""Trading by chance, and all that an exchange keeps of it."""

import random
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching import (
    Event,
    OrderRequest,
    OrderType,
    RequestRejected,
    StopRequest,
    TpslMode,
)
from tradewright.paper.exchange import MAIN, Exchange

BTC = "BTCUSDT"


def stored(exchange: Exchange) -> dict[str, list[Any]]:
    history = exchange.store.history
    return {
        "orders": history.orders_after(None, -1, 1000),
        "executions": history.executions_after(None, -1, 1000),
    }


def holdings(exchange: Exchange) -> dict[str, Any]:
    return {
        name: (account.open_orders(), account.positions, account.balance, account.profile)
        for name, account in exchange.engine.accounts.items()
    }


def trade_by_chance(exchange: Exchange, chance: random.Random) -> None:
    """Let three accounts do good and bad things between moves of the market."""
    names = (MAIN, "ann", "bob")
    for name in names[1:]:
        exchange.open_account(name, Decimal(2_000))
    progress = exchange.progress
    for number in range(150):
        with suppress(RequestRejected):
            exchange.change(partial(act, exchange, chance, chance.choice(names), number))
        last = exchange.engine.last[BTC]
        events = exchange.engine.glide(BTC, near(exchange, last, chance), exchange.now())
        if number % 20 == 0:
            events += exchange.engine.fund(BTC, Decimal("0.0003"), exchange.now())
        exchange.advance(events, replace(progress, tick=number))
        exchange.flush()


def act(
    exchange: Exchange, chance: random.Random, account: str, number: int, now: datetime
) -> list[Event]:
    engine, last = exchange.engine, exchange.engine.last[BTC]
    side = chance.choice([Side.BUY, Side.SELL])
    order_type = chance.choice([OrderType.MARKET, OrderType.LIMIT])
    wish = chance.random()
    if wish < 0.6:
        request = OrderRequest(
            symbol=BTC,
            side=side,
            order_type=order_type,
            qty=Decimal(chance.choice(["0.01", "0.1", "0.4"])),
            price=near(exchange, last, chance) if order_type is OrderType.LIMIT else Decimal(0),
            reduce_only=chance.random() < 0.2,
            link=f"link-{number}",
        )
        return engine.place(account, request, now)
    if wish < 0.75:
        stops = StopRequest(stop_loss=near(exchange, last, chance), trailing_stop=Decimal(50))
        return engine.set_stops(account, BTC, stops, now)
    if wish < 0.85:
        part = StopRequest(
            tpsl_mode=TpslMode.PARTIAL,
            stop_loss=near(exchange, last, chance),
            sl_size=Decimal("0.01"),
        )
        return engine.set_stops(account, BTC, part, now)
    if wish < 0.9:
        return engine.set_leverage(account, BTC, Decimal(chance.choice([20, 50, 100])), now)
    if wish < 0.95:
        return engine.cancel_all(account, [BTC], now)
    return engine.transfer(account, Decimal(chance.choice([-20, 30])), now)


def near(exchange: Exchange, price: Decimal, chance: random.Random) -> Decimal:
    instrument = exchange.engine.markets[BTC].instrument
    return instrument.floor_price(price * Decimal(str(chance.uniform(0.985, 1.015))))
