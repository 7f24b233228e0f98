"""An engine to trade on, and short words for what tests ask of it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tradewright.domain.market import Instrument, Side
from tradewright.matching import (
    Account,
    Engine,
    Event,
    Executed,
    Execution,
    MarginMode,
    Market,
    Order,
    OrderChanged,
    OrderRequest,
    OrderType,
    Profile,
    RequestRejected,
    StopTrailed,
    Tier,
)

D = Decimal
BTC = Instrument(
    symbol="BTCUSDT",
    base_coin="BTC",
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(100),
    max_market_qty=Decimal(50),
)
ETH = BTC.model_copy(update={"symbol": "ETHUSDT", "base_coin": "ETH", "tick_size": Decimal("0.01")})
MAIN, OTHER = "main", "other"
TICK = BTC.tick_size
NOW = datetime(2022, 1, 1, tzinfo=UTC)
TIERS = (
    Tier(Decimal(100_000), Decimal("0.005"), Decimal("0.01"), Decimal(100)),
    Tier(Decimal(500_000), Decimal("0.01"), Decimal("0.02"), Decimal(50), Decimal(500)),
    Tier(Decimal(2_000_000), Decimal("0.02"), Decimal("0.04"), Decimal(25), Decimal(5_500)),
)


def make_engine(
    price: str = "50000",
    *,
    cash: str = "10000",
    names: Iterable[str] = (MAIN,),
    isolated: bool = False,
    depth: str | None = None,
    tiers: tuple[Tier, ...] = (),
    **profile: Any,
) -> Engine:
    size = None if depth is None else Decimal(depth)
    engine = Engine([Market(BTC, depth=size, tiers=tiers), Market(ETH, depth=size)])
    mode = MarginMode.ISOLATED if isolated else MarginMode.CROSS
    for uid, name in enumerate(names):
        options = {"margin_mode": mode, **profile}
        engine.open_account(Profile(account=name, uid=uid, **options), Decimal(cash))
    engine.play("BTCUSDT", [Decimal(price)], NOW)
    engine.play("ETHUSDT", [Decimal(4000)], NOW)
    return engine


def account(engine: Engine, name: str = MAIN) -> Account:
    return engine.accounts[name]


def make_request(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "qty": Decimal("0.1"),
    }
    kinds = {f: t for f, t in OrderRequest.__annotations__.items() if t is Decimal}
    fields |= {k: Decimal(v) if k in kinds else v for k, v in changes.items()}
    return OrderRequest(**fields)


def limit(price: str, side: Side = Side.BUY, **changes: Any) -> OrderRequest:
    return make_request(order_type=OrderType.LIMIT, price=price, side=side, **changes)


def sell(**changes: Any) -> OrderRequest:
    return make_request(side=Side.SELL, **changes)


def place(engine: Engine, request: OrderRequest, name: str = MAIN) -> list[Event]:
    return engine.place(name, request, NOW)


def placed(engine: Engine, request: OrderRequest, name: str = MAIN) -> Order:
    """Place *request* and return the order in its last state."""
    events = engine.place(name, request, NOW)
    assert isinstance(events[0], OrderChanged)
    return states(events)[events[0].order.order_id]


def play(engine: Engine, *prices: str) -> list[Event]:
    return engine.play("BTCUSDT", [Decimal(p) for p in prices], NOW)


def executions(events: Iterable[Event], name: str | None = None) -> list[Execution]:
    found = [e.execution for e in events if isinstance(e, Executed)]
    return [e for e in found if name in (None, e.account)]


def fills(events: Iterable[Event], name: str | None = None) -> list[tuple[Decimal, Decimal]]:
    """Return price and quantity of each execution."""
    return [(e.price, e.qty) for e in executions(events, name)]


def states(events: Iterable[Event]) -> dict[str, Order]:
    """Return the orders that *events* tell of in their last states."""
    told = (e.order for e in events if isinstance(e, OrderChanged | StopTrailed))
    return {o.order_id: o for o in told}


def rejection(engine: Engine, request: OrderRequest, name: str = MAIN) -> RequestRejected:
    with pytest.raises(RequestRejected) as failure:
        engine.place(name, request, NOW)
    return failure.value
