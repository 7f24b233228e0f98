"""The strategies that ship keep the contract of plugins, and say something."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tradewright import plugin, preset, testing
from tradewright.app.authoring.template import MODELINE, SCHEMA_FILE, names, template
from tradewright.domain.market import Side
from tradewright.domain.signal import Signal
from tradewright.preset.section import ByIndicator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "strategies"
SHIPPED = (
    "range-trading",
    "multi-timeframe-trend",
    "volume-vwap",
    "order-book-imbalance",
    "impulse",
    "confluence",
)
ASKED = 4_000
PAGE = (ROOT / "docs/strategies.md").read_text()


def chosen(name: str) -> tuple[type[Any], dict[str, Any]]:
    declared = preset.load(FOLDER / f"{name}.yaml").preset.strategy
    return plugin.load(declared.plugin), declared.params


@pytest.mark.parametrize("promise", testing.PROMISES, ids=testing.name)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_keeps_the_contract(path: Path, promise: testing.Promise) -> None:
    promise(*chosen(path.stem))


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_the_template_of_its_name_and_sends_nothing(name: str) -> None:
    path = FOLDER / f"{name}.yaml"

    assert name in names()
    modeline = f"{MODELINE}../{SCHEMA_FILE.as_posix()}"
    assert path.read_text() == template(name).preset(name, modeline=modeline)
    assert preset.load(path).preset.mode == "shadow"


@cache
def signals(name: str) -> list[Signal]:
    """Return its signals at many closes, or of many order books."""
    kind, params = chosen(name)
    asked, market = testing.made(kind, params), testing.Market()
    if name == "order-book-imbalance":
        view = market.view(asked.needs, 0)
        found = [asked.on_book(view, testing.make_book(number)) for number in range(ASKED)]
    else:
        follower = asked.follow()
        found = [follower.evaluate(market.view(asked.needs, number)) for number in range(ASKED)]
    return [each.signal for each in found if each.signal is not None]


@pytest.mark.parametrize("name", SHIPPED)
def test_it_signals_both_ways_now_and_then(name: str) -> None:
    found = signals(name)

    assert {signal.side for signal in found} == {Side.BUY, Side.SELL}
    assert len(found) < ASKED / 2
    stop = preset.load(FOLDER / f"{name}.yaml").preset.exits.stop
    assert isinstance(stop, ByIndicator)
    assert all(signal.factors[stop.indicator] > 0 for signal in found)


def test_the_score_of_confluence_scales_its_size() -> None:
    found = signals("confluence")

    for signal in found:
        expected = min(max(abs(signal.factors["score"]), 0.1), 1.0)
        assert float(signal.confidence) == pytest.approx(expected, abs=1e-4)
    assert len({signal.confidence for signal in found}) > 5


def test_bad_data_halves_the_size_of_confluence() -> None:
    asked, market = testing.made(*chosen("confluence")), testing.Market()
    views = (market.view(asked.needs, number).degraded_view() for number in range(1_000))

    found = [signal for view in views if (signal := asked.evaluate(view).signal)]

    assert {signal.side for signal in found} == {Side.BUY, Side.SELL}
    assert {float(signal.confidence) for signal in found} == {0.5}


def test_an_imbalance_needs_its_cluster_and_its_share() -> None:
    for signal in signals("order-book-imbalance"):
        seen = signal.factors
        if signal.side is Side.BUY:
            assert seen["book.imbalance"] > 0.75
            assert seen["book.bid_cluster"] >= 10_000
        else:
            assert seen["book.imbalance"] < 0.25
            assert seen["book.ask_cluster"] >= 10_000


@pytest.mark.parametrize("name", SHIPPED)
def test_its_idea_its_parameters_and_its_losses_are_described(name: str) -> None:
    (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)

    assert "**Idea.**" in section
    assert "**It loses**" in section
    assert "| parameter | value | turn it up to |" in section
