"""Followers: whatever the rules and the candles, they say what a look at the whole would say."""

import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from plugins.rules import Rules
from plugins.rules.evaluator import Follower
from plugins.rules.params import Params
from tests.plugins.expression import conditions, numbers
from tests.plugins.market import Series, candles_of, view, walk
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles, Evaluation, View
from tradewright.rules import catalogue

NAMES = sorted(name for name, each in catalogue.functions().items() if not each.refused)
EVERY = 5
"""Minutes of the other timeframe."""


def _bits(evaluation: Evaluation) -> tuple[Any, ...]:
    factors = {name: struct.pack("d", value) for name, value in evaluation.factors.items()}
    return evaluation.signal, evaluation.exits, factors


def _with_holes(candles: Candles, data: st.DataObject, last: int) -> Candles:
    """Return *candles*, some of the last of them spoilt."""
    spoilt = data.draw(
        st.lists(
            st.tuples(
                st.integers(1, last),
                st.sampled_from(["open", "high", "low", "close", "volume"]),
                st.sampled_from([math.nan, 0.0, 100.0, math.inf]),
            ),
            max_size=4,
        )
    )
    for back, name, value in spoilt:
        getattr(candles, name)[-back] = value
    return candles


@st.composite
def _indicator(draw: st.DrawFn, of: list[str]) -> dict[str, Any]:
    function = catalogue.functions()[draw(st.sampled_from(NAMES))]
    written: dict[str, Any] = {"ta": function.name}
    for name, parameter in function.parameters.items():
        if parameter.choices:
            written[name] = draw(st.sampled_from(parameter.choices))
        elif parameter.whole:
            written[name] = draw(st.integers(2, 9))
    places = [each for each in function.inputs if each.startswith("of:")]
    where = draw(st.sampled_from(["", "m5", "btc", "of"]))
    if where == "of" and places:
        written["of"] = [draw(st.sampled_from(of)) for _ in places]
    elif where in ("m5", "btc"):
        written["on"] = where
    return written


def _view(end: int, own: Candles, m5: Candles, btc: Candles, funding: Any) -> View:
    return view(
        own.between(0, end),
        others={"m5": m5.between(0, end // EVERY), "btc": btc.between(0, end)},
        series={
            "funding_rate": funding[:end],
            "position.r": np.where(np.arange(end) == end - 1, funding[:end], np.nan),
        },
    )


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_a_follower_says_to_the_bit_what_the_whole_says(data: st.DataObject) -> None:
    written = {
        "symbols": {"btc": "BTCUSDT"},
        "timeframes": {"m5": "5m"},
        "indicators": {
            "x": data.draw(_indicator(["volume", "funding_rate"])),
            "y": data.draw(_indicator(["x", "mix", "btc.close"])),
        },
        "let": {
            "mix": "x + m5.close * funding_rate",
            "a": "x",
            "b": "y",
            "c": data.draw(st.sampled_from(["m5.close", "btc.close", "close", "funding_rate"])),
            "t": "b > a or m5.close > btc.close",
        },
        "long": data.draw(conditions),
        "exit_long": f"position.r > 0 and {data.draw(conditions)}",
        "confidence": data.draw(numbers),
    }
    try:
        strategy = Rules(Params.model_validate(written))
    except ValueError:
        assume(False)
        raise
    needed = max(
        strategy.needs.candles, *(need.candles for need in strategy.needs.others.values()), 1
    )
    length = EVERY * needed + 60
    own, btc = (_with_holes(walk(length, seed=seed), data, 50) for seed in (1, 2))
    m5 = _with_holes(walk(length // EVERY, seed=3, timeframe=Timeframe.M5), data, 10)
    funding = np.random.default_rng(4).normal(0, 1, length)
    funding[-data.draw(st.integers(1, 50))] = np.nan
    follower = strategy.follow()

    for end in range(length - 55, length + 1):
        seen = _view(end, own, m5, btc, funding)
        assert _bits(follower.evaluate(seen)) == _bits(strategy.evaluate(seen))


class _Counting(Follower):
    """Counts how often it begins anew."""

    begun = 0

    def _begin(self, view: View) -> Evaluation:
        self.begun += 1
        return super()._begin(view)


CROSS: dict[str, Any] = {
    "indicators": {"fast": {"ta": "EMA", "timeperiod": 3}, "slow": {"ta": "EMA", "timeperiod": 8}},
    "long": "cross_up(fast, slow)",
}


def _counting(**params: Any) -> tuple[Rules, _Counting]:
    strategy = Rules(Params.model_validate(params))
    return strategy, _Counting(strategy._evaluator)


def test_candles_in_a_row_are_followed_from_one_beginning() -> None:
    _, follower = _counting(**CROSS)
    candles = walk(500)

    for end in range(300, 500):
        follower.evaluate(view(candles.between(0, end)))

    assert follower.begun == 1


def test_whatever_is_not_the_next_candle_begins_anew() -> None:
    strategy, follower = _counting(**CROSS)
    candles, other = walk(600), walk(600, seed=2)
    revised = Candles(*(getattr(candles, n).copy() for n in Candles.__slots__))
    revised.close[451] = 1.0
    views = [
        view(candles.between(0, 450)),
        view(candles.between(0, 450)),
        view(candles.between(0, 452)),
        view(candles.between(1, 453)),
        view(candles.between(1, 454), symbol="ETHUSDT"),
        view(other.between(1, 455), symbol="SOLUSDT"),
        view(candles.between(0, 452)),
        view(revised.between(0, 453)),
        view(candles.between(0, 10)),
    ]

    for seen in views:
        assert _bits(follower.evaluate(seen)) == _bits(strategy.evaluate(seen))

    assert follower.begun == len(views) - 1


def test_a_figure_that_came_late_is_not_forgotten() -> None:
    strategy, follower = _counting(
        indicators={"x": {"ta": "SMA", "timeperiod": 5, "of": "open_interest"}},
        let={"before": "open_interest[-2]"},
        long="x > before",
    )
    candles, interest = walk(60), np.arange(60.0)

    def seen(end: int, known: Series) -> View:
        return view(candles.between(0, end), series={"open_interest": known[:end]})

    follower.evaluate(seen(49, interest))
    # At the close it was not listed yet
    follower.evaluate(seen(50, np.where(interest == 49, 48, interest)))
    for end in range(51, 60):
        now = seen(end, interest)
        assert _bits(follower.evaluate(now)) == _bits(strategy.evaluate(now))

    assert follower.begun == 2


def test_bad_data_is_looked_at_as_a_whole_and_leaves_no_trace() -> None:
    strategy, follower = _counting(**CROSS, degraded={"long": "close > fast"})
    candles = walk(450)

    for end in range(400, 451):
        seen = view(candles.between(0, end))
        for each in (replace(seen, degraded=True), seen):
            assert _bits(follower.evaluate(each)) == _bits(strategy.evaluate(each))

    assert follower.begun == 1


def test_a_follower_waits_for_candles_like_the_whole_does() -> None:
    strategy = Rules(Params.model_validate({"long": "close > close[-3]"}))
    follower, candles = strategy.follow(), candles_of([1.0, 2.0, 3.0, 4.0, 5.0])

    fired = [
        follower.evaluate(view(candles.between(0, end))).signal is not None for end in range(1, 6)
    ]

    assert fired == [False, False, False, True, True]
