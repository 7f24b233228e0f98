"""Plugins: found by name, refused kindly, taken at their word about parameters."""

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from tradewright import plugin, testing
from tradewright.domain.market import Timeframe
from tradewright.plugin import COLUMNS, Need, Needs


class Written(plugin.Params):
    whole: int = 1
    exact: Decimal = Field(default=Decimal(1), gt=0)
    rough: float | None = None
    word: str = ""


def _register(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = {
        name: EntryPoint(name, value, plugin.ENTRY_POINT_GROUP) for name, value in values.items()
    }
    monkeypatch.setattr(plugin, "installed", lambda: points)


def test_the_shipped_strategies_are_installed() -> None:
    assert {"rules", "donchian_breakout"} <= plugin.installed().keys()
    assert plugin.load("rules").Params.model_fields.keys() >= {"indicators", "long", "short"}


def test_an_unknown_strategy_is_a_lookup_error_with_the_nearest_name() -> None:
    with pytest.raises(LookupError, match=r"'Rulse' is not installed; did you mean 'rules'\?"):
        plugin.load("Rulse")


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("no_such_module:Thing", "ModuleNotFoundError"),
        ("tradewright.plugin:NoSuchThing", "AttributeError"),
        ("tradewright.plugin:Evaluation", "it has no class Params"),
        ("tests_plugin_without_evaluate:Silent", "it has no method evaluate"),
    ],
)
def test_a_broken_plugin_says_what_is_wrong(
    value: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        Params: ClassVar[type[plugin.Params]] = Written

    module: Any = type(sys)("tests_plugin_without_evaluate")
    module.Silent = Silent
    monkeypatch.setitem(sys.modules, module.__name__, module)
    _register(monkeypatch, odd=value)

    with pytest.raises(plugin.PluginBroken, match=f"'odd' cannot be loaded: .*{detail}"):
        plugin.load("odd")


def test_a_plugin_that_wants_to_exit_when_it_is_imported_is_broken_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "leaving_plugin.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    _register(monkeypatch, leaving="leaving_plugin:Thing")

    with pytest.raises(plugin.PluginBroken, match="SystemExit: 3"):
        plugin.load("leaving")


class Whole:
    """An instance as it should be."""

    needs = Needs(candles=1)
    factor_names = frozenset({"atr"})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("needs", None), ("needs", 20), ("factor_names", None), ("factor_names", {"atr"})],
)
def test_a_strategy_that_lacks_a_part_is_broken(attribute: str, value: Any) -> None:
    strategy = Whole()
    setattr(strategy, attribute, value)

    with pytest.raises(plugin.PluginBroken, match=f"it has no attribute {attribute}"):
        plugin.complete("lacking", strategy)
    assert isinstance(plugin.complete("whole", Whole()), Whole)


def test_what_ships_is_ours_and_all_else_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not plugin.is_foreign("donchian_breakout")

    _register(monkeypatch, donchian_breakout="elsewhere:DonchianBreakout")

    assert plugin.is_foreign("donchian_breakout")
    with pytest.raises(plugin.PluginUnknown):
        plugin.is_foreign("nobodys")


def test_the_version_is_the_strategys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin.version("rules") == plugin.load("rules").version

    monkeypatch.delattr(plugin.load("rules"), "version")

    distribution = plugin.installed()["rules"].dist
    assert distribution is not None
    assert plugin.version("rules") == distribution.version


@pytest.mark.parametrize(
    "written",
    [
        {"whole": "1"},
        {"whole": True},
        {"whole": Decimal("1.5")},
        {"exact": "0.1"},
        {"exact": False},
        {"exact": Decimal("NaN")},
        {"rough": "1"},
        {"rough": Decimal("Infinity")},
        {"word": 1},
        {"other": 1},
    ],
)
def test_parameters_are_taken_at_their_word(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Written.model_validate(written)


def test_parameters_survive_json() -> None:
    params = Written(whole=2, exact=Decimal("0.1"), rough=0.5, word="x")

    assert Written.model_validate_json(params.model_dump_json()) == params


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert Written.model_validate({"whole": Decimal("2.0"), "exact": 2}).whole == 2


def test_reading_presets_stays_light() -> None:
    code = (
        "import sys, tradewright.preset, tradewright.rules, tradewright.plugin\n"
        "print(sorted({'pandas', 'numpy', 'talib', 'temporalio'} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


# --- views ----------------------------------------------------------------------------------------

NEEDS = Needs(
    candles=20,
    others={
        "h1": Need(timeframe=Timeframe.H1, candles=10),
        "eth": Need(symbol="ETHUSDT", candles=5),
    },
    series=("funding_rate", "position.r"),
)


def test_candles_are_cut_without_a_copy() -> None:
    candles = testing.generated(1, 50, Timeframe.M1)

    last = candles.tail(10)

    assert len(last) == 10
    assert last.close.tolist() == candles.close[-10:].tolist()
    assert np.shares_memory(last.close, candles.close)
    assert len(candles.tail(99)) == 50
    assert len(candles.tail(0)) == 0
    assert candles.between(3, 5).open_time.tolist() == candles.open_time[3:5].tolist()


def test_a_frame_holds_the_same_and_may_be_written_to() -> None:
    candles = testing.generated(1, 50, Timeframe.M15)

    frame = candles.frame()
    frame["close"] = 0.0

    assert list(frame.columns) == list(COLUMNS)
    assert frame.index.name == "open_time"
    assert frame.index[1] == datetime(2022, 1, 1, 0, 15, tzinfo=UTC)
    assert frame["high"].tolist() == candles.high.tolist()
    assert candles.close.all()


def test_a_view_survives_the_way_to_another_process() -> None:
    view = testing.Market().view(NEEDS, 7)

    again = pickle.loads(pickle.dumps(view))

    assert (again.symbol, again.at, again.timeframe) == (view.symbol, view.at, view.timeframe)
    assert again.candles.close.tolist() == view.candles.close.tolist()
    assert again.others["h1"].high.tolist() == view.others["h1"].high.tolist()
    assert again.series.keys() == {"funding_rate", "position.r"}
    assert not again.degraded
    assert again.degraded_view().degraded


@given(number=st.integers(0, 500))
def test_a_view_shows_nothing_that_had_not_closed(number: int) -> None:
    view = testing.Market().view(NEEDS, number)

    def closes(candles: plugin.Candles, length: timedelta) -> datetime:
        return datetime.fromtimestamp(int(candles.open_time[-1]) / 1000, UTC) + length

    assert closes(view.candles, timedelta(minutes=15)) == view.at
    assert closes(view.others["eth"], timedelta(minutes=15)) == view.at
    assert view.at - timedelta(hours=1) < closes(view.others["h1"], timedelta(hours=1)) <= view.at
    assert all(len(series) == len(view.candles) for series in view.series.values())
    assert np.isnan(view.series["position.r"][:-1]).all()


@given(
    end=st.integers(0, 10**7),
    step=st.sampled_from([1, 60_000]),
    needed=st.integers(1, 500),
)
def test_a_window_holds_what_is_needed_and_less_than_twice_as_much(
    end: int, step: int, needed: int
) -> None:
    rows = (end * step - plugin.anchor(end * step, step, needed)) // step + 1

    assert needed <= rows < 2 * needed
    # It begins anew exactly where it would have twice as many
    moved = plugin.anchor((end + 1) * step, step, needed)
    assert (moved == plugin.anchor(end * step, step, needed)) == (rows < 2 * needed - 1)


def test_extra_series_are_known_by_name() -> None:
    assert Needs(candles=1, series=plugin.EXTRA_SERIES).series == plugin.EXTRA_SERIES
    with pytest.raises(ValidationError):
        Needs(candles=1, series=("book.depth",))
    with pytest.raises(ValidationError):
        Needs(candles=1, series=("bookximbalance",))
