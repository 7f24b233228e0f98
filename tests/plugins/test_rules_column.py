"""Columns and the machine give what a person would find candle by candle."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.rules.column import Columns
from plugins.rules.machine import Machine
from plugins.rules.params import Params
from plugins.rules.programme import Declared, Programme
from plugins.rules.resolution import Resolution
from tests.plugins.expression import conditions, numbers, told
from tests.plugins.market import candles_of, view
from tradewright import rules
from tradewright.rules import Kind, compile_rule

values = st.lists(
    st.one_of(st.just(math.nan), st.integers(-3, 3).map(float)), min_size=6, max_size=9
)
NAMES = {"a": "open_interest", "b": "funding_rate", "c": "mark_price"}
"""Short names in the rules, and the series that they stand for."""
T = "a > 0"


def _programme(text: str, kind: Kind) -> Programme:
    rule = {"long": text} if kind is Kind.CONDITION else {"long": "close > 0", "confidence": text}
    let = {"a": "open_interest", "b": "funding_rate", "c": "mark_price", "t": T}
    return Params.model_validate({"let": let, **rule}).programme()


def _by_hand(text: str, kind: Kind, series: dict[str, list[float]]) -> list[Any]:
    kinds = dict.fromkeys(NAMES, Kind.NUMBER) | {"t": Kind.CONDITION}
    root = compile_rule(text, kinds, kind).root
    t = compile_rule(T, kinds).root
    rows = range(len(series["a"]))
    # A condition as a number: only `told` of the rule sees it, through its own comparison
    known = {**series, "t": [told(t, series, at) for at in rows]}
    return [told(root, _Conditions(known), at) for at in rows]


class _Conditions(dict[str, list[Any]]):
    """Series of which those of conditions hold None, True and False."""


def _is_too_much(text: str, kind: Kind) -> bool:
    try:
        kinds = dict.fromkeys(NAMES, Kind.NUMBER) | {"t": Kind.CONDITION}
        compile_rule(text, kinds, kind)
    except rules.RuleInvalid:
        return True
    return False


def _columns(programme: Programme, series: dict[str, list[float]]) -> Columns:
    length = len(series["a"])
    seen = view(
        candles_of([1.0] * length),
        series={NAMES[name]: np.array(each) for name, each in series.items()},
    )
    return Columns(programme, seen)


def _stepped(programme: Programme, columns: Columns, path: tuple[str, ...]) -> list[float]:
    """Return what the machine says at each candle, one after the other."""
    machine, found = Machine(programme), []
    for row in range(columns.length):
        machine.closes_at_ms = int(columns.closes[row])
        for name in (*NAMES.values(), "close"):
            machine.values[name] = float(columns.series(name)[row])
        for each in programme.definitions:
            machine.run(each.name)
        machine.finish()
        found.append(machine.rules[path]())
    return found


@settings(deadline=None, max_examples=100)
@given(st.data(), values, values, values)
def test_columns_and_steps_agree_with_a_person(
    data: st.DataObject, a: list[float], b: list[float], c: list[float]
) -> None:
    length = min(map(len, (a, b, c)))
    series = {"a": a[:length], "b": b[:length], "c": c[:length]}
    kind = data.draw(st.sampled_from(list(Kind)))
    text = data.draw(conditions if kind is Kind.CONDITION else numbers)
    if _is_too_much(text, kind):
        return
    programme = _programme(text, kind)
    path = ("long",) if kind is Kind.CONDITION else ("confidence",)
    columns = _columns(programme, series)

    found = columns.told(programme.rules[path].root, kind).tolist()
    stepped = _stepped(programme, columns, path)

    expected = _by_hand(text, kind, series)
    assert [None if math.isnan(each) else each for each in found] == expected
    assert list(map(_bits, stepped)) == list(map(_bits, found))


def _bits(value: float) -> bytes:
    return b"unknown" if math.isnan(value) else np.float64(value).tobytes()


@settings(deadline=None, max_examples=60)
@given(st.data(), values, values, values)
def test_a_machine_that_begins_late_goes_on_the_same(
    data: st.DataObject, a: list[float], b: list[float], c: list[float]
) -> None:
    length = min(map(len, (a, b, c)))
    series = {"a": a[:length], "b": b[:length], "c": c[:length]}
    text = data.draw(conditions)
    if _is_too_much(text, Kind.CONDITION):
        return
    programme = _programme(text, Kind.CONDITION)
    whole = _columns(programme, series)
    begun = data.draw(st.integers(1, length - 1))
    machine = Machine(programme)
    machine.begin(_columns(programme, {name: each[:begun] for name, each in series.items()}))

    for row in range(begun, length):
        machine.closes_at_ms = int(whole.closes[row])
        for name in (*NAMES.values(), "close"):
            machine.values[name] = float(whole.series(name)[row])
        for each in programme.definitions:
            machine.run(each.name)
        machine.finish()

    found = whole.told(programme.rules["long",].root, Kind.CONDITION)[-1]
    assert _bits(machine.rules["long",]()) == _bits(float(found))


@pytest.mark.parametrize(
    "text", ["a < 70", "not (a < 70)", "a != a", "b / 0 > 1", "not (b / 0 > 1)", "b * 1e300 > 1"]
)
def test_what_cannot_be_told_decides_nothing_even_under_not(text: str) -> None:
    programme = _programme(text, Kind.CONDITION)
    columns = _columns(programme, {"a": [math.nan] * 3, "b": [1e300] * 3, "c": [1.0] * 3})

    assert not columns.truth(programme.rules["long",].root).any()


def test_a_session_follows_the_clocks_of_its_zone_through_a_change() -> None:
    # 2022-03-27: London's clocks go from 01:00 to 02:00
    begin = 1_648_339_200_000
    candles = candles_of([1.0] * 180)
    candles.open_time[:] = begin + 60_000 * np.arange(180)
    text = 'session("00:30", "02:30", "Europe/London")'
    programme = _programme(text, Kind.CONDITION)

    found = Columns(programme, view(candles)).truth(programme.rules["long",].root)

    # From 00:30 to 01:30 UTC: an hour of these two does not exist
    assert np.flatnonzero(found).tolist() == list(range(29, 89))


def test_resolution_tells_what_is_wrong_and_gives_nothing() -> None:
    resolution = Resolution(
        Declared({}, {}, {}, {"x": "y"}, {("long",): ("x > 1", Kind.CONDITION)})
    )

    assert resolution.programme() is None
    assert [fault.path for fault in resolution.faults] == [("let", "x")]
