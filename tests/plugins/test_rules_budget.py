"""What a preset cannot do: run long, hold much, or make the bot fail."""

import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from plugins.rules import Rules
from plugins.rules.params import Params
from tests.plugins.market import view, walk
from tradewright import rules

ROWS = 6_000


def _nested(pattern: str, times: int) -> str:
    text = "close"
    for _ in range(times):
        text = pattern.replace("X", text)
    return text


def _everywhere(text: str) -> dict[str, Any]:
    return {"let": {f"l{n}": text for n in range(30)}, "long": "l0 > 1"}


@pytest.mark.parametrize(
    "pattern", ["iff(cross_up(X, 1), 2, 3)", "iff(rising(X, 9), 2, 3)", "iff(1 < X < 2, 2, 3)"]
)
def test_what_doubles_with_every_level_is_refused_before_it_is_large(pattern: str) -> None:
    with pytest.raises(rules.RuleInvalid, match="too long once it is written out"):
        rules.compile_rule(_nested(pattern, 8), ["close"], rules.Kind.NUMBER)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(_everywhere(_nested("iff(cross_up(X, 1), 2, 3)", 4)), id="nested"),
        pytest.param(_everywhere(" + ".join(["highest(close * 2, 500)"] * 17)), id="highest"),
        pytest.param(_everywhere(" + ".join(["since(close > open, 500)"] * 17)), id="since"),
        pytest.param(
            {"let": {"l0": "close"} | {f"l{n}": f"l{n - 1} + l{n - 1}" for n in range(1, 30)}}
            | {"long": "l29 > 1"},
            id="doubling",
        ),
        pytest.param(
            {
                "indicators": {
                    f"l{n}": {"ta": "PERCENTRANK", "timeperiod": 4900 - n} for n in range(30)
                },
                "long": "l0 > 1",
            },
            id="long periods",
        ),
        pytest.param(
            {
                "let": {
                    f"l{n}": " or ".join(['session("08:00", "16:00", "Europe/London")'] * 9)
                    for n in range(30)
                },
                "long": "l0",
            },
            id="time zones",
        ),
    ],
)
def test_the_heaviest_rules_keep_to_their_budget(written: dict[str, Any]) -> None:
    candles = walk(ROWS)
    # Time of this thread: what runs beside it does not count
    began = time.thread_time()
    strategy = Rules(Params.model_validate(written))
    read = time.thread_time()
    follower = strategy.follow()
    tracemalloc.start()
    follower.evaluate(view(candles.between(0, ROWS - 1)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.thread_time()
    follower.evaluate(view(candles))
    stepped = time.thread_time()

    assert read - began < 2
    assert stepped - started < 0.05
    assert most < 500_000_000


WORDS = ["x", "l", "close", "h1.close", "btc.h1.open", "x.signal", "position.r", "book.imbalance"]
WORDS += [
    *rules.FUNCTIONS,
    "and",
    "or",
    "not",
    "if",
    "lambda",
    "__import__",
    "mon",
    "1",
    "500",
    "1e9",
]
WORDS += [
    "(",
    ")",
    "[-1]",
    ",",
    "<",
    ">=",
    "==",
    "+",
    "-",
    "*",
    "/",
    "%",
    '"08:00"',
    "'os'",
    ".",
    "=",
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(
    texts,
    texts,
    texts,
    st.sampled_from(["MACD", "EMA", "CORREL", "HT_SINE", "CDLDOJI", "NOPE"]),
    st.sampled_from([None, "close", "l", "x", "btc", "h1", ["close", "l"], "funding_rate"]),
    st.sampled_from([None, "h1", "btc", "btc.h1", "l"]),
)
def test_no_document_does_more_than_be_refused(
    long: str, let: str, leave: str, ta: str, of: Any, on: Any
) -> None:
    indicator = {"ta": ta} | ({"of": of} if of else {}) | ({"on": on} if on else {})
    written = {
        "symbols": {"btc": "BTCUSDT"},
        "timeframes": {"h1": "1h"},
        "indicators": {"x": indicator},
        "let": {"l": let},
        "long": long,
        "exit_long": leave,
    }
    try:
        strategy = Rules(Params.model_validate(written))
    except ValidationError:
        return
    candles = walk(strategy.needs.candles + 1)
    others = {name: walk(need.candles) for name, need in strategy.needs.others.items()}

    evaluation = strategy.evaluate(view(candles, others=others))

    assert all(name == name.strip() for name in evaluation.factors)
