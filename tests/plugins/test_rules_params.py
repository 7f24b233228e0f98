"""What may be written under `strategy.params`: mistakes, schema, and what is never harmful."""

import copy
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from plugins.rules.params import Params
from tradewright.preset.schema import plugin_schema
from tradewright.rules import catalogue


def _faults(params: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValueError, match="; ") as caught:
        Params.model_validate(params)
    error: Any = caught.value
    return [(f.path, f.message) for f in error.errors()[0]["ctx"]["error"].faults]


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({}, (), "neither long nor short; write one of them"),
        (
            {"indicators": {"close": {"ta": "EMA"}}},
            ("indicators", "close"),
            "'close' has a meaning of its own",
        ),
        ({"indicators": {"abs": {"ta": "EMA"}}}, ("indicators", "abs"), "'abs' has a meaning"),
        ({"let": {"book": "close"}}, ("let", "book"), "'book' has a meaning"),
        ({"symbols": {"mon": "BTCUSDT"}}, ("symbols", "mon"), "'mon' has a meaning"),
        (
            {"indicators": {"x": {"ta": "EMA"}}, "let": {"x": "close"}},
            ("let", "x"),
            "'x' stands under indicators already",
        ),
        (
            {"indicators": {"x": {"ta": "EMAA"}}},
            ("indicators", "x", "ta"),
            "unknown TA-Lib function 'EMAA'; did you mean 'EMA'?",
        ),
        (
            {"indicators": {"x": {"ta": "MACD", "output": "macdsginal"}}},
            ("indicators", "x", "output"),
            "unknown output 'macdsginal'; did you mean 'macdsignal'?",
        ),
        (
            {"indicators": {"x": {"ta": "MAVP"}}},
            ("indicators", "x", "ta"),
            "MAVP is not supported: it needs a period for each candle",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "timeperiod": "9"}}},
            ("indicators", "x", "timeperiod"),
            "'9' is not a number; write a number without quotes",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "timeperiod": 10**400}}},
            ("indicators", "x", "timeperiod"),
            "is out of range for EMA; use at least 1, at most 100000",
        ),
        (
            {"indicators": {"x": {"ta": "RSI", "timeperiod": 1}}},
            ("indicators", "x", "timeperiod"),
            "1 is out of range for RSI; use at least 2",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "timeperiod": Decimal("9.5")}}},
            ("indicators", "x", "timeperiod"),
            "9.5 is not whole; write a whole number",
        ),
        (
            {"indicators": {"x": {"ta": "BBANDS", "matype": 10}}},
            ("indicators", "x", "matype"),
            "10 is out of range for BBANDS; use one of 0, 1, 2",
        ),
        (
            {"indicators": {"x": {"ta": "BBANDS", "nbdevup": Decimal("NaN")}}},
            ("indicators", "x", "nbdevup"),
            "NaN is out of range for BBANDS",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "period": 9}}},
            ("indicators", "x", "period"),
            "EMA has no parameter 'period'; did you mean 'timeperiod'?",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "on": "h2"}}, "timeframes": {"h1": "1h"}},
            ("indicators", "x", "on"),
            "no candles are called 'h2'; known: h1",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "of": "volum"}}},
            ("indicators", "x", "of"),
            "series 'volum' is unknown; did you mean 'volume'?",
        ),
        (
            {"indicators": {"x": {"ta": "ATR", "of": "volume"}}},
            ("indicators", "x", "of"),
            "ATR always takes high, low, close; leave `of` out",
        ),
        (
            {"indicators": {"x": {"ta": "CORREL", "of": "volume"}}},
            ("indicators", "x", "of"),
            "CORREL takes 2 series here; write 2",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "of": "book.imbalance"}}},
            ("indicators", "x", "of"),
            "book.imbalance is known only now; it has no past",
        ),
        (
            {"indicators": {"x": {"ta": "EMA", "of": "up"}}, "let": {"up": "close > open"}},
            ("indicators", "x", "of"),
            "series 'up' is a condition",
        ),
        (
            {
                "indicators": {"x": {"ta": "EMA", "of": "funding_rate", "on": "h1"}},
                "timeframes": {"h1": "1h"},
            },
            ("indicators", "x", "of"),
            "'funding_rate' is no series of h1; leave `on` out",
        ),
        ({"let": {"a": "b + 1", "b": "a + 1"}}, ("let", "a"), "a needs b needs a: a circle"),
        ({"let": {"a": "a > 1"}}, ("let", "a"), "a needs a: a circle"),
        (
            {"long": "position.r > 1"},
            ("long",),
            "position.r cannot be used here; a position is known in exit_long and exit_short",
        ),
        (
            {"long": "won", "let": {"won": "position.r > 1"}},
            ("long",),
            "won cannot be used here",
        ),
        (
            {"let": {"thick": "book.bid_volume"}, "long": "thick[-1] > 1"},
            ("long",),
            "thick is known only now; it has no previous values",
        ),
        ({"degraded": {}}, ("degraded",), "no rules; write one of them or leave it out"),
        ({"degraded": {"long": "clse > 1"}}, ("degraded", "long"), "unknown name 'clse'"),
        (
            {"indicators": {"x": {"ta": "EMA", "timeperiod": 500}}},
            (),
            "the rules need 5540 candles, more than 5000; use shorter periods",
        ),
        (
            {"indicators": {"x": {"ta": "SMA", "timeperiod": 4900}}, "long": "x[-500] > 1"},
            (),
            "the rules need 5400 candles, more than 5000",
        ),
        (
            {
                "timeframes": {"d1": "1d"},
                "indicators": {"x": {"ta": "RMA", "timeperiod": 300, "on": "d1"}},
            },
            (),
            "candles of d1, more than 5000",
        ),
        (
            {
                "let": {"a": "close"}
                | {f"a{n}": f"{'a' if n == 0 else f'a{n - 1}'}[-500]" for n in range(12)}
            },
            (),
            "the rules need 6001 candles",
        ),
    ],
)
def test_mistakes_are_told_where_they_are(
    params: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    written = params if not params else {"long": "close > 1", **params}

    ((found, told),) = _faults(written)

    assert found == path
    assert message in told


def test_all_mistakes_are_told_at_once() -> None:
    faults = _faults(
        {"indicators": {"x": {"ta": "NOPE"}}, "let": {"z": "1 +"}, "long": "y > 1", "short": "z"}
    )

    assert [path for path, _ in faults] == [
        ("indicators", "x", "ta"),
        ("let", "z"),
        ("long",),
        ("short",),
    ]


def test_the_columns_of_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="unknown name") as caught:
        Params.model_validate({"long": "close > 1 and clse > 2"})

    error: Any = caught.value
    assert error.errors()[0]["ctx"]["error"].faults[0].column == 15


def test_a_definition_may_stand_before_what_it_is_made_of() -> None:
    params = Params.model_validate(
        {"let": {"a": "b and b[-1]", "b": "x > 1"}, "indicators": {"x": {"ta": "RSI"}}, "long": "a"}
    )

    order = [each.name for each in params.programme().definitions]

    assert order.index("x") < order.index("b") < order.index("a")


def test_candles_add_up_through_all_that_is_between() -> None:
    params = Params.model_validate(
        {
            "symbols": {"btc": "BTCUSDT"},
            "timeframes": {"h4": "4h"},
            "indicators": {
                "slow": {"ta": "SMA", "timeperiod": 10, "of": "btc", "on": "h4"},
                "fast": {"ta": "SMA", "timeperiod": 5},
                "again": {"ta": "SMA", "timeperiod": 3, "of": "fast"},
            },
            "let": {"up": "rising(again, 2)"},
            "long": "up[-4] and close > slow[-2] and btc.close > 1 and funding_rate < 1",
        }
    )

    needs = params.programme().needs

    # 5 for the average, 2 more for its own, 2 for rising, 4 for the time before
    assert needs.candles == 5 + 2 + 2 + 4
    assert {name: need.candles for name, need in needs.others.items()} == {"btc.h4": 12, "btc": 1}
    assert (needs.others["btc.h4"].symbol, needs.others["btc.h4"].timeframe) == ("BTCUSDT", "4h")
    assert needs.series == ("funding_rate",)


# --- schema ---------------------------------------------------------------------------------------


def _is_integer(_: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, Decimal) and not value % 1)


# Decimal is the loader's number; the library knows of float only
Checker: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
SCHEMA = Checker(plugin_schema("rules"))

OK: dict[str, Any] = {
    "symbols": {"btc": "BTCUSDT"},
    "timeframes": {"h1": "1h"},
    "indicators": {
        "fast": {"ta": "EMA", "timeperiod": 12},
        "bands": {"ta": "BBANDS", "nbdevup": Decimal("2.5"), "matype": 1, "on": "h1"},
        "together": {"ta": "CORREL", "of": ["close", "btc.close"]},
    },
    "let": {"trend": "close > fast"},
    "long": "trend",
    "degraded": {"exit_long": "close > 1"},
}


def _accepts(document: Any) -> bool:
    try:
        Params.model_validate(document)
    except ValueError:
        return False
    return True


def test_the_schema_takes_what_the_model_takes() -> None:
    assert _accepts(OK)
    assert [each.message for each in SCHEMA.iter_errors(OK)] == []


PLACES: list[tuple[str, ...]] = [
    (),
    ("symbols",),
    ("timeframes",),
    ("indicators",),
    ("indicators", "fast"),
    ("indicators", "bands"),
    ("indicators", "together"),
    ("let",),
    ("degraded",),
]
KEYS = [
    "symbols",
    "indicators",
    "long",
    "short",
    "ta",
    "timeperiod",
    "matype",
    "nbdevup",
    "on",
    "of",
]
KEYS += ["output", "Fast", "book", "x", "abs", "", "exit_long", "confidence", "degraded"]
VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    2,
    100_000,
    100_001,
    -3,
    Decimal("1.5"),
    Decimal("2.0"),
    "EMA",
    "MACD",
]
VALUES += ["NOPE", "1h", "9h", "BTCUSDT", "", "close > 1", "Volume", [], ["close"], {}, {"x": 1}]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(PLACES), st.sampled_from(KEYS), st.sampled_from(VALUES), st.booleans())
def test_what_the_schema_refuses_the_model_refuses(
    place: tuple[str, ...], key: str, value: Any, taken_out: bool
) -> None:
    document = copy.deepcopy(OK)
    at = document
    for step in place:
        at = at[step]
    if taken_out:
        at.pop(key, None)
    else:
        at[key] = value

    by_schema, by_model = SCHEMA.is_valid(document), _accepts(document)

    if not by_schema:
        assert not by_model
    elif not by_model:
        # A schema cannot say what an expression means, nor which names there are
        ((*_, message),) = _faults(document)[:1]
        assert any(
            word in message
            for word in (
                "unknown",
                "called",
                "series",
                "cannot",
                "belongs",
                "output",
                "takes",
                "follows",
            )
        ), message


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_bounds_are_the_same_in_schema_and_model(data: st.DataObject) -> None:
    function = data.draw(
        st.sampled_from([f for f in catalogue.functions().values() if f.parameters])
    )
    name = data.draw(st.sampled_from(sorted(function.parameters)))
    value = data.draw(
        st.one_of(st.integers(-3, 20), st.sampled_from([99_999, 100_000, 100_001]))
        | st.decimals(-5, 150, places=2)
    )
    document = {"indicators": {"x": {"ta": function.name, name: value}}, "long": "close > 1"}

    by_model = _accepts(document)

    if function.refused:
        assert not by_model
        assert not SCHEMA.is_valid(document)
    elif by_model or SCHEMA.is_valid(document):
        faults = [] if by_model else _faults(document)
        assert SCHEMA.is_valid(document)
        assert all("candles" in message for _, message in faults)


# --- harm -----------------------------------------------------------------------------------------


def test_validation_imports_neither_numpy_nor_ta_lib() -> None:
    code = (
        "import sys\n"
        "from tradewright import plugin\n"
        "rules = plugin.load('rules')\n"
        "strategy = rules(rules.Params.model_validate({'long': 'rsi < 30',\n"
        "    'indicators': {'rsi': {'ta': 'RSI', 'timeperiod': 14}}}))\n"
        "print(strategy.needs.candles,\n"
        "    sorted({'pandas', 'numpy', 'talib', 'temporalio'} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    candles, _, modules = run.stdout.strip().partition(" ")
    assert int(candles) > 100
    assert modules == "[]"


def test_the_words_of_the_language_name_nothing_else() -> None:
    for word in ("iff", "and", "mon", "volume", "funding_rate", "account"):
        ((path, message), *_) = _faults({"let": {word: "close"}, "long": "close > 1"})
        assert path == ("let", word)
        assert "meaning of its own" in message
