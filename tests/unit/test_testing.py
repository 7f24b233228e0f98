"""The contract suite finds each way in which a strategy can break its promises."""

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, Field

from tradewright import plugin, testing
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.signal import Signal
from tradewright.plugin import Evaluation, Need, Needs, View
from tradewright.testing import ContractBroken, promise


class Sound:
    """Buys above the mean of the last closes; keeps every promise."""

    version: ClassVar[str] = "1"

    class Params(plugin.Params):
        period: int = Field(default=10, ge=2, le=100, description="Candles of the mean.")

    def __init__(self, params: Any) -> None:
        self.period = params.period
        others = {"h1": Need(timeframe=Timeframe.H1, candles=5)}
        self.needs = Needs(candles=self.period, others=others, series=("funding_rate",))
        self.factor_names = frozenset({"distance"})

    def evaluate(self, view: View) -> Any:
        if len(view.candles) < self.needs.candles:
            return Evaluation()
        return self.answer(view)

    def answer(self, view: View) -> Any:
        closes = view.candles.tail(self.period).close
        distance = float(closes[-1] - closes.mean())
        factors = {"distance": distance, "hour": float(view.others["h1"].close[-1])}
        signal = None
        if distance > 0:
            signal = Signal(side=Side.BUY, reason="above its mean", factors=factors)
        return Evaluation(signal=signal, factors=factors)

    def on_book(self, view: View, book: Any) -> Any:
        return Evaluation(factors={"imbalance": book.imbalance})

    def follow(self) -> Any:
        return self


class LooseParams(BaseModel):
    period: int = 10


class OpenParams(plugin.Params, extra="allow"):
    period: int = Field(default=10, description="Candles.")


class SilentParams(plugin.Params):
    period: int = 10


class Loose(Sound):
    Params: ClassVar[Any] = LooseParams


class Open(Sound):
    Params: ClassVar[Any] = OpenParams


class Silent(Sound):
    Params: ClassVar[Any] = SilentParams


class Nameless(Sound):
    version: ClassVar[str] = ""


class Needy(Sound):
    asked = iter(range(2, 1000))

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.needs = Needs(candles=next(self.asked))


class Wordy(Sound):
    def answer(self, view: View) -> Any:
        return "buy"


class Infinite(Sound):
    def answer(self, view: View) -> Any:
        return Evaluation(factors={"distance": float("nan")})


class Promising(Sound):
    def answer(self, view: View) -> Any:
        return Evaluation(factors={"other": 1.0})


class Counting(Sound):
    count = 0

    def answer(self, view: View) -> Any:
        self.count += 1
        return Evaluation(factors={"distance": float(self.count)})


class Chancy(Sound):
    drawn = np.random.default_rng(1)

    def answer(self, view: View) -> Any:
        return Evaluation(factors={"distance": float(self.drawn.normal())})


class Meddling(Sound):
    def answer(self, view: View) -> Any:
        rates = view.series["funding_rate"]
        rates.flags.writeable = True
        rates[-1] = 1.0
        return Evaluation(factors={"distance": 1.0})


class Scribbling(Sound):
    def answer(self, view: View) -> Any:
        view.candles.close[-1] = 1.0
        return Evaluation(factors={"distance": 1.0})


class Prescient(Sound):
    """Remembers the latest close that it ever saw."""

    latest = (0, 0.0)

    def answer(self, view: View) -> Any:
        candles = view.candles
        self.latest = max(self.latest, (int(candles.open_time[-1]), float(candles.close[-1])))
        return Evaluation(factors={"distance": self.latest[1]})


class Eager(Sound):
    def evaluate(self, view: View) -> Any:
        return Evaluation(factors={"distance": 1.0})


class Cold(Sound):
    """An exponential mean that was never given the time to settle."""

    def answer(self, view: View) -> Any:
        mean = float(view.candles.close[0])
        for close in view.candles.close.tolist():
            mean += 0.05 * (close - mean)
        return Evaluation(factors={"distance": float(view.candles.close[-1]) - mean})


class Straying(Sound):
    """Its follower goes on from where it was, wherever it is led."""

    def follow(self) -> Any:
        class Follower:
            rows = 0

            def evaluate(self, view: View) -> Any:
                self.rows += 1
                return sound.evaluate(view) if self.rows < 20 else Evaluation()

        sound = self
        return Follower()


class Fragile(Sound):
    def answer(self, view: View) -> Any:
        candles = view.candles
        return Evaluation(factors={"distance": 1 / float(np.ptp(candles.close))})


class Brooding(Sound):
    def answer(self, view: View) -> Any:
        begun = time.process_time()
        while time.process_time() - begun < 0.02:
            sum(range(1000))
        return Evaluation(factors={"distance": 1.0})


class Grudging(Sound):
    """Holds every order book against the next."""

    worst = 1.0

    def on_book(self, view: View, book: Any) -> Any:
        self.worst = min(self.worst, book.imbalance)
        return Evaluation(factors={"imbalance": self.worst})


def promise_called(name: str) -> testing.Promise:
    (found,) = (each for each in testing.PROMISES if testing.name(each) == name)
    return found


@pytest.mark.parametrize("kept", testing.PROMISES, ids=testing.name)
def test_a_sound_strategy_keeps_all_promises(kept: testing.Promise) -> None:
    kept(Sound, {"period": 7})


@pytest.mark.parametrize(
    ("strategy", "broken", "error"),
    [
        (Loose, "params_are_validated", "must inherit"),
        (Open, "params_are_validated", "keys that it does not know"),
        (Silent, "params_are_validated", "period is not described"),
        (Nameless, "it_says_what_it_needs", "version must not be empty"),
        (Needy, "it_says_what_it_needs", "must follow from the parameters"),
        (Wordy, "answers_are_evaluations", "str is no Evaluation"),
        (Promising, "answers_are_evaluations", r"\['distance'\] are promised and missing"),
        (Counting, "it_is_deterministic", "what it was asked before"),
        (Chancy, "it_is_deterministic", "what it was asked before"),
        (Meddling, "it_changes_nothing", "changed what it was shown"),
        (Prescient, "it_does_not_look_ahead", "depends on later candles"),
        (Eager, "it_honours_its_warm_up", "before it has warmed up"),
        (Cold, "it_honours_its_warm_up", "needs.candles is too small"),
        (Straying, "it_follows_to_the_bit", "answers otherwise"),
        (Grudging, "it_reads_books_alike", "what it was asked before"),
    ],
)
def test_each_broken_promise_is_found(strategy: type[Any], broken: str, error: str) -> None:
    with pytest.raises(ContractBroken, match=error):
        promise_called(broken)(strategy, {})


@pytest.mark.parametrize(
    ("strategy", "broken", "error"),
    [
        (Infinite, "answers_are_evaluations", "not finite|valid"),
        (Scribbling, "it_changes_nothing", "read-only"),
        (Fragile, "it_stands_a_dead_market", "division"),
    ],
)
def test_what_raises_or_is_not_finite_is_found(
    strategy: type[Any], broken: str, error: str
) -> None:
    with pytest.raises((ContractBroken, ZeroDivisionError, ValueError), match=error):
        promise_called(broken)(strategy, {})


def test_one_that_takes_its_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promise, "WITHIN", 0.01)

    with pytest.raises(ContractBroken, match="for one evaluation"):
        promise.it_answers_in_time(Brooding, {})
    promise.it_answers_in_time(Sound, {})


def test_the_generated_market_is_sound_and_always_the_same() -> None:
    short, long = (testing.generated(3, count, Timeframe.M15) for count in (500, 2000))

    assert short.close.tolist() == long.close[:500].tolist()
    assert short.volume.tolist() == long.volume[:500].tolist()
    assert (long.low <= np.minimum(long.open, long.close)).all()
    assert (long.high >= np.maximum(long.open, long.close)).all()
    assert (long.low > 0).all()
    returns = np.diff(np.log(long.close))
    assert 0.0005 < returns.std() < 0.02


def test_books_differ_and_are_never_crossed() -> None:
    def books() -> Iterator[Any]:
        return map(testing.make_book, range(50))

    assert list(books()) == list(books())
    assert len({book.imbalance for book in books()}) == 50
    assert all(book.best_bid < book.best_ask for book in books())


def test_checks_are_called_by_what_they_promise() -> None:
    names: list[Callable[..., Any] | str] = [testing.name(each) for each in testing.PROMISES]

    assert len(set(names)) == len(names) == 11
