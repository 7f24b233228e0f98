"""TA-Lib's functions: what is written down of them holds, for every one."""

import copy
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talib import abstract

from plugins.rules import Rules, survey, talib_call
from plugins.rules.params import Params
from plugins.rules.programme import Measure
from tests.plugins.market import Series, columns, view, walk
from tradewright.plugin import Candles, Evaluation
from tradewright.rules import catalogue

FUNCTIONS = {n: f for n, f in catalogue.functions().items() if not f.refused}
FOREVER = {name for name, each in FUNCTIONS.items() if each.settling is None}
OUT_OF_DOMAIN = {"ACOS", "ASIN"}
LENGTH = 4000


def _measure(name: str, **parameters: Any) -> Measure:
    params = Params.model_validate(
        {"indicators": {"x": {"ta": name, **parameters}}, "long": "x > 0"}
    )
    (measure,) = params.programme().definitions
    assert isinstance(measure, Measure)
    return measure


def _values(measure: Measure, market: dict[str, Series]) -> list[Series]:
    return talib_call.outputs(measure, [market[name] for name in measure.inputs])


MARKET = columns(walk(LENGTH, seed=7))


def test_what_is_written_down_is_what_ta_lib_says() -> None:
    found = survey.survey(measured=False)

    for name, each in found["functions"].items():
        assert each.items() <= survey.written()["functions"][name].items()
    assert found["functions"].keys() == survey.written()["functions"].keys()
    assert found["version"] == survey.written()["version"]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_gives_one_number_per_candle_once_it_has_enough(name: str) -> None:
    function, values = FUNCTIONS[name], _values(_measure(name), MARKET)

    own = function.lookback({})
    assert len(values) == len(function.outputs)
    for each in values:
        assert (str(each.dtype), len(each)) == ("float64", LENGTH)
        assert not np.isinf(each).any()
        assert np.isnan(each[:own]).all()
        assert np.isfinite(each[own:]).all() or name in OUT_OF_DOMAIN | {"FRACTAL"} or own > 0


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_lookbacks_of_any_parameters_are_ta_libs_own(data: st.DataObject) -> None:
    function = data.draw(st.sampled_from([each for each in FUNCTIONS.values() if each.parameters]))
    given_ = {
        name: data.draw(st.sampled_from(each.choices) if each.choices else st.integers(2, 200))
        for name, each in function.parameters.items()
        if each.whole or each.choices
    }

    found = function.lookback(given_)

    asked = abstract.Function(function.name)  # type: ignore[attr-defined]
    asked.set_parameters(given_)
    if 7 in given_.values():
        # MAMA takes a fixed number of candles; what else is taken over the period may take more
        assert found >= asked.lookback
    else:
        assert found == asked.lookback


@pytest.mark.parametrize(
    "name", sorted(FUNCTIONS.keys() - FOREVER - OUT_OF_DOMAIN - survey.TURNING)
)
def test_its_warm_up_leaves_less_than_a_billionth(name: str) -> None:
    for parameters in _examples(name):
        measure = _measure(name, **parameters)
        whole = _values(measure, MARKET)
        needed = measure.function.warm_up(parameters)
        for end in (LENGTH - 1234, LENGTH - 517, LENGTH):
            part = {key: each[end - needed : end] for key, each in MARKET.items()}
            for long, short in zip(whole, _values(measure, part), strict=True):
                size = max(abs(long[end - 1]), float(np.nanstd(long[end - 500 : end])))
                assert abs(long[end - 1] - short[-1]) <= 1e-9 * size or np.isnan(long[end - 1])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("MAMA", {"fastlimit": 0.01, "slowlimit": 0.01}),
        ("MAMA", {"fastlimit": 0.01, "slowlimit": 0.1}),
        ("MAMA", {"fastlimit": 0.99, "slowlimit": 0.02}),
        ("MA", {"matype": 7}),
        ("SUPERTREND", {"timeperiod": 48}),
        ("SUPERTREND", {"timeperiod": 100, "multiplier": 1}),
        ("DPO", {"timeperiod": 2}),
        ("DPO", {"timeperiod": 3}),
    ],
)
def test_odd_parameters_have_their_own_warm_up(name: str, parameters: dict[str, float]) -> None:
    market = columns(walk(10_000, seed=11))
    measure = _measure(name, **parameters)
    needed, whole = measure.function.warm_up(measure.parameters), _values(measure, market)

    for end in range(8_000, 10_000, 97):
        part = {key: each[end - needed : end] for key, each in market.items()}
        last = [each[-1] for each in _values(measure, part)]
        assert last == pytest.approx([each[end - 1] for each in whole], rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", sorted(n for n, f in FUNCTIONS.items() if f.parameters))
def test_ta_lib_takes_every_parameter_that_is_taken(name: str) -> None:
    function = FUNCTIONS[name]
    for parameter, bounds in function.parameters.items():
        for value in bounds.choices or (bounds.least, bounds.most):
            assert bounds.accepts(value)
            if bounds.choices or value < catalogue.LONGEST:
                _values(_measure(name, **{parameter: value}), MARKET)
        assert not bounds.accepts(1e300)


@pytest.mark.parametrize("name", sorted(survey.TURNING))
def test_what_forgets_when_the_market_turns_has_almost_always_forgotten(name: str) -> None:
    measure = _measure(name)
    whole, needed = _values(measure, MARKET)[0], FUNCTIONS[name].warm_up({})

    ends = range(needed, LENGTH, 20)
    part = ({key: each[end - needed : end] for key, each in MARKET.items()} for end in ends)
    last = [_values(measure, each)[0][-1] for each in part]

    same = np.isclose(last, [whole[end - 1] for end in ends], rtol=1e-9)
    assert same.mean() > 0.95


def _examples(name: str) -> list[dict[str, int]]:
    function = FUNCTIONS[name]
    periods = [n for n, each in function.parameters.items() if each.whole and not each.choices]
    kinds = [n for n, each in function.parameters.items() if each.choices]
    found: list[dict[str, int]] = [{}, *({period: 50} for period in periods)]
    # Averages of every third kind: exponential, tripled, fitted …
    return found + [dict.fromkeys(kinds, kind) for kind in (1, 4, 9, 13) if kinds]


def test_what_never_settles_is_known_by_name() -> None:
    assert {"AD", "CUMSUM", "NVI", "OBV", "PVI", "PVT", "VWAP", "WAD"} == FOREVER


# --- streaming ------------------------------------------------------------------------------------


def _bad_market(length: int, seed: int) -> Candles:
    """Return a market with all that is odd: no movement, no volume, holes."""
    candles, rng = walk(length, seed=seed), np.random.default_rng(seed)
    still = rng.integers(0, length - 12)
    for name in ("open", "high", "low", "close"):
        getattr(candles, name)[still : still + 9] = candles.close[still]
    candles.volume[rng.integers(0, length, 5)] = 0.0
    for name in ("high", "close", "volume"):
        getattr(candles, name)[rng.integers(length - 70, length - 40)] = np.nan
    return candles


def _bits(evaluation: Evaluation) -> dict[str, bytes]:
    return {name: struct.pack("d", value) for name, value in evaluation.factors.items()}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_follower_gives_every_bit_of_every_function(name: str) -> None:
    function = FUNCTIONS[name]
    periods = [n for n, each in function.parameters.items() if each.whole and not each.choices]
    names = (
        " + ".join(f"x.{each}" for each in function.outputs) if len(function.outputs) > 1 else "x"
    )
    strategy = Rules(
        Params.model_validate(
            {
                "indicators": {"x": {"ta": name, **dict.fromkeys(periods, 5)}},
                "let": {"all": names},
                "long": "all > 0",
            }
        )
    )
    needed = strategy.needs.candles
    candles = _bad_market(needed + 120, seed=len(name))
    follower = strategy.follow()

    for end in range(needed, len(candles) + 1):
        seen = view(candles.between(0, end))
        assert _bits(follower.evaluate(seen)) == _bits(strategy.evaluate(seen))


def test_no_function_has_to_go_without_its_handle() -> None:
    assert not talib_call.NOT_STREAMED
    for name in FUNCTIONS:
        measure = _measure(name)
        inputs = [copy.deepcopy(MARKET[each]) for each in measure.inputs]
        assert talib_call.handle(measure, inputs) is not None
