"""A strategy plugin of one's own: a package with its entry point, a strategy and its tests."""

import keyword
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tradewright.domain.errors import TradewrightError

NAME: Final = r"[a-z][a-z0-9_]{2,39}"
NO_TEXT: Final = {"null", "true", "false", "yes", "off"}
"""Words that YAML 1.2 or 1.1 reads as something else."""

PROJECT: Final = """\
[build-system]
requires = ["uv_build>=0.13,<0.14"]
build-backend = "uv_build"

[project]
name = "tradewright-{dashed}"
version = "0.1.0"
description = "A strategy for tradewright"
requires-python = ">=3.11"
dependencies = ["numpy>=2", "tradewright>={version}"]

[project.entry-points."{group}"]
{name} = "{name}:{kind}"

[dependency-groups]
test = ["pytest>=9"]

# What is installed for other tests has no say here
[tool.pytest.ini_options]
addopts = "-p no:asyncio"

[tool.uv.build-backend]
module-name = "{name}"
module-root = ""
"""
PACKAGE: Final = '''\
"""{title}: a strategy for tradewright."""

from {name}.strategy import {kind}

__all__ = ["{kind}"]
'''
STRATEGY: Final = '''\
"""{title}: go against the price when it is far from its mean."""

from decimal import Decimal
from typing import ClassVar

from pydantic import Field
from tradewright import plugin
from tradewright.domain.market import Side
from tradewright.domain.signal import ExitSignal, Signal


class {kind}:
    """Buy far below the mean of the last closes, sell far above it; leave at the mean.

    It loses when a move goes on: say here when yours does.
    """

    # Raise it whenever the same parameters may give other signals: it is part of every hash
    version: ClassVar[str] = "1"

    class Params(plugin.Params):
        period: int = Field(default=50, ge=5, le=1000, description="Candles of the mean.")
        entry: Decimal = Field(
            default=Decimal(2), gt=0, le=10, description="Deviations from the mean to enter at."
        )

    def __init__(self, params: Params) -> None:
        self._entry = float(params.entry)
        # As many candles as one answer depends on, warm-up included
        self.needs = plugin.Needs(candles=params.period)
        # Distances in price, for stops and trailing: `stop: {{indicator: deviation, times: 2}}`
        self.factor_names = frozenset({{"deviation"}})

    def evaluate(self, view: plugin.View) -> plugin.Evaluation:
        """Answer from what is in *view* alone: no clock, no files, nothing kept in between."""
        if len(view.candles) < self.needs.candles:
            return plugin.Evaluation()
        # A window has up to twice as many candles; always the same number gives the same answer
        closes = view.candles.tail(self.needs.candles).close
        mean, deviation = float(closes.mean()), float(closes.std())
        score = (float(closes[-1]) - mean) / deviation if deviation else 0.0
        factors = {{"mean": mean, "deviation": deviation, "score": score}}
        return plugin.Evaluation(
            signal=self._signal(score, factors), exits=_exits(score), factors=factors
        )

    def _signal(self, score: float, factors: dict[str, float]) -> Signal | None:
        if abs(score) < self._entry:
            return None
        side = Side.BUY if score < 0 else Side.SELL
        return Signal(side=side, reason=f"{{score:.2f}} deviations off the mean", factors=factors)


def _exits(score: float) -> tuple[ExitSignal, ...]:
    """Return which side is to be left: what was bought below the mean, once it is reached."""
    return (ExitSignal(side=Side.BUY if score >= 0 else Side.SELL, reason="back at the mean"),)
'''
TEST: Final = '''\
"""{title}: it keeps the contract of strategies, and does what it is for."""

from typing import Any

import pytest
from tradewright import testing
from tradewright.domain.market import Side

from {name} import {kind}


@pytest.mark.parametrize("promise", testing.PROMISES, ids=testing.name)
@pytest.mark.parametrize("params", [{{}}, {{"period": 20, "entry": 1}}])
def test_it_keeps_the_contract(promise: testing.Promise, params: dict[str, Any]) -> None:
    promise({kind}, params)


def test_it_goes_against_the_price() -> None:
    strategy = testing.made({kind}, {{"period": 20}})
    market = testing.Market()

    answers = [strategy.evaluate(market.view(strategy.needs, n)) for n in range(300)]

    signals = [(a.signal.side, a.factors["score"]) for a in answers if a.signal]
    assert {{side for side, _ in signals}} == {{Side.BUY, Side.SELL}}
    assert all((side is Side.BUY) == (score < 0) for side, score in signals)
'''
PRESET: Final = """\
version: 1
name: {short}
mode: shadow                                 # decides and follows its trades, sends nothing
market: {{category: linear, symbols: [BTCUSDT]}}
trigger: {{on: candle, timeframe: 15m}}
strategy: {{plugin: {name}, params: {{period: 50, entry: 2}}}}
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{indicator: deviation, times: 2}}, max_candles: 96}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005}}
"""
README: Final = """\
# {title}

A strategy for tradewright.

    pip install --editable .     # or: uv pip install --editable .
    tradewright plugin list      # {name} is there
    python -m pytest             # the contract of strategies, and your own
    tradewright validate {short}.yaml

`{name}/strategy.py` is yours to change. The system asks it in a process of its own, where it has
five seconds for an answer and none of the worker's secrets in its environment. That process runs
as the same user: it contains accidents, not malice.
"""


class PluginNameInvalid(TradewrightError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"plugin name {name!r} does not fit: use 3 to 40 of a-z, 0-9 and the underscore, "
            f"beginning with a letter, such as mean_reversion"
        )


class PluginNameTaken(TradewrightError):
    def __init__(self, name: str, means: str) -> None:
        super().__init__(f"plugin name {name!r} means something else: {means}; choose another name")


class PluginExists(TradewrightError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} exists already; choose another name, or remove it first")


class PluginFolderUnwritable(TradewrightError):
    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        super().__init__(f"{path} cannot be written: {reason}; choose another folder")


def make_plugin(name: str, folder: Path) -> list[Path]:
    """Write the project of a plugin called *name* into a new folder below *folder*.

    Returns:
        What was written; the project's own folder holds all of it.

    Raises:
        PluginNameInvalid: *name* cannot be a package's.
        PluginNameTaken: YAML reads it as no text, or it would hide an installed package.
        PluginExists: The folder is there, or a plugin of that name is installed.
        PluginFolderUnwritable: It cannot be written.
    """
    from tradewright import plugin

    if not re.fullmatch(NAME, name) or keyword.iskeyword(name):
        raise PluginNameInvalid(name)
    if name in plugin.installed():
        raise PluginExists(f"strategy plugin {name!r}")
    if name in NO_TEXT:
        raise PluginNameTaken(name, "YAML reads it as a value, not as text")
    spec = find_spec(name)
    # A mere folder on the path has no origin, and hides behind a package
    if spec is not None and spec.origin is not None:
        raise PluginNameTaken(name, "a package of that name is installed")
    root = folder / f"tradewright-{name.replace('_', '-')}"
    try:
        root.mkdir(parents=True, exist_ok=False)
        return [_written(root / path, text) for path, text in _files(name)]
    except FileExistsError:
        raise PluginExists(str(root)) from None
    except OSError as e:
        raise PluginFolderUnwritable(root, e) from e


def _files(name: str) -> Iterator[tuple[str, str]]:
    from tradewright.plugin import ENTRY_POINT_GROUP

    words = name.split("_")
    filled = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "short": name.replace("_", "-")[:40].strip("-"),
        "title": " ".join(words).strip().capitalize(),
        "kind": "".join(word.capitalize() for word in words),
        "group": ENTRY_POINT_GROUP,
        "version": version("tradewright"),
    }
    yield "pyproject.toml", PROJECT.format(**filled)
    yield "README.md", README.format(**filled)
    yield f"{name}/__init__.py", PACKAGE.format(**filled)
    yield f"{name}/strategy.py", STRATEGY.format(**filled)
    yield f"{name}/py.typed", ""
    yield f"tests/test_{name}.py", TEST.format(**filled)
    yield f"{filled['short']}.yaml", PRESET.format(**filled)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
