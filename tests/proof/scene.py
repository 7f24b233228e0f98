"""Two long scenes, a recorded and a generated market, and a short one for the test suite."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.proof.play import SIX, STRATEGIES, Deed, Play, Scene
from tradewright.app.system import Market

RECORDED = (
    Path(__file__).parents[3] / "shared" / "data" / "btc_perp_1m_2022-01-01_2022-01-21.csv.gz"
)
SYMBOLS = re.compile(r"symbols: \[BTCUSDT[^]]*\]")
LEANING = {
    # Where the candles have no book, it is made around them, and leans now to one side, now other
    "TRADEWRIGHT_PAPER_LEAN": "0.8",
    "TRADEWRIGHT_PAPER_DEPTH": "150000",
}
TOLD = 360
"""Candles that the story is written for; a longer market tells it more slowly."""
THREE = '["BTCUSDT", "ETHUSDT", "SOLUSDT"]'


def recorded(
    begin: datetime, end: datetime, late: Collection[str] = ("multi-timeframe-trend",)
) -> Scene:
    """Bitcoin's recorded candles, with a book made around them, all six on one symbol.

    Args:
        begin: First candle.
        end: After the last one.
        late: Presets that trade only towards the end, to leave the symbol to others until then.
    """
    arguments = ("--market", str(RECORDED), "--symbol", "BTCUSDT", "--volume-unit", "quote")
    window = ("--from", begin.isoformat(), "--to", end.isoformat())
    return Scene(
        market=Market(speed="lockstep", arguments=(*arguments, *window)),
        paper=LEANING,
        presets=shipped("[BTCUSDT]"),
        deeds=_recorded_story((end - begin) // timedelta(minutes=1), late),
    )


def generated(begin: datetime, steps: int, seed: int) -> Scene:
    """A made-up market of three symbols, the presets as they ship."""
    return _generated(begin, steps, seed, _generated_story(steps))


def brief() -> Scene:
    """Half an hour of a made-up market in which five of the six have a signal."""
    return _generated(datetime(2026, 3, 6, 5, 8, tzinfo=UTC), 36, 5, brief_story())


def _generated(begin: datetime, steps: int, seed: int, deeds: Sequence[tuple[int, Deed]]) -> Scene:
    arguments = ("--seed", str(seed), "--steps", str(steps), "--from", begin.isoformat())
    return Scene(
        market=Market(speed="lockstep", arguments=arguments),
        paper=LEANING | {"TRADEWRIGHT_PAPER_SYMBOLS": THREE},
        presets=shipped(),
        deeds=deeds,
    )


def shipped(symbols: str = "") -> dict[str, str]:
    """Return the six presets, traded on *symbols* if these are named."""
    texts = {name: (STRATEGIES / f"{name}.yaml").read_text() for name in SIX}
    if not symbols:
        return texts
    return {name: SYMBOLS.sub(f"symbols: {symbols}", text) for name, text in texts.items()}


def brief_story() -> list[tuple[int, Deed]]:
    """Return what happens to six strategies in half an hour."""
    return [
        (2, _promote_all(but=("range-trading", "confluence"))),
        (3, partial(_faults, name="flaky-network")),
        (5, _change("range-trading", "max_candles: 32", "max_candles: 28")),
        (7, _rename("impulse", "impulse-renamed")),
        (9, _spoil("volume-vwap", "busy: rvol > 2", "busy: rvoll > 2")),
        (12, _change("volume-vwap", "busy: rvoll > 2", "busy: rvol > 1.9")),
        (14, _flurry),
        (17, _disable("order-book-imbalance")),
        (24, _delete("confluence")),
        (26, _in_two_steps("multi-timeframe-trend", "timeperiod: 20", "timeperiod: 21")),
        (28, _enable("order-book-imbalance")),
    ]


def _recorded_story(steps: int, late: Collection[str]) -> list[tuple[int, Deed]]:
    return _told(
        steps,
        "flaky-network",
        (30, _promote_all(but=("confluence", *late))),
        (245, _unguarded),
        (255, _promote("confluence")),
        *((310, _promote(name)) for name in late),
    )


def _generated_story(steps: int) -> list[tuple[int, Deed]]:
    return _told(
        steps,
        "stormy-day",
        (30, _promote_all(but=("confluence",))),
        (45, _unguarded),
        (320, _promote("confluence")),
    )


def _told(steps: int, weather: str, *more: tuple[int, Deed]) -> list[tuple[int, Deed]]:
    """Return what happens in so many candles.

    Args:
        steps: Candles of the market.
        weather: What goes wrong at the exchange most of the time.
        more: Deeds beside those of every story.
    """
    story: list[tuple[int, Deed]] = [
        (40, partial(_faults, name=weather)),
        (60, _change("range-trading", "max_candles: 32", "max_candles: 28")),
        (70, _flurry),
        (90, _spoil("range-trading", "rsi < 45", "rsii < 45")),
        (110, _change("range-trading", "rsii < 45", "rsi < 46")),
        (125, _in_two_steps("confluence", "timeperiod: 48", "timeperiod: 40")),
        (140, _disable("volume-vwap")),
        (160, _kill),
        (180, _enable("volume-vwap")),
        (190, _rename("impulse", "impulse-renamed")),
        (200, _delete("multi-timeframe-trend")),
        (225, _put_back("multi-timeframe-trend")),
        (235, _mend),
        (240, partial(_faults, name="exchange-maintenance")),
        (250, _change("impulse-renamed", "rvol > 2", "rvol > 1.5")),
        (270, _change("confluence", "times: 2.5", "times: 2.0")),
        (300, _mend),
        (305, partial(_faults, name=weather)),
        (330, _kill),
        (340, _change("order-book-imbalance", "target: {r: 1.2}", "target: {r: 1.5}")),
        *more,
    ]
    return [(step * steps // TOLD, deed) for step, deed in story]


def _promote_all(but: Collection[str]) -> Deed:
    async def deed(play: Play) -> None:
        await play.count_orders()
        for name in SIX:
            if name not in but:
                await play.author.promote(name)

    return deed


async def _unguarded(play: Play) -> None:
    """Let the guard of the busiest strategy go, so that it trades more."""
    await play.author.change("order-book-imbalance", "losses: 4,", "losses: 40,")


async def _flurry(play: Play) -> None:
    stops = [f"times: 1.{number}" for number in range(60, 70)]
    await play.author.flurry("order-book-imbalance", "times: 1.5", stops)


async def _faults(play: Play, name: str) -> None:
    await play.faults(name)


async def _mend(play: Play) -> None:
    await play.mend()


async def _kill(play: Play) -> None:
    await play.kill()


def _change(name: str, old: str, new: str) -> Deed:
    return lambda play: play.author.change(name, old, new)


def _in_two_steps(name: str, old: str, new: str) -> Deed:
    return lambda play: play.author.change_in_two_steps(name, old, new)


def _spoil(name: str, old: str, new: str) -> Deed:
    return lambda play: play.author.spoil(name, old, new)


def _disable(name: str) -> Deed:
    return lambda play: play.author.disable(name)


def _enable(name: str) -> Deed:
    return lambda play: play.author.enable(name)


def _rename(name: str, new: str) -> Deed:
    return lambda play: play.author.rename(name, new)


def _delete(name: str) -> Deed:
    return lambda play: play.author.delete(name)


def _put_back(name: str) -> Deed:
    return lambda play: play.author.put_back(name)


def _promote(name: str) -> Deed:
    return lambda play: play.author.promote(name)
