"""Plans drawn by lot: every kind of entry, target, trailing and time stop."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.simulation.exchange import PRICE, SYMBOL
from tests.simulation.loop import NOON
from tests.unit.life import make_plan
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import (
    ExitRules,
    LimitEntry,
    MarketEntry,
    Target,
    TradePlan,
    TrailedBy,
    Trailing,
)

TRADE_ID = "tw" + "a" * 16
RESTS = timedelta(minutes=15)


def drawn_plan(chance: random.Random) -> TradePlan:
    side = chance.choice((Side.BUY, Side.SELL))
    is_limit = chance.random() < 0.6
    price = PRICE - side.sign * chance.choice((0, 20, 60)) if is_limit else PRICE
    rests_until = NOON + timedelta(seconds=chance.choice((10, 60, 300)))
    limit = LimitEntry(rest_until=rests_until, post_only=chance.random() < 0.3)
    targets = (
        Target(price=price + side.sign * 50, fraction=Decimal("0.3")),
        Target(price=price + side.sign * 100, fraction=Decimal("0.4")),
    )
    has_targets = chance.random() < 0.6
    take_profit = price + side.sign * chance.choice((100, 250))
    trailing = Trailing(
        after_r=Decimal(chance.choice(("0", "0.5", "1"))),
        distance=Decimal(chance.choice((40, 100))),
        by=chance.choice(list(TrailedBy)),
    )
    exits = ExitRules(
        timeframe=Timeframe.M1,
        break_even_after_target=1 if has_targets and chance.random() < 0.5 else None,
        break_even_after_r=Decimal("0.5") if chance.random() < 0.4 else None,
        trailing=trailing if chance.random() < 0.6 else None,
        max_candles=chance.choice((2, 5, 10)) if chance.random() < 0.5 else None,
    )
    return _plan(
        side=side,
        price=price,
        stop_loss=price - side.sign * chance.choice((60, 150, 400)),
        entry=limit if is_limit else MarketEntry(),
        targets=targets if has_targets else (),
        take_profit=take_profit if chance.random() < 0.8 else None,
        exits=exits,
        qty=Decimal(chance.choice(("0.1", "0.013", "0.001", "0.05"))),
        instrument=_instrument(chance.choice(("100", "100", "0.04"))),
    )


def trailed_plan(chance: random.Random) -> TradePlan:
    """Return a plan that enters by and by while its stop is moved already."""
    side = chance.choice((Side.BUY, Side.SELL))
    price = PRICE - side.sign * 10
    trailing = Trailing(after_r=Decimal(0), distance=Decimal(100))
    return _plan(
        side=side,
        price=price,
        stop_loss=price - side.sign * 400,
        take_profit=price + side.sign * 600,
        entry=LimitEntry(rest_until=NOON + RESTS),
        exits=ExitRules(timeframe=Timeframe.M1, trailing=trailing),
        instrument=_instrument("100"),
    )


def _plan(**fields: Any) -> TradePlan:
    return make_plan(
        trade_id=TRADE_ID,
        trigger=NOON,
        decided_at=NOON,
        expires_at=NOON + timedelta(seconds=30),
        **fields,
    )


def _instrument(max_market_qty: str) -> Instrument:
    return Instrument(
        symbol=SYMBOL,
        base_coin="BTC",
        tick_size=Decimal("0.1"),
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1000),
        max_market_qty=Decimal(max_market_qty),
    )
