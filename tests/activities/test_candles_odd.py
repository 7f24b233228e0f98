"""Candles that are odd: doubted, told, or handed on for the gate to see."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from activities.candles import CandleCache, kline_candle
from tests.activities.klines import M1, ScriptedKlines, at, minutes, opened
from tradewright.domain.errors import AnswerMalformed


class OddKlines(ScriptedKlines):
    """Answers once as no exchange should."""

    def __init__(self, change: Any) -> None:
        super().__init__(age=500)
        self.change = change

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        answer = await super().call(method, **arguments)
        change, self.change = self.change, None
        if change is not None:
            change(answer["result"]["list"])
        return answer


def repeat(rows: list[list[str]]) -> None:
    rows.insert(3, rows[3])


def turn(rows: list[list[str]]) -> None:
    rows.reverse()


@pytest.mark.parametrize(("change", "doubts"), [(repeat, "duplicate"), (turn, "out_of_order")])
async def test_an_answer_that_is_odd_is_doubted_until_it_is_asked_for_again(
    change: Any, doubts: str
) -> None:
    cache = CandleCache(OddKlines(change))

    odd = await cache.window("BTCUSDT", M1, at(100), 10)
    again = await cache.window("BTCUSDT", M1, at(101), 10)
    cache.forget("BTCUSDT", M1)
    renewed = await cache.window("BTCUSDT", M1, at(101), 10)

    assert (odd.doubts, again.doubts, renewed.doubts) == ((doubts,), (doubts,), ())
    assert again.key == renewed.key


def hollow(rows: list[list[str]]) -> None:
    rows[2] = ["nothing"]


def worded(rows: list[list[str]]) -> None:
    rows[2][3] = "much"


@pytest.mark.parametrize("change", [hollow, worded])
async def test_an_answer_that_holds_no_candles_is_told_and_not_kept(change: Any) -> None:
    cache = CandleCache(OddKlines(change))

    with pytest.raises(AnswerMalformed):
        await cache.window("BTCUSDT", M1, at(100), 10)
    window = await cache.window("BTCUSDT", M1, at(100), 10)

    assert minutes(window) == list(range(90, 100))


async def test_what_is_not_a_number_is_handed_on_for_the_gate_to_see() -> None:
    def spoil(rows: list[list[str]]) -> None:
        rows[0][4] = "NaN"

    window = await CandleCache(OddKlines(spoil)).window("BTCUSDT", M1, at(100), 10)

    assert np.isnan(window.candles.close[-1])
    assert window.close is None


@pytest.mark.parametrize("close", ["NaN", "inf", "-1", "much"])
async def test_one_candle_that_is_none_is_told_as_a_fault_of_the_answer(close: str) -> None:
    def spoil(rows: list[list[str]]) -> None:
        rows[0][4] = close

    with pytest.raises(AnswerMalformed):
        await CandleCache(OddKlines(spoil)).candle("BTCUSDT", M1, at(100))


def test_a_message_of_the_stream_becomes_a_candle() -> None:
    candle = kline_candle(
        {
            "start": opened(7),
            "end": opened(8) - 1,
            "interval": "1",
            "open": "16649.5",
            "close": "16677",
            "high": "16677",
            "low": "16608",
            "volume": "2.081",
            "turnover": "34666.4005",
            "confirm": True,
        }
    )

    assert (candle.open_time, candle.close, candle.volume) == (
        at(7),
        Decimal(16677),
        Decimal("2.081"),
    )


async def test_a_candle_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="must enclose"):
        kline_candle(
            {"start": 0, "open": "5", "high": "4", "low": "3", "close": "4", "volume": "1"}
        )
