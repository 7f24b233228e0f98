"""What a step of a trade's state machine costs, beside a call of an empty function.

``python bench/state_machine.py [ROUNDS]`` takes trades through their whole life, event by event,
and prints the time of a step and of the calls that a workflow makes for it.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, Target, TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    Executed,
    PositionRead,
    Started,
    StopConfirmed,
    StopMoved,
    TargetsPlaced,
    Trade,
    TradeEvent,
    due,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def plan() -> TradePlan:
    return TradePlan(
        trade_id="tw" + "a" * 16,
        account="main",
        preset="ema",
        preset_hash="c0ffee",
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        price=Decimal(50_000),
        stop_loss=Decimal(49_500),
        take_profit=Decimal(52_000),
        targets=(Target(price=Decimal(50_500), fraction=Decimal("0.5")),),
        exits=ExitRules(timeframe=Timeframe.M1),
        leverage=Decimal(3),
        instrument=Instrument(
            symbol="BTCUSDT",
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
        ),
        trigger=NOON,
        decided_at=NOON,
        expires_at=NOON + timedelta(seconds=30),
    )


def fill(number: int, side: Side, qty: str, **changes: object) -> Executed:
    fields = {
        "exec_id": f"e{number}",
        "seq": number,
        "order_id": f"o{number}",
        "symbol": "BTCUSDT",
        "side": side,
        "price": Decimal(50_000),
        "qty": Decimal(qty),
        "fee": Decimal("0.5"),
        "at": NOON + timedelta(seconds=number),
    }
    return Executed(execution=Execution.model_validate(fields | changes))


def life(of: TradePlan) -> list[TradeEvent]:
    """Return what happens to a trade of *of*: two fills, a target, break-even, its stop."""
    filled = Trade(plan=of, executions=(fill(1, Side.BUY, "0.1").execution,))
    orders = filled.target_orders(2)
    return [
        Started(),
        EntryPlaced(order_id="o"),
        fill(1, Side.BUY, "0.06"),
        fill(2, Side.BUY, "0.04"),
        StopConfirmed(price=Decimal(49_500)),
        TargetsPlaced(orders=orders),
        fill(3, Side.SELL, "0.05", order_link_id=orders[0].order_link_id),
        StopConfirmed(price=Decimal(49_500)),
        StopMoved(price=Decimal(50_000), reason="break_even"),
        StopConfirmed(price=Decimal(50_000)),
        fill(4, Side.SELL, "0.05", cause=ExitReason.STOP),
        PositionRead(qty=Decimal(0), at=NOON + timedelta(minutes=1), settled=True),
    ]


def nothing(trade: object, event: object) -> object:
    del event
    return trade


def main(rounds: int) -> None:
    of = plan()
    events = life(of)
    steps = rounds * len(events)
    began = time.perf_counter()
    for _ in range(rounds):
        trade: object = of
        for event in events:
            trade = nothing(trade, event)
    empty = (time.perf_counter() - began) / steps

    began = time.perf_counter()
    for _ in range(rounds):
        trade_now = Trade(plan=of)
        for event in events:
            trade_now = trade_now.after(event)
    step = (time.perf_counter() - began) / steps
    assert trade_now.is_final, trade_now.state

    began = time.perf_counter()
    for _ in range(rounds):
        trade_now = Trade(plan=of)
        for event in events:
            before, trade_now = trade_now, trade_now.after(event)
            due(before, trade_now)
    whole = (time.perf_counter() - began) / steps

    print(f"anchor: empty function       {1e6 * empty:.3f} us")
    print(f"after(event)                 {1e6 * step:.1f} us = {step / empty:.0f} anchors")
    print(f"after(event) and due(…)      {1e6 * whole:.1f} us = {whole / empty:.0f} anchors")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
