"""What a preset would have said on recorded candles: its strategy, asked as live, and nothing else.

No order, no fee, no fill: a look at signals and factors, not a backtest.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import timedelta
from decimal import Decimal
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from pydantic import AwareDatetime, Field

from activities import host
from activities.pace import moment
from tradewright.app.authoring.candle_file import CandleFile, Files, last_rows
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Side, Timeframe, Value
from tradewright.plugin import Candles, Evaluation, Needs, View, anchor

if TYPE_CHECKING:
    from tradewright.plugin import Strategy
    from tradewright.preset import LoadedPreset, Preset


class TrialImpossible(TradewrightError):
    def __init__(self, preset: str, detail: str) -> None:
        super().__init__(f"preset {preset} cannot be tried: {detail}")
        self.preset = preset


class Said(Value):
    """What the strategy said at the close of one candle."""

    at: AwareDatetime = Field(description="The close of the candle.")
    close: Decimal
    side: Side | None = Field(default=None, description="Of the signal; None without one.")
    reason: str = ""
    confidence: Decimal | None = None
    stop: Decimal | None = Field(default=None, description="Where it would stand, not rounded.")
    targets: tuple[Decimal, ...] = ()
    exits: tuple[Side, ...] = Field(default=(), description="Sides that would be left.")
    factors: dict[str, float] = Field(default_factory=dict)


class Trial(Value):
    preset: str
    preset_hash: str
    symbol: str
    timeframe: Timeframe
    begin: AwareDatetime = Field(description="The first close at which it was asked.")
    end: AwareDatetime = Field(description="The last.")
    asked: int = Field(description="Closes.")
    longs: int
    shorts: int
    exit_longs: int = Field(description="Closes at which a long would have been left.")
    exit_shorts: int
    unknown: tuple[str, ...] = Field(
        default=(), description="Series that the strategy wants and no candle has."
    )
    signals: tuple[Said, ...] = Field(description="The last ones, oldest first.")
    latest: Said = Field(description="At the last close, signal or not.")


def trial(loaded: "LoadedPreset", symbol: str, files: Files, *, candles: int, shown: int) -> Trial:
    """Ask the preset at the last *candles* closes of the file of *symbol*.

    Args:
        loaded: The preset.
        symbol: Whose candles it looks at.
        files: By symbol; those that the strategy looks at beside its own, too.
        candles: How many closes it is asked at, at most.
        shown: How many signals are kept.

    Raises:
        TrialImpossible: The order book asks it, or the files do not hold what it needs.
        CandlesTooLong: The timeframes cannot be made of the candles in the files.
    """
    preset = loaded.preset
    if preset.trigger.on != "candle":
        raise TrialImpossible(
            preset.name, "the order book asks it, not candles; run it with mode: shadow"
        )
    needs = loaded.strategy.needs
    window = _Windows(preset, symbol, files, needs)
    own = window.own
    first = max(window.warm_from(), len(own) - candles + 1)
    if first > len(own):
        raise TrialImpossible(preset.name, "the files do not overlap for long enough")
    evaluate = _evaluator(loaded.strategy)
    signals, exits = Counter[Side](), Counter[Side]()
    kept = list[Said]()
    for count in range(first, len(own) + 1):
        view = window.view(count)
        evaluation = _asked(evaluate, view, preset)
        exits.update({wish.side for wish in evaluation.exits})
        if evaluation.signal is not None:
            signals[evaluation.signal.side] += 1
            kept = [*kept[1 - shown :], _said(preset, view, evaluation)] if shown else kept
    return Trial(
        preset=preset.name,
        preset_hash=loaded.hash,
        symbol=symbol,
        timeframe=preset.trigger.timeframe,
        begin=window.closed_at(first),
        end=view.at,
        asked=len(own) + 1 - first,
        longs=signals[Side.BUY],
        shorts=signals[Side.SELL],
        exit_longs=exits[Side.BUY],
        exit_shorts=exits[Side.SELL],
        unknown=tuple(name for name in needs.series if name not in files[symbol].histories),
        signals=tuple(kept[-shown:] if shown else ()),
        latest=_said(preset, view, evaluation),
    )


class _Windows:
    """The candles of a trial, seen from any of its closes as they are seen live."""

    def __init__(self, preset: "Preset", symbol: str, files: Files, needs: Needs) -> None:
        self._preset = preset
        self._symbol = symbol
        self._needs = needs
        self._timeframe = preset.trigger.timeframe
        made = dict[tuple[str, Timeframe], Candles]()
        self._others: dict[str, tuple[Candles, Timeframe, int]] = {}
        for name, need in needs.others.items():
            timeframe = need.timeframe or self._timeframe
            key = need.symbol or symbol, timeframe
            if key not in made:
                made[key] = self._file_of(files, key[0]).of(timeframe)
            self._others[name] = made[key], timeframe, need.candles
        self._file = self._file_of(files, symbol)
        self.own = self._file.of(self._timeframe)

    def warm_from(self) -> int:
        """Return from which of its own candles on there is all that the strategy needs."""
        own, needed = self.own, self._needs.candles
        self._check(own, self._timeframe, needed, "")
        ready = int(own.open_time[needed - 1])
        for name, (candles, timeframe, count) in self._others.items():
            self._check(candles, timeframe, count, f" as {name}")
            closed = int(candles.open_time[count - 1]) + _step(timeframe)
            ready = max(ready, closed - _step(self._timeframe))
        return int(np.searchsorted(own.open_time, ready)) + 1

    def _check(self, candles: Candles, timeframe: Timeframe, needed: int, name: str) -> None:
        if len(candles) < needed:
            raise TrialImpossible(
                self._preset.name,
                f"it needs {needed} candles of {timeframe}{name}, and the file makes "
                f"{len(candles)}; give a longer one",
            )

    def closed_at(self, count: int) -> AwareDatetime:
        """Return when candle number *count* closed."""
        return moment(int(self.own.open_time[count - 1]) + _step(self._timeframe))

    def view(self, count: int) -> View:
        """Return what is seen when *count* candles have closed."""
        at = self.closed_at(count)
        at_ms = int(at.timestamp() * 1000)
        seen = _window(self.own, _step(self._timeframe), count, self._needs.candles)
        closes = seen.open_time + _step(self._timeframe)
        others = {
            name: _window(
                candles, _step(timeframe), last_rows(candles, at_ms, _step(timeframe)), needed
            )
            for name, (candles, timeframe, needed) in self._others.items()
        }
        return View(
            symbol=self._symbol,
            at=at,
            timeframe=self._timeframe,
            candles=seen,
            others=others,
            series={name: self._file.history(name, closes) for name in self._needs.series},
        )

    def _file_of(self, files: Files, symbol: str) -> CandleFile:
        if symbol not in files:
            raise TrialImpossible(
                self._preset.name,
                f"it looks at {symbol} too; give its candles with --candles {symbol}=FILE",
            )
        return files[symbol]


def _window(candles: Candles, step: int, count: int, needed: int) -> Candles:
    if not count:
        return candles.between(0, 0)
    begin = anchor(int(candles.open_time[count - 1]), step, needed)
    return candles.between(int(np.searchsorted(candles.open_time[:count], begin)), count)


def _step(timeframe: Timeframe) -> int:
    return timeframe.length // timedelta(milliseconds=1)


def _evaluator(strategy: "Strategy") -> Callable[[View], Evaluation]:
    follow = getattr(strategy, "follow", None)
    return strategy.evaluate if follow is None else follow().evaluate


def _asked(evaluate: Callable[[View], Evaluation], view: View, preset: "Preset") -> Evaluation:
    answer = Future[Evaluation]()

    def ask() -> None:
        try:
            answer.set_result(evaluate(view))
        except BaseException as e:
            answer.set_exception(e)

    # A thread cannot be stopped: as a daemon it does not outlive the command
    Thread(target=ask, daemon=True, name="strategy").start()
    if wait([answer], host.ANSWER_WITHIN).not_done:
        raise TrialImpossible(
            preset.name,
            f"strategy plugin {preset.strategy.plugin!r} did not answer within "
            f"{host.ANSWER_WITHIN:g} s at the close of {view.at:%Y-%m-%d %H:%M}; mend the plugin, "
            "a running system would refuse the entry with strategy_failed",
        )
    try:
        return answer.result()
    # Foreign code may raise anything, and it is its author who reads this
    except Exception as e:
        raise TrialImpossible(
            preset.name,
            f"strategy plugin {preset.strategy.plugin!r} raised {type(e).__name__} at the close "
            f"of {view.at:%Y-%m-%d %H:%M}: {e}; mend the plugin, --debug shows where",
        ) from e


def _said(preset: "Preset", view: View, evaluation: Evaluation) -> Said:
    signal = evaluation.signal
    close = Decimal(repr(float(view.candles.close[-1])))
    factors = {
        name: value
        for name, value in (evaluation.factors | (signal.factors if signal else {})).items()
        if math.isfinite(value)
    }
    stop, targets = _levels(preset, signal.side, close, factors) if signal else (None, ())
    return Said(
        at=view.at,
        close=close,
        side=signal.side if signal else None,
        reason=signal.reason if signal else "",
        confidence=signal.confidence if signal else None,
        stop=stop,
        targets=targets,
        exits=tuple(wish.side for wish in evaluation.exits),
        factors=factors,
    )


def _levels(
    preset: "Preset", side: Side, price: Decimal, factors: Mapping[str, float]
) -> tuple[Decimal | None, tuple[Decimal, ...]]:
    """Return stop and targets from the close, before the exchange's tick rounds them."""
    distance = preset.exits.stop.distance(price, factors)
    if distance is None:
        return None, ()
    return price - side.sign * distance, tuple(
        price + side.sign * distance * target.r for target in preset.exits.ladder
    )
