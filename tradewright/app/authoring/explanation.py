"""What a preset means: every value that counts and where it comes from, and what it costs."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from pydantic import Field

from tradewright import plugin
from tradewright.app.authoring.cost import Cost, cost
from tradewright.domain.market import Value
from tradewright.domain.plan import Mode
from tradewright.plugin import Needs
from tradewright.preset import LoadedPreset, Preset
from tradewright.preset.effective import EffectiveValue, effective_values
from tradewright.preset.model import (
    BreakEven,
    BreakEvenAfterGain,
    ByFraction,
    ByIndicator,
    EntryByLimit,
)
from tradewright.preset.risk import RiskByFraction, RiskByNotional

MODES = {
    Mode.TRADE: "it trades",
    Mode.SHADOW: "it decides and follows its trades on live prices, and sends nothing",
    Mode.ALERT: "it tells a person of each signal, and does no more",
}


class WarmUp(Value):
    """Candles that must have closed before the strategy is asked."""

    series: str = Field(description="Its own candles, or another series by the strategy's name.")
    symbol: str = Field(default="", description="Empty: the symbol that is looked at.")
    timeframe: str
    candles: int
    span: timedelta


class Explanation(Value):
    name: str
    preset_hash: str
    plugin: str
    plugin_version: str
    words: tuple[str, ...] = Field(description="What it does, one sentence each.")
    values: tuple[EffectiveValue, ...]
    warm_up: tuple[WarmUp, ...]
    series: tuple[str, ...] = Field(description="What else the strategy looks at.")
    cost: Cost


def explanation(loaded: LoadedPreset) -> Explanation:
    preset, needs = loaded.preset, loaded.strategy.needs
    return Explanation(
        name=preset.name,
        preset_hash=loaded.hash,
        plugin=preset.strategy.plugin,
        plugin_version=plugin.version(preset.strategy.plugin),
        words=tuple(_words(loaded)),
        values=effective_values(loaded),
        warm_up=tuple(_warm_up(preset, needs)),
        series=needs.series,
        cost=cost(preset, needs),
    )


def _warm_up(preset: Preset, needs: Needs) -> Iterator[WarmUp]:
    own = preset.trigger.timeframe
    wanted = [("candles", "", own, needs.candles)]
    wanted += [
        (name, need.symbol, need.timeframe or own, need.candles)
        for name, need in needs.others.items()
    ]
    for name, symbol, timeframe, candles in wanted:
        yield WarmUp(
            series=name,
            symbol=symbol,
            timeframe=timeframe.value,
            candles=candles,
            span=candles * timeframe.length,
        )


def _words(loaded: LoadedPreset) -> Iterator[str]:
    preset = loaded.preset
    state = MODES[preset.mode]
    yield f"mode {preset.mode}: {state}" if preset.enabled else "disabled: it enters nothing"
    yield _asked(preset)
    yield _enters(preset)
    yield _leaves(preset, rules=getattr(loaded.strategy, "says_exits", True))
    yield _risks(preset)


def _asked(preset: Preset) -> str:
    universe = preset.market.universe
    symbols = (
        ", ".join(preset.market.symbols)
        if universe is None
        else f"the {universe.top} symbols of most {universe.by} that pass its filter"
    )
    trigger = preset.trigger
    if trigger.on == "candle":
        when = f"at each close of {trigger.timeframe} candles"
    else:
        when = f"at each change of the order book ({trigger.depth} levels)"
    return f"asks {preset.strategy.plugin} {when} about {symbols}"


def _enters(preset: Preset) -> str:
    entry = preset.entry
    if isinstance(entry, EntryByLimit):
        rest = entry.rest_candles * preset.trigger.timeframe.length
        return f"enters by a limit that rests for {told(rest)} at most"
    return f"enters at market, within {told(entry.expires_after)} or not at all"


def _leaves(preset: Preset, *, rules: bool) -> str:
    exits = preset.exits
    parts = [f"at its stop, {_distance(exits.stop)} from the entry (1 R)"]
    if exits.ladder:
        goals = ", ".join(f"{target.r:f} R" for target in exits.ladder)
        parts.append(f"at {goals}")
    if exits.break_even is not None:
        parts.append(f"by a stop that moves to the entry {_milestone(exits.break_even)}")
    if exits.trailing is not None:
        trailing = exits.trailing
        parts.append(f"by a stop that trails {_distance(trailing)} from {trailing.after_r:f} R on")
    if rules:
        parts.append("when its strategy says so")
    if exits.max_candles is not None:
        parts.append(f"after {told(exits.max_candles * preset.trigger.timeframe.length)}")
    return f"leaves {'; '.join(parts)}"


def _milestone(moves: BreakEven) -> str:
    if isinstance(moves, BreakEvenAfterGain):
        return f"after {moves.after_r.normalize():f} R"
    return f"after {moves.after_target} {'target' if moves.after_target == 1 else 'targets'}"


def _risks(preset: Preset) -> str:
    risk = preset.risk
    count = risk.max_open_trades
    many = f"; {count} trades at once at most" if count > 1 else "; one trade at once"
    match risk:
        case RiskByFraction():
            share = risk.risk_fraction
            more = f"{many}, {_percent(share * count)} if all are stopped" if count > 1 else many
            return f"risks {_percent(share)} of equity per trade, fees and slippage aside{more}"
        case RiskByNotional():
            return f"trades {risk.notional:f} USDT each time, whatever the stop costs{many}"
        case _:
            target = f"{_percent(risk.target_volatility)} of equity per {risk.per}"
            most = f"at most {_percent(risk.max_risk_fraction)} of equity at the stop"
            return f"trades so much that a position moves by {target}; {most}{many}"


def _distance(declared: ByIndicator | ByFraction) -> str:
    if isinstance(declared, ByIndicator):
        return f"{declared.times.normalize():f} x {declared.indicator}"
    return _percent(declared.fraction)


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f} %"


def told(span: timedelta) -> str:
    """Return a time as people say it, in its two largest units.

    Example:
        >>> told(timedelta(hours=54, minutes=45)), told(timedelta(seconds=90))
        ('2 d 7 h', '1 min 30 s')
    """
    seconds = int(span.total_seconds())
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for number, (name, length) in enumerate(units):
        if seconds >= length and not parts:
            finer = units[number + 1][1] if number + 1 < len(units) else 1
            seconds = round(seconds / finer) * finer
            parts.append(f"{seconds // length} {name}")
            seconds %= length
            if number + 1 < len(units) and seconds >= finer:
                parts.append(f"{seconds // finer} {units[number + 1][0]}")
    return " ".join(parts) or "0 s"
