"""The rule language: what it takes, what it refuses and where, and that nothing crashes it."""

import ast
import builtins
import keyword

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradewright import rules
from tradewright.rules import Kind, Rule, RuleInvalid, compile_rule

NAMES = ("open", "close", "fast", "slow", "rsi")


def _refused(text: str, kind: Kind = Kind.CONDITION) -> RuleInvalid:
    with pytest.raises(RuleInvalid) as caught:
        compile_rule(text, NAMES, kind)
    return caught.value


def _compiled(text: str) -> Rule | RuleInvalid:
    try:
        return compile_rule(text, NAMES)
    except RuleInvalid as e:
        return e


@pytest.mark.parametrize(
    "text",
    [
        "cross_up(fast, slow) and rsi < 70",
        "not (close > open or close[-1] > open[-1])",
        "0.5 < -close % 3 / 2 * 1e3 <= .5",
        "abs(close - open) > max(1, min(2, 3, rsi)) == clip(close, 0, 1.)",
        "  close\n  > open\t",
        "close[-500] != 1",
    ],
)
def test_the_language_is_taken(text: str) -> None:
    assert compile_rule(text, NAMES).text == text


@pytest.mark.parametrize(
    ("text", "column", "problem", "advice"),
    [
        ("", 1, "the rule is empty", "write a condition"),
        ("fast > slo", 8, "unknown name 'slo'", "did you mean 'slow'?"),
        ("xyzzy > 1", 1, "unknown name 'xyzzy'", "known: close, fast, open, rsi, slow"),
        ("crossup(fast, slow)", 1, "unknown function 'crossup'", "did you mean 'cross_up'?"),
        ("rsi(14) > 3", 1, "unknown function 'rsi'", "rsi is a series"),
        ("1 < cross_up", 5, "cross_up is a function", "call it, as in cross_up(…)"),
        ("cross_up(fast)", 1, "cross_up takes 2 arguments", "give them in order"),
        ("min(fast) > 1", 1, "min takes 2 to 10 arguments", "give them in order"),
        ("abs() > 1", 1, "abs takes 1 argument", "give them in order"),
        ("max(1, 2, key=3) > 1", 1, "max takes 2 to 10 arguments", "give them in order"),
        ("close", 1, "a number where a condition belongs", "as in close > 0"),
        ("rsi and close > 1", 1, "a number where a condition belongs", "as in rsi > 0"),
        ("1 + (close > 1) > 1", 6, "a condition where a number belongs", "and, or, not"),
        ("close ** 2 > 1", 1, "this is not part of the language", "use numbers"),
        ("close // 2 > 1", 1, "this is not part of the language", "use numbers"),
        ("close.real > 1", 1, "this is not part of the language", "use numbers"),
        ("True", 1, "this is not part of the language", "use numbers"),
        ("close > 1 if open > 1 else rsi > 1", 1, "this is not part", "use numbers"),
        ("abs(*close) > 1", 5, "this is not part", "use numbers"),
        ("close.pop(1) > 1", 1, "only functions are called", "write cross_up(a, b)"),
        ("close is 1", 10, "no such comparison", "use < <= > >= == !="),
        ("close[0] > 1", 7, "not a previous candle", "write -1"),
        ("close[1] > 1", 7, "not a previous candle", "write -1"),
        ("close[-501] > 1", 7, "not a previous candle", "down to -500"),
        ("close[-rsi] > 1", 7, "not a previous candle", "write -1"),
        ("(close + 1)[-1] > 1", 1, "only names have previous values", "write name[-1]"),
        ("close > 'a'", 9, '"\'" is not part of the language', "use numbers"),
        ("close > 1; open", 10, "';' is not part of the language", "use numbers"),
        ("close > $x", 9, "'$' is not part of the language", "use numbers"),
        ("cłose > 1", 2, "'ł' is not part of the language", "use numbers"),
        ("1and close > 1", 2, "'a' follows a number", "put a space"),
        ("close > 0x1f", 10, "'x' follows a number", "put a space"),
        ("close > 1_000", 10, "'_' follows a number", "put a space"),
        ("close > 2j", 10, "'j' follows a number", "put a space"),
        ("close > 1e999", 9, "the number is too large", "use less than 1e300"),
        ("close > ", 9, "this cannot be read here", "check operators"),
        ("  close > 1)", 12, "unmatched ')'", "check operators"),
        ("close > 1 open", 11, "this cannot be read here", "check operators"),
        ("(" * 300 + "1" + ")" * 190, 201, "too many nested parentheses", "check operators"),
        ("-" * 30 + "1 > 0", 20, "nested too deeply", "use at most 20 levels"),
        ("<".join(["1"] * 205), 399, "the rule is too long", "use at most 200 parts"),
        ("1 > " + "0" * 500, 1, "504 characters", "use at most 500"),
    ],
)
def test_everything_else_is_refused_where_it_stands(
    text: str, column: int, problem: str, advice: str
) -> None:
    refused = _refused(text)

    assert (refused.column, refused.problem[: len(problem)]) == (column, problem)
    assert advice in refused.advice


def test_a_confidence_must_be_a_number() -> None:
    assert compile_rule("abs(fast - slow)", NAMES, Kind.NUMBER).kind is Kind.NUMBER
    assert _refused("fast > slow", Kind.NUMBER).problem == "a condition where a number belongs"


def test_the_caret_stands_below_the_place() -> None:
    assert _refused("fast >\tslo").caret() == "fast > slo\n       ^"


@pytest.mark.parametrize(
    ("text", "lag"),
    [("close > open", 0), ("close[-3] > open[-1]", 3), ("cross_up(close[-3], abs(open))", 4)],
)
def test_a_rule_knows_how_far_it_looks_back(text: str, lag: int) -> None:
    assert compile_rule(text, NAMES).lag == lag


def test_a_rule_knows_the_names_it_uses() -> None:
    assert compile_rule("cross_up(fast, slow[-1]) or 1 > 2", NAMES).names == {"fast", "slow"}


@settings(deadline=None)
@given(st.text(max_size=60))
@example("close > \x00")
@example("lambda: 0")
@example("close > 1 \\\n")
def test_no_text_raises_anything_but_rule_invalid(text: str) -> None:
    found = _compiled(text)

    if isinstance(found, RuleInvalid):
        assert 1 <= found.column <= len(text) + 1
        assert found.caret().endswith("^")
    else:
        assert found.names <= set(NAMES)


WORDS = [*NAMES, *rules.FUNCTIONS, *keyword.kwlist, *dir(builtins)[:40], "__class__"]
SYMBOLS = [*"()[]<>=!+-*/%., ", "**", "//", "==", "-1", "1.5", "1e9", ":=", "->"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *SYMBOLS]), max_size=30))
def test_no_mixture_of_words_gets_beyond_the_language(words: list[str]) -> None:
    text = " ".join(words)

    found = _compiled(text)

    if isinstance(found, RuleInvalid):
        assert 1 <= found.column <= len(text) + 1
    else:
        kinds = [type(node) for node in rules.walk(found.root)]
        assert set(kinds) <= set(rules.Node.__args__)
        assert len(kinds) <= 2 * rules.MAX_NODES
        assert not any(isinstance(n, ast.Attribute) for n in ast.walk(ast.parse(text.strip())))


def test_indicators_cannot_be_named_like_functions_or_python() -> None:
    assert {"abs", "cross_up", "and", "not", "if"} <= rules.RESERVED
