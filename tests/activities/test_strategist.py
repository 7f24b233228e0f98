"""Foreign code that fails or hangs keeps nobody else waiting."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from activities.strategist import Strategist, StrategyFailed
from tradewright.plugin import Evaluation
from tradewright.preset import LoadedPreset, loads

PRESET = """\
version: 1
name: foreign
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 1m}
strategy: {plugin: donchian_breakout, params: {period: 2}}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}}
risk: {sizing: fixed_notional, notional: 500}
"""
CANDLES = pd.DataFrame()


class Foreign:
    """A strategy that does what it is told to."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        self._deed = deed

    def evaluate(self, candles: Any) -> Any:
        return self._deed()


def loaded_of(deed: Callable[[], Any], version: str = "v1") -> LoadedPreset:
    strategy: Any = Foreign(deed)
    return dataclasses.replace(loads(PRESET), strategy=strategy, hash=version)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging strategy waits for."""
    event = threading.Event()
    yield event
    event.set()


async def test_an_answer_comes_back() -> None:
    answer = Evaluation(factors={"atr": 1.0})

    assert await Strategist().ask(loaded_of(lambda: answer), CANDLES) is answer


async def test_an_answer_that_is_none_is_a_failure() -> None:
    with pytest.raises(StrategyFailed, match="its answer is no Evaluation but str"):
        await Strategist().ask(loaded_of(lambda: "buy!"), CANDLES)


async def test_a_strategy_that_raises_may_be_asked_again() -> None:
    strategist = Strategist()

    with pytest.raises(StrategyFailed, match="the strategy failed: ZeroDivisionError: "):
        await strategist.ask(loaded_of(lambda: 1 / 0), CANDLES)
    assert await strategist.ask(loaded_of(Evaluation), CANDLES) == Evaluation()


async def test_a_strategy_that_hangs_keeps_no_other_and_no_thread_of_ours(
    gate: threading.Event,
) -> None:
    """E5: a failing strategy is seen, with its reason."""
    strategist = Strategist(within=0.05)
    hanging, before = loaded_of(gate.wait), threading.active_count()

    for _ in range(50):
        with pytest.raises(StrategyFailed, match=r"did not answer|still computes"):
            await strategist.ask(hanging, CANDLES)

    other = await strategist.ask(loaded_of(Evaluation, "v2"), CANDLES)
    assert other == Evaluation()
    # What the journal and the streams need is still theirs
    assert threading.active_count() <= before + 2
    assert await asyncio.to_thread(lambda: "free") == "free"


async def test_a_strategy_that_has_answered_late_is_asked_again(gate: threading.Event) -> None:
    strategist = Strategist(within=0.05)
    late = loaded_of(lambda: gate.wait() and Evaluation())
    with pytest.raises(StrategyFailed, match=r"did not answer within 0\.05 s"):
        await strategist.ask(late, CANDLES)

    gate.set()
    await asyncio.wrap_future(strategist._hanging["v1"])

    assert await strategist.ask(late, CANDLES) == Evaluation()
