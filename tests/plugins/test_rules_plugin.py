"""The rules strategy: what it wishes for, and that no future candle changes that."""

import copy
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from plugins.rules import Rules
from tests.plugins.market import Series, candles_of, columns, view, walk
from tradewright.book import Book
from tradewright.domain.market import Side, Timeframe
from tradewright.plugin import COLUMNS, Candles, Evaluation
from tradewright.testing import make_book

EMA_CROSS: dict[str, Any] = {
    "indicators": {
        "fast": {"ta": "EMA", "timeperiod": 3},
        "slow": {"ta": "EMA", "timeperiod": 8},
        "macd": {"ta": "MACD", "fastperiod": 3, "slowperiod": 6},
        "atr": {"ta": "ATR", "timeperiod": 7},
    },
    "let": {"gap": "macd.signal - macd.hist"},
    "long": "cross_up(fast, slow)",
    "short": "cross_down(fast, slow)",
}


def _strategy(**params: Any) -> Rules:
    return Rules(Rules.Params.model_validate(params))


def _ask(strategy: Rules, candles: Candles, **more: Any) -> Evaluation:
    return strategy.evaluate(view(candles, **more))


def test_a_crossing_gives_one_signal_with_its_numbers() -> None:
    falling_then_up = [100.0 - 0.1 * n for n in range(200)] + [90.0]
    strategy = _strategy(
        indicators={
            "fast": {"ta": "SMA", "timeperiod": 2},
            "slow": {"ta": "SMA", "timeperiod": 5},
            "atr": {"ta": "ATR", "timeperiod": 3},
        },
        long="cross_up(fast, slow)",
        confidence="0.5",
    )

    before, after = (_ask(strategy, candles_of(falling_then_up[:end])) for end in (200, 201))

    assert before.signal is None
    assert before.factors.keys() == {"fast", "slow", "atr", *COLUMNS}
    assert after.signal is not None
    assert (after.signal.side, after.signal.confidence) == (Side.BUY, Decimal("0.5"))
    assert after.signal.factors == after.factors
    assert after.signal.reason == "long: cross_up(fast, slow) (fast=85.05, slow=82.2)"


def test_rules_that_contradict_each_other_give_no_signal() -> None:
    candles = walk(10)

    both = _ask(_strategy(long="close > 0", short="close > 1"), candles)
    one = _ask(_strategy(long="close < 0", short="close > 1"), candles)

    assert both.signal is None
    assert one.signal is not None
    assert one.signal.side is Side.SELL


@pytest.mark.parametrize(
    ("expression", "confidence"), [("5", "1"), ("-5", "0.1"), ("1 / 0", "0.1"), ("1 / 3", "0.3333")]
)
def test_confidence_is_clipped_and_an_unknown_one_is_the_least(
    expression: str, confidence: str
) -> None:
    evaluation = _ask(_strategy(long="close > 0", confidence=expression), walk(10))

    assert evaluation.signal is not None
    assert evaluation.signal.confidence == Decimal(confidence)


def test_a_long_rule_has_a_reason_that_fits_the_signal() -> None:
    rule = " or ".join(["close > 0"] * 30)

    signal = _ask(_strategy(long=rule), walk(10)).signal

    assert signal is not None
    assert len(signal.reason) == 200


def test_all_that_has_a_name_is_a_factor() -> None:
    strategy = _strategy(
        indicators={"bands": {"ta": "BBANDS", "output": "middle"}, "sma": {"ta": "SMA"}},
        let={"wide": "bands.upper - bands.lower", "calm": "wide < 1", "odd": "close / 0"},
        long="calm and funding_rate < 1 and book.imbalance > 0.5",
    )
    candles = walk(100)
    series = {"funding_rate": np.full(100, 0.01), "book.imbalance": np.full(100, np.nan)}

    factors = _ask(strategy, candles, series=series).factors

    # What cannot be told is left out: `odd`, and a book that nobody knows
    named = {"bands", "bands.upper", "bands.lower", "sma", "wide", "calm", "funding_rate"}
    assert factors.keys() == {*named, *COLUMNS}
    assert factors["calm"] in (0.0, 1.0)
    assert factors["bands"] == pytest.approx((factors["bands.upper"] + factors["bands.lower"]) / 2)


def test_candles_of_the_future_change_nothing() -> None:
    strategy = _strategy(**EMA_CROSS)
    candles, later = walk(600), walk(600, seed=2)
    other = copy.deepcopy(candles)
    for name, column in columns(later).items():
        getattr(other, name)[500:] = column[500:]

    for end in range(400, 500):
        assert _ask(strategy, candles.between(0, end)) == _ask(strategy, other.between(0, end))


def test_where_the_window_begins_changes_less_than_a_billionth() -> None:
    strategy = _strategy(**EMA_CROSS)
    candles, needed = walk(900), strategy.needs.candles

    signals = 0
    for end in range(needed, 900):
        whole = _ask(strategy, candles.between(0, end))
        short = _ask(strategy, candles.between(end - needed, end))
        assert (whole.signal is None) == (short.signal is None)
        assert short.factors == pytest.approx(whole.factors, rel=1e-9, abs=1e-9)
        signals += whole.signal is not None
    assert signals > 50


def test_too_few_candles_give_an_empty_answer() -> None:
    strategy = _strategy(**EMA_CROSS)
    needed = strategy.needs.candles

    assert _ask(strategy, walk(needed - 1)) == Evaluation()
    assert _ask(strategy, walk(needed)).factors != {}


def test_too_few_candles_of_another_series_give_an_empty_answer() -> None:
    strategy = _strategy(symbols={"btc": "BTCUSDT"}, long="btc.close[-3] > 1")

    assert strategy.needs.others["btc"].candles == 4
    assert _ask(strategy, walk(10), others={"btc": walk(3)}) == Evaluation()
    assert _ask(strategy, walk(10)) == Evaluation()


def test_the_candles_are_not_changed() -> None:
    candles = walk(400)
    kept = copy.deepcopy(columns(candles))

    _ask(_strategy(**EMA_CROSS), candles)

    for name, column in columns(candles).items():
        np.testing.assert_array_equal(column, kept[name])


def test_only_distances_in_price_are_offered_to_exits() -> None:
    assert _strategy(**EMA_CROSS).factor_names == {"atr"}


def test_distances_in_volume_or_in_the_price_of_another_symbol_are_none_in_price() -> None:
    strategy = _strategy(
        symbols={"btc": "BTCUSDT"},
        timeframes={"h1": "1h"},
        indicators={
            "own": {"ta": "ATR"},
            "longer": {"ta": "STDDEV", "on": "h1"},
            "volumes": {"ta": "STDDEV", "of": "volume"},
            "theirs": {"ta": "ATR", "on": "btc"},
            "their_hours": {"ta": "AVGDEV", "of": "btc", "on": "h1"},
            "their_closes": {"ta": "STDDEV", "of": "btc.close"},
            "interest": {"ta": "AVGDEV", "of": "open_interest"},
        },
        long="close > 0",
    )

    assert strategy.factor_names == {"own", "longer"}


# --- other candles --------------------------------------------------------------------------------


def _minutes_and_hours(minutes: int) -> tuple[Candles, Candles]:
    """Return candles of a minute, and of the hours that have closed within them."""
    candles = walk(minutes)
    hours = candles_of(
        [float(candles.close[60 * n + 59]) for n in range(minutes // 60)], Timeframe.H1
    )
    return candles, hours


def test_a_minute_sees_the_hour_that_has_closed_and_no_other() -> None:
    strategy = _strategy(timeframes={"h1": "1h"}, long="h1.close > 0")
    candles, hours = _minutes_and_hours(300)

    seen = [
        _ask(strategy, candles.between(0, end), others={"h1": hours.between(0, end // 60)})
        for end in (179, 180, 181, 239, 240)
    ]

    closes = [float(hours.close[n]) for n in (1, 2, 2, 2, 3)]
    assert [each.factors["h1.close"] for each in seen] == closes


def test_an_indicator_counts_the_candles_that_it_is_on() -> None:
    strategy = _strategy(
        timeframes={"h1": "1h"},
        indicators={"average": {"ta": "SMA", "timeperiod": 3, "on": "h1"}},
        long="close > average",
    )
    candles, hours = _minutes_and_hours(600)

    found = _ask(strategy, candles, others={"h1": hours}).factors["average"]

    assert found == pytest.approx(float(hours.close[-3:].mean()))
    assert strategy.needs.others["h1"].candles == 3


def test_another_symbols_candle_that_is_missing_is_unknown() -> None:
    strategy = _strategy(symbols={"eth": "ETHUSDT"}, long="eth.close > 0")
    candles, theirs = walk(10), walk(10, seed=2)

    with_it = _ask(strategy, candles, others={"eth": theirs})
    without = _ask(strategy, candles, others={"eth": theirs.between(0, 9)})

    assert with_it.signal is not None
    assert without.signal is None
    assert "eth.close" not in without.factors


def test_indicators_take_other_series_and_each_other() -> None:
    strategy = _strategy(
        symbols={"eth": "ETHUSDT"},
        indicators={
            "money": {"ta": "SUM", "timeperiod": 5, "of": "turnover"},
            "volumes": {"ta": "SUM", "timeperiod": 5, "of": "volume"},
            "together": {"ta": "CORREL", "timeperiod": 9, "of": ["close", "eth.close"]},
            "smooth": {"ta": "SMA", "timeperiod": 2, "of": "volumes"},
            "theirs": {"ta": "SMA", "timeperiod": 2, "of": "eth"},
        },
        let={"turnover": "close * volume", "vwap": "money / volumes"},
        long="close > vwap",
    )
    candles, eth = walk(60), walk(60, seed=5)

    factors = _ask(strategy, candles, others={"eth": eth}).factors

    volume, close = candles.volume[-5:], candles.close[-5:]
    assert factors["vwap"] == pytest.approx((volume * close).sum() / volume.sum())
    expected = np.corrcoef(candles.close[-9:], eth.close[-9:])[0, 1]
    assert factors["together"] == pytest.approx(expected)
    assert factors["theirs"] == pytest.approx(eth.close[-2:].mean())
    assert factors["smooth"] == pytest.approx((candles.volume[-6:-1].sum() + volume.sum()) / 2)
    # A sum of five, and of that the average of two
    assert strategy.needs.candles == 9


def test_a_hole_in_the_data_begins_an_indicator_anew() -> None:
    strategy = _strategy(indicators={"sma": {"ta": "SMA", "timeperiod": 3}}, long="sma > 0")
    candles = walk(20)
    candles.close[15] = np.nan

    known = ["sma" in _ask(strategy, candles.between(0, end)).factors for end in range(14, 21)]

    assert known == [True, True, False, False, False, True, True]


# --- exits ----------------------------------------------------------------------------------------


def test_a_rule_says_which_side_is_to_be_left() -> None:
    strategy = _strategy(long="close > 1000", exit_long="close < open", exit_short="close > open")

    (up,) = _ask(strategy, candles_of([1.0, 2.0, 3.0])).exits
    (down,) = _ask(strategy, candles_of([3.0, 2.0, 1.0])).exits

    assert (up.side, down.side) == (Side.SELL, Side.BUY)
    assert up.reason == "exit_short: close > open (close=3, open=2)"
    assert strategy.says_exits
    assert not _strategy(long="close > open").says_exits


def test_what_is_to_be_left_is_not_entered_at_the_same_candle() -> None:
    rising = candles_of([1.0, 2.0, 3.0])
    always = {"long": "close > open"}

    turned = _ask(_strategy(**always, exit_short="close > open"), rising)
    torn = _ask(_strategy(**always, exit_long="close > open"), rising)

    # Leaving a short to go long is one thought, leaving a long to go long is none
    assert (turned.signal is not None, [e.side for e in turned.exits]) == (True, [Side.SELL])
    assert (torn.signal, [e.side for e in torn.exits]) == (None, [Side.BUY])


def test_exits_say_nothing_before_there_are_enough_candles() -> None:
    strategy = _strategy(long="close > open", exit_long="close[-3] > 0")

    assert _ask(strategy, candles_of([1.0, 2.0, 3.0])).exits == ()


def test_exits_know_the_position_and_the_account() -> None:
    strategy = _strategy(
        long="close < 0",
        let={"tired": "position.candles > 10 and position.r < 0.5"},
        exit_long="tired or account.open_trades > 3",
    )

    def asked(**known: float) -> Evaluation:
        names = {"position.candles": math.nan, "position.r": math.nan, "account.open_trades": 1.0}
        told = names | {name.replace("_", ".", 1): value for name, value in known.items()}
        series = {name: np.array([math.nan, math.nan, value]) for name, value in told.items()}
        return _ask(strategy, candles_of([1.0, 2.0, 3.0]), series=series)

    assert asked().exits == ()
    assert asked(position_candles=11, position_r=0.6).exits == ()
    assert [each.side for each in asked(position_candles=11, position_r=0.4).exits] == [Side.BUY]
    assert [each.side for each in asked(account_open_trades=4).exits] == [Side.BUY]
    assert strategy.needs.series == ("position.r", "position.candles", "account.open_trades")


# --- degraded -------------------------------------------------------------------------------------


def test_bad_data_is_asked_about_with_rules_of_its_own() -> None:
    strategy = _strategy(
        long="close > 0",
        exit_long="close > 0",
        confidence="1",
        degraded={"short": "close > open", "confidence": "0.2"},
    )
    candles = candles_of([1.0, 2.0, 3.0])

    good, bad = _ask(strategy, candles), _ask(strategy, candles, degraded=True)

    assert strategy.knows_degraded
    assert good.exits
    assert bad.signal is not None
    assert (bad.signal.side, bad.signal.confidence, bad.exits) == (Side.SELL, Decimal("0.2"), ())
    assert bad.signal.reason == "degraded short: close > open (close=3, open=2)"
    assert not _strategy(long="close > open").knows_degraded


# --- order book -----------------------------------------------------------------------------------


def _book(imbalance: float, cluster: float = 20_000.0) -> Book:
    return replace(make_book(0), bid_cluster=cluster, ask_cluster=cluster, imbalance=imbalance)


BOOK_RULES: dict[str, Any] = {
    "indicators": {"average": {"ta": "EMA", "timeperiod": 5}},
    "let": {
        "strong": "min(book.bid_cluster, book.ask_cluster) >= 10000",
        "trend": "rising(average, 2)",
    },
    "long": "book.imbalance > 0.75 and strong and trend",
    "short": "book.imbalance < 0.25 and strong",
}


def test_the_book_decides_at_each_update_with_what_the_candles_said() -> None:
    strategy = _strategy(**BOOK_RULES)
    rising = view(candles_of([100.0 + n for n in range(200)]))
    falling = view(candles_of([300.0 - n for n in range(200)]))

    def side(seen: Any, book: Book) -> Side | None:
        signal = strategy.on_book(seen, book).signal
        return signal.side if signal else None

    assert side(rising, _book(0.8)) is Side.BUY
    assert side(rising, _book(0.7)) is None
    assert side(rising, _book(0.8, cluster=9_000)) is None
    assert side(falling, _book(0.8)) is None
    assert side(falling, _book(0.2)) is Side.SELL
    assert side(rising, _book(0.8)) is Side.BUY


def test_the_book_gives_what_a_view_with_the_same_numbers_gives() -> None:
    strategy = _strategy(**BOOK_RULES)
    candles = walk(200)
    for imbalance in (0.1, 0.5, 0.9):
        book = _book(imbalance)
        names = strategy.needs.series
        series: dict[str, Series] = {name: np.full(200, np.nan) for name in names}
        for name in names:
            series[name][-1] = getattr(book, name.partition(".")[2])

        asked = strategy.on_book(view(candles), book)

        assert asked == _ask(strategy, candles, series=series)
        assert asked.factors["book.imbalance"] == imbalance


def test_the_book_alone_says_nothing_before_there_are_enough_candles() -> None:
    assert _strategy(**BOOK_RULES).on_book(view(walk(5)), _book(0.9)) == Evaluation()
