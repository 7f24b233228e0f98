"""The rule language: what it takes, what it refuses and where, and that nothing crashes it."""

import builtins
import keyword

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradewright import rules
from tradewright.rules import Kind, Rule, RuleInvalid, compile_rule
from tradewright.rules import node as nodes

NAMES = ("open", "close", "fast", "slow", "rsi", "h1.close", "h1.open", "macd.signal")


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
        "h1.close[-2] > macd.signal",
        "rising(close) and falling(h1.close, 3)",
        "highest(close, 20) - lowest(close, 500) > since(close > open, 30)",
        "between(rsi, 30, 70) and iff(close > open, 1, -1) > 0",
        'session(\'22:00\', "24:00") or session("00:00", "06:30", \'Europe/London\')',
        'weekday(mon, tue) and not weekday(sun, "America/New_York")',
    ],
)
def test_the_language_is_taken(text: str) -> None:
    assert compile_rule(text, NAMES).text == text


@pytest.mark.parametrize(
    ("text", "column", "problem", "advice"),
    [
        ("", 1, "the rule is empty", "write a condition"),
        ("fast > slo", 8, "unknown name 'slo'", "did you mean 'slow'?"),
        ("xyzzy > 1", 1, "unknown name 'xyzzy'", "known: close, fast, h1.close"),
        ("crossup(fast, slow)", 1, "unknown function 'crossup'", "did you mean 'cross_up'?"),
        ("rsi(14) > 3", 1, "unknown function 'rsi'", "rsi is a series"),
        ("1 < cross_up", 5, "cross_up is a function", "call it, as in cross_up(…)"),
        ("cross_up(fast)", 1, "cross_up takes 2 arguments", "write cross_up(a, b)"),
        ("min(fast) > 1", 1, "min takes 2 to 10 arguments", "write min(a, b, …)"),
        ("abs() > 1", 1, "abs takes 1 argument", "write abs(x)"),
        ("max(1, 2, key=3) > 1", 1, "max takes 2 to 10 arguments", "write max"),
        ("close", 1, "a number where a condition belongs", "as in close > 0"),
        ("rsi and close > 1", 1, "a number where a condition belongs", "as in rsi > 0"),
        ("1 + (close > 1) > 1", 6, "a condition where a number belongs", "iff(condition, 1, 0)"),
        ("close ** 2 > 1", 1, "this is not part of the language", "use numbers"),
        ("close // 2 > 1", 1, "this is not part of the language", "use numbers"),
        ("close.real > 1", 1, "unknown name 'close.real'", "did you mean"),
        ("True", 1, "this is not part of the language", "use numbers"),
        ("close > 1 if open > 1 else rsi > 1", 1, "this is not part", "use numbers"),
        ("abs(*close) > 1", 5, "this is not part", "use numbers"),
        ("close.pop(1) > 1", 1, "only functions are called", "write cross_up(a, b)"),
        ("close is 1", 10, "no such comparison", "use < <= > >= == !="),
        ("close[0] > 1", 7, "not a previous candle", "write -1"),
        ("close[1] > 1", 7, "not a previous candle", "write -1"),
        ("close[-501] > 1", 7, "not a previous candle", "down to -500"),
        ("close[-rsi] > 1", 7, "not a previous candle", "write -1"),
        ("(close + 1)[-1] > 1", 1, "only names have previous values", "name it under let"),
        ("close > 'a'", 9, "text where a number belongs", "only session and weekday"),
        ("close > 1; open", 10, "';' is not part of the language", "use numbers"),
        ("close > 1 && rsi > 1", 11, "'&' is not part of the language", "write and"),
        ("close > 1 || rsi > 1", 11, "'|' is not part of the language", "write or"),
        ("close = open", 7, "'=' compares nothing", "write =="),
        ("close >= 1 and rsi = 1", 20, "'=' compares nothing", "write =="),
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
        ("h1 > 1", 1, "h1 has several series", "write one, such as h1.close"),
        ("h1.clos > 1", 1, "unknown name 'h1.clos'", "did you mean 'h1.close'?"),
        ("(close + 1).x > 1", 1, "this is not part", "a dot belongs after a name"),
        ("close.__class__.__mro__ > 1", 1, "unknown name 'close.__class__.__mro__'", ""),
        ("highest(close, rsi) > 1", 16, "not a number of candles", "from 1 to 500"),
        ("highest(close, 501) > 1", 16, "not a number of candles", "from 1 to 500"),
        ("rising(close, 0)", 15, "not a number of candles", "from 1 to 500"),
        ("since(close, 5) > 1", 7, "a number where a condition belongs", "close > 0"),
        ('session("8:00", "16:00")', 9, "not a time of day", "as in"),
        ('session("08:00", "24:01")', 18, "not a time of day", "as in"),
        ('session("08:00", "08:00")', 18, "the session is empty", "later"),
        ('session("24:00", "00:00")', 18, "the session is empty", "later"),
        ('session("08:00", "09:00", "Mars/Base")', 27, "not a time zone", "Europe/London"),
        ('session("08:00", "09:00", "../etc/passwd")', 27, "'\"' is not part", ""),
        ("session(8, 16)", 9, "not a time of day", "as in"),
        ("weekday(monday)", 9, "not a day of the week", "mon, tue"),
        ('weekday("UTC")', 9, "not a day of the week", "mon, tue"),
        ('weekday(mon, "Mars")', 14, "not a time zone", "Europe/London"),
        ('close > f"a"', 9, "this is not part of the language", "use numbers"),
        ('close > "a" "b"', 9, "text where a number belongs", "only session and weekday"),
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


@pytest.mark.parametrize(
    ("text", "meant"),
    [("RSI > 70", "rsi"), ("Fast > 1", "fast"), ("close.h1 > 1", "h1.close"), ("slo > 1", "slow")],
)
def test_a_name_is_suggested_however_it_was_written(text: str, meant: str) -> None:
    assert _refused(text).advice == f"did you mean {meant!r}?"


@pytest.mark.parametrize("text", ["close", "   close", "close >\n open and\n\tclose", "(  close )"])
def test_advice_shows_the_very_words_wherever_they_stand(text: str) -> None:
    assert _refused(text).advice == "compare it, as in close > 0"


@pytest.mark.parametrize(
    ("text", "lag"),
    [
        ("close > open", 0),
        ("close[-3] > open[-1]", 3),
        ("cross_up(abs(close), abs(open))", 1),
        ("rising(close, 4)", 4),
        ("highest(close, 20) > lowest(open, 5)", 19),
        ("since(cross_up(close, open), 30) < 3", 30),
        ("highest(iff(close[-2] > open, 1, 0), 3) > 0", 4),
    ],
)
def test_a_rule_knows_how_far_it_looks_back(text: str, lag: int) -> None:
    assert compile_rule(text, NAMES).lag == lag


def test_a_rule_knows_the_names_it_uses() -> None:
    rule = compile_rule("cross_up(fast, slow[-1]) or 1 > h1.close", NAMES)

    assert rule.names == {"fast", "slow", "h1.close"}


@pytest.mark.parametrize(
    "text",
    [
        "rsi[-1] > 1",
        "cross_up(rsi, 1)",
        "rising(rsi)",
        "highest(rsi, 1) > 1",
        "since(rsi > 1, 3) > 1",
    ],
)
def test_what_is_known_only_now_has_no_past(text: str) -> None:
    with pytest.raises(RuleInvalid, match="rsi is known only now, at column 1; it has no previous"):
        compile_rule(text, NAMES, only_now={"rsi"})

    assert compile_rule("rsi > 1 and cross_up(close, open)", NAMES, only_now={"rsi"}).lag == 1


def test_a_name_of_elsewhere_is_told_apart_from_an_unknown_one() -> None:
    elsewhere = {"position.r": "a position is known in exits alone"}

    with pytest.raises(
        RuleInvalid, match=r"position\.r cannot be used here, at column 1; a position"
    ):
        compile_rule("position.r > 1", NAMES, elsewhere=elsewhere)


def test_a_named_condition_is_a_condition() -> None:
    names = {"close": Kind.NUMBER, "trend": Kind.CONDITION}

    assert compile_rule("trend and not trend[-1]", names).kind is Kind.CONDITION
    with pytest.raises(RuleInvalid, match="a condition where a number belongs"):
        compile_rule("trend > 1", names)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("close > 1", Kind.CONDITION),
        ("not (1", Kind.NUMBER),
        ("not unknown", Kind.CONDITION),
        ("cross_up(1", Kind.NUMBER),
        ("cross_up(1, 2)", Kind.CONDITION),
        ("highest(a, 2)", Kind.NUMBER),
        ("other", Kind.CONDITION),
        ("round", Kind.NUMBER),
    ],
)
def test_what_an_expression_yields_shows_on_its_outside(text: str, kind: Kind) -> None:
    of = {"other": "close > open", "round": "about", "about": "round"}

    assert rules.likely_kind(text, of) is kind


def test_names_are_read_without_knowing_them() -> None:
    assert rules.mentioned("cross_up(a, h1.b[-1]) and btc.h1.c > d") >= {
        "a",
        "h1.b",
        "btc.h1.c",
        "d",
    }
    assert rules.mentioned("1 +") == frozenset()


@settings(deadline=None)
@given(st.text(max_size=60))
@example("close > \x00")
@example("lambda: 0")
@example("close > 1 \\\n")
def test_no_text_raises_anything_but_rule_invalid(text: str) -> None:
    found = _compiled(text)

    if isinstance(found, RuleInvalid):
        assert 1 <= found.column <= len(text) + 1
    else:
        assert found.names <= set(NAMES)


WORDS = [*NAMES, *rules.FUNCTIONS, *keyword.kwlist, *dir(builtins)[:40], "__class__", "mon", "h1"]
SYMBOLS = [
    *"()[]<>=!+-*/%., \"'",
    '"08:00"',
    "'UTC'",
    "**",
    "//",
    "==",
    "-1",
    "1.5",
    "1e9",
    ":=",
    "->",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *SYMBOLS]), max_size=30))
def test_no_mixture_of_words_gets_beyond_the_language(words: list[str]) -> None:
    text = " ".join(words)

    found = _compiled(text)

    if isinstance(found, RuleInvalid):
        assert 1 <= found.column <= len(text) + 1
    else:
        kinds = {type(node) for node in nodes.walk(found.root)}
        assert kinds <= set(nodes.Node.__args__)
        assert found.names <= set(NAMES)


def test_indicators_cannot_be_named_like_functions_or_python() -> None:
    assert {"abs", "cross_up", "and", "not", "if", "mon"} <= rules.RESERVED
