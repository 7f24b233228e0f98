"""Foreign code that fails or hangs keeps nobody else waiting."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from activities.strategist import MOST_RUNS, Strategist, StrategyFailed
from tradewright import testing
from tradewright.book import Book
from tradewright.plugin import Evaluation, Needs, View
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
NEEDS = Needs(candles=20)
MARKET = testing.Market()
VIEW = MARKET.view(NEEDS, 0)


class Foreign:
    """A strategy that does what it is told to."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        self._deed = deed

    def evaluate(self, candles: Any) -> Any:
        return self._deed()


def loaded_of(deed: Callable[[], Any], version: str = "v1") -> LoadedPreset:
    strategy: Any = Foreign(deed)
    return dataclasses.replace(loads(PRESET), strategy=strategy, hash=version)


class Followed(Foreign):
    """Answers where it was asked: by its own thread, or at once; and how its followers fare."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.followers = 0
        self.seen: list[int] = []
        self.failing = False

    def _answer(self) -> Evaluation:
        here = threading.current_thread() is threading.main_thread()
        return Evaluation(factors={"at_once": float(here)})

    def follow(self) -> Any:
        self.followers += 1
        outer = self

        class Follower:
            def evaluate(self, view: View) -> Evaluation:
                if outer.failing:
                    raise ValueError("it has lost its way")
                outer.seen.append(len(view.candles))
                return outer._answer()

        return Follower()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging strategy waits for."""
    event = threading.Event()
    yield event
    event.set()


async def test_an_answer_comes_back() -> None:
    answer = Evaluation(factors={"atr": 1.0})

    assert await Strategist().ask(loaded_of(lambda: answer), VIEW) is answer


async def test_an_answer_that_is_none_is_a_failure() -> None:
    with pytest.raises(StrategyFailed, match="its answer is no Evaluation but str"):
        await Strategist().ask(loaded_of(lambda: "buy!"), VIEW)


async def test_a_strategy_that_raises_may_be_asked_again() -> None:
    strategist = Strategist()

    with pytest.raises(StrategyFailed, match="the strategy failed: ZeroDivisionError: "):
        await strategist.ask(loaded_of(lambda: 1 / 0), VIEW)
    assert await strategist.ask(loaded_of(Evaluation), VIEW) == Evaluation()


async def test_a_strategy_that_hangs_keeps_no_other_and_no_thread_of_ours(
    gate: threading.Event,
) -> None:
    """E5: a failing strategy is seen, with its reason."""
    strategist = Strategist(within=0.05)
    hanging, before = loaded_of(gate.wait), threading.active_count()

    for _ in range(50):
        with pytest.raises(StrategyFailed, match=r"did not answer|still computes"):
            await strategist.ask(hanging, VIEW)

    other = await strategist.ask(loaded_of(Evaluation, "v2"), VIEW)
    assert other == Evaluation()
    # What the journal and the streams need is still theirs
    assert threading.active_count() <= before + 2
    assert await asyncio.to_thread(lambda: "free") == "free"


async def test_a_strategy_that_has_answered_late_is_asked_again(gate: threading.Event) -> None:
    strategist = Strategist(within=0.05)
    late = loaded_of(lambda: gate.wait() and Evaluation())
    with pytest.raises(StrategyFailed, match=r"did not answer within 0\.05 s"):
        await strategist.ask(late, VIEW)

    gate.set()
    await asyncio.wrap_future(strategist._hanging["v1"])

    assert await strategist.ask(late, VIEW) == Evaluation()


async def test_only_the_next_candles_of_a_run_are_answered_without_a_thread() -> None:
    strategist, followed = Strategist(), Followed()
    loaded = dataclasses.replace(loaded_of(Evaluation), strategy=cast("Any", followed))

    async def is_at_once(number: int) -> bool:
        answer = await strategist.ask(loaded, MARKET.view(NEEDS, number))
        return bool(answer.factors["at_once"])

    numbers = [0, 1, 2, 2, 12, 13, 14, 1, 2, NEEDS.candles + 3]
    found = [await is_at_once(number) for number in numbers]

    #        first         again  far            back         another first candle
    assert found == [False, True, True, True, False, True, True, False, True, False]
    assert followed.followers == 1
    assert len(followed.seen) == len(numbers)


async def test_each_symbol_has_a_follower_and_a_degraded_view_has_none() -> None:
    strategist, followed = Strategist(), Followed()
    loaded = dataclasses.replace(loaded_of(Evaluation), strategy=cast("Any", followed))

    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        await strategist.ask(loaded, dataclasses.replace(VIEW, symbol=symbol))
    await strategist.ask(loaded, VIEW.degraded_view())

    assert followed.followers == 2
    assert len(followed.seen) == 3


async def test_a_follower_that_failed_is_not_followed_any_further() -> None:
    strategist, followed = Strategist(), Followed()
    loaded = dataclasses.replace(loaded_of(Evaluation), strategy=cast("Any", followed))
    await strategist.ask(loaded, VIEW)

    followed.failing = True
    with pytest.raises(StrategyFailed, match="ValueError: it has lost its way"):
        await strategist.ask(loaded, MARKET.view(NEEDS, 1))
    followed.failing = False
    await strategist.ask(loaded, MARKET.view(NEEDS, 2))

    assert followed.followers == 2


async def test_the_followers_of_what_is_not_asked_any_more_are_let_go() -> None:
    strategist, followed = Strategist(), Followed()
    loaded = dataclasses.replace(loaded_of(Evaluation), strategy=cast("Any", followed))

    for number in range(MOST_RUNS + 10):
        await strategist.ask(loaded, dataclasses.replace(VIEW, symbol=f"S{number}USDT"))

    assert len(strategist._runs) == MOST_RUNS


async def test_a_book_is_read_at_once_and_a_failure_told() -> None:
    class Reader(Foreign):
        def on_book(self, view: View, book: Book) -> Any:
            return self._deed()

    def reading(deed: Callable[[], Any]) -> LoadedPreset:
        return dataclasses.replace(loaded_of(deed), strategy=cast("Any", Reader(deed)))

    strategist, book = Strategist(), testing.make_book(1)

    answer = await strategist.ask_book(reading(Evaluation), VIEW, book)

    assert answer == Evaluation()
    with pytest.raises(StrategyFailed, match="ZeroDivisionError"):
        await strategist.ask_book(reading(lambda: 1 / 0), VIEW, book)
    with pytest.raises(StrategyFailed, match="no Evaluation but int"):
        await strategist.ask_book(reading(lambda: 1), VIEW, book)
