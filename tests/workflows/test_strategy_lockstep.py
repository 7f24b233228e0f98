"""A strategy in a market that waits for it: all of a close is decided before the next begins."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tradewright.ports import BookTrigger, CandleClosed

Until = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def trigger(at: datetime, symbol: str) -> BookTrigger:
    return BookTrigger(
        number=round(at.timestamp() * 1000), symbol=symbol, at=at, price=Decimal(50_000)
    )


async def test_a_candle_is_acknowledged_when_the_books_of_its_close_are_decided_on(
    stage: Any, until: Until
) -> None:
    strategy = await stage.start_strategy(book_depth=50)
    later = NOON + timedelta(minutes=1)

    hanging = stage.market.script.hold("evaluate")
    await strategy.signal("candle", CandleClosed(symbols=("BTCUSDT",), close_time=NOON))
    await stage.market.script.called("evaluate")
    # All of these wait while the first candle is decided on
    for at, symbol in ((later, "BTCUSDT"), (later, "ETHUSDT")):
        await strategy.signal("book_trigger", trigger(at, symbol))
    await strategy.signal(
        "candle", CandleClosed(symbols=("BTCUSDT",), close_time=later, acknowledge=True)
    )
    hanging.let_go()
    await until(strategy, "status", lambda s: s["candles"] == 2)
    await stage.market.script.called("done")

    asked = [name for name, _ in stage.market.script.calls if name in {"evaluate", "done"}]
    assert asked == ["evaluate", "evaluate", "evaluate", "evaluate", "done"]
    _, by_candle, *by_book = stage.market.script.of("evaluate")
    # What leaves goes before what enters
    assert by_candle.book is None
    assert [evaluation.book.symbol for evaluation in by_book] == ["BTCUSDT", "ETHUSDT"]
