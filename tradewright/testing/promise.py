"""What every strategy promises."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from tradewright import plugin
from tradewright.plugin import COLUMNS, Candles, Evaluation, Needs, View
from tradewright.testing.market import Market, frozen, make_book

Promise = Callable[[type[Any], Mapping[str, Any]], None]
"""Takes the strategy's class and parameters as a preset writes them; raises `ContractBroken`."""

ASKED = 120
"""Closes that a check asks about."""
WITHIN = 1.0
"""Seconds for one evaluation; live, five, and then the plugin's process is killed."""
TOLERANCE = 1e-6
"""Relative, of factors that were warmed up from different first candles."""


class ContractBroken(AssertionError):
    """A strategy does not keep one of the promises; says which."""


def made(strategy: type[Any], params: Mapping[str, Any]) -> Any:
    """Return a strategy made as a preset makes it."""
    return strategy(strategy.Params.model_validate(dict(params)))


# --- the promises -----------------------------------------------------------------------------


def params_are_validated(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """Its parameters are a model of ours, take no unknown key, and have a schema."""
    declared = strategy.Params
    _hold(issubclass(declared, plugin.Params), "Params must inherit tradewright.plugin.Params")
    declared.model_validate(dict(params))
    schema = declared.model_json_schema()
    _hold(schema.get("additionalProperties") is False, "Params takes keys that it does not know")
    try:
        declared.model_validate({**params, "no_such_key": 1})
    except ValidationError:
        pass
    else:
        raise ContractBroken("Params takes a key that it does not know")
    for name, field in declared.model_fields.items():
        described = schema["properties"].get(field.alias or name, {})
        _hold(described.get("description") or "$ref" in str(described), f"{name} is not described")


def it_says_what_it_needs(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It has a version, needs, and names of factors."""
    asked = made(strategy, params)
    _hold(isinstance(strategy.version, str), "version must be a text")
    _hold(strategy.version, "version must not be empty")
    _hold(isinstance(asked.needs, Needs), "needs must be tradewright.plugin.Needs")
    _hold(isinstance(asked.factor_names, frozenset), "factor_names must be a frozenset")
    _hold(asked.needs == made(strategy, params).needs, "needs must follow from the parameters")


def answers_are_evaluations(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It answers with an Evaluation whose factors are finite and hold what it promises."""
    asked = made(strategy, params)
    for view in _views(asked.needs):
        answer = asked.evaluate(view)
        _hold(isinstance(answer, Evaluation), f"{type(answer).__name__} is no Evaluation")
        _hold(
            Evaluation.model_validate_json(answer.model_dump_json()) == answer,
            "the answer is another one after JSON",
        )
        numbers = answer.factors | (answer.signal.factors if answer.signal else {})
        _hold(all(map(math.isfinite, numbers.values())), "a factor is not finite")
        missing = asked.factor_names - numbers.keys()
        _hold(not missing, f"factors {sorted(missing)} are promised and missing")


def it_is_deterministic(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It answers the same to the same, whatever it was asked before, and whichever instance."""
    forwards, backwards = made(strategy, params), made(strategy, params)
    views = list(_views(forwards.needs))
    answers = [forwards.evaluate(view) for view in views]
    reverse = [backwards.evaluate(view) for view in reversed(views)]
    _hold(answers == reverse[::-1], "its answer depends on what it was asked before")
    _hold(answers == [forwards.evaluate(view) for view in views], "it does not answer twice alike")


def it_changes_nothing(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It leaves what it is shown as it was."""
    asked = made(strategy, params)
    for view in _views(asked.needs, count=5):
        before = _content(view)
        asked.evaluate(view)
        _hold(_content(view) == before, "it has changed what it was shown")


def it_does_not_look_ahead(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It answers the same when the candles after that moment are other ones."""
    knowing, ignorant = made(strategy, params), made(strategy, params)
    market = Market()
    for number in range(0, ASKED, 10):
        view = market.view(knowing.needs, number)
        expected = ignorant.evaluate(view)
        for later in (number + 1, number + ASKED):
            knowing.evaluate(market.view(knowing.needs, later))
            knowing.evaluate(market.view(knowing.needs, later, change=_mirrored))
        _hold(knowing.evaluate(view) == expected, "its answer depends on later candles")


def it_honours_its_warm_up(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It says nothing of fewer candles than needed, and the same of more."""
    asked, market = made(strategy, params), Market()
    needed = asked.needs.candles
    short = market.view(asked.needs, 0, candles=needed - 1)
    if len(short.candles) < needed and needed > 1:
        _hold(asked.evaluate(short) == Evaluation(), "it answers before it has warmed up")
    for number in range(0, ASKED, 3):
        least = asked.evaluate(market.view(asked.needs, number, candles=needed))
        most = asked.evaluate(market.view(asked.needs, number, candles=2 * needed - 1))
        _hold(least.factors.keys() == most.factors.keys(), "its factors depend on older candles")
        for name, value in least.factors.items():
            _hold(
                math.isclose(value, most.factors[name], rel_tol=TOLERANCE, abs_tol=1e-9),
                f"{name} is {value} after {needed} candles and {most.factors[name]} after more: "
                f"needs.candles is too small",
            )
        _hold(_sides(least) == _sides(most), "its signals depend on candles before its warm-up")


def it_follows_to_the_bit(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """Its follower, if it has one, gives the answers of `evaluate`, wherever it begins."""
    asked = made(strategy, params)
    if not hasattr(asked, "follow"):
        return
    market, needed = Market(), asked.needs.candles
    numbers = [*range(ASKED), 3, 4, 5, 5, 60, 7, *range(needed, needed + 20)]
    followers = {"from the beginning": asked.follow(), "from later on": asked.follow()}
    for place, number in enumerate(numbers):
        view = market.view(asked.needs, number)
        expected = asked.evaluate(view)
        for name, follower in followers.items():
            if name == "from later on" and place < ASKED // 3:
                continue
            _hold(follower.evaluate(view) == expected, f"its follower {name} answers otherwise")


def it_stands_a_dead_market(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It neither raises nor signals where nothing moves and nothing is traded."""
    asked = made(strategy, params)

    def still(candles: Candles) -> Candles:
        flat = np.full(len(candles), 30_000.0)
        return frozen(Candles(candles.open_time, flat, flat, flat, flat, np.zeros(len(candles))))

    for number in range(3):
        answer = asked.evaluate(Market().view(asked.needs, number, change=still))
        _hold(all(map(math.isfinite, answer.factors.values())), "a factor is not finite")


def it_answers_in_time(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """It takes less than a second, of processor time, for the longest window."""
    asked = made(strategy, params)
    view = Market().view(asked.needs, 0, candles=2 * asked.needs.candles - 1)
    asked.evaluate(view)
    # Processor time: a busy machine is not the plugin's fault
    begun = time.process_time()
    asked.evaluate(view)
    took = time.process_time() - begun
    _hold(took < WITHIN, f"it took {took:.2f} s for one evaluation")


def it_reads_books_alike(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """What it says of an order book, if it reads them, depends on that and the view alone."""
    asked, other = made(strategy, params), made(strategy, params)
    if not hasattr(asked, "on_book"):
        return
    view = Market().view(asked.needs, 0)
    books = [make_book(number) for number in range(ASKED)]
    answers = [asked.on_book(view, book) for book in books]
    _hold(all(isinstance(answer, Evaluation) for answer in answers), "it answers no Evaluation")
    reverse = [other.on_book(view, book) for book in reversed(books)]
    _hold(answers == reverse[::-1], "its answer depends on what it was asked before")


PROMISES: Sequence[Promise] = (
    params_are_validated,
    it_says_what_it_needs,
    answers_are_evaluations,
    it_is_deterministic,
    it_changes_nothing,
    it_does_not_look_ahead,
    it_honours_its_warm_up,
    it_follows_to_the_bit,
    it_stands_a_dead_market,
    it_answers_in_time,
    it_reads_books_alike,
)


def name(promise: Promise) -> str:
    """Return what pytest calls a check."""
    return promise.__name__


def _hold(is_kept: object, otherwise: str) -> None:
    if not is_kept:
        raise ContractBroken(otherwise)


def _views(needs: Needs, count: int = ASKED) -> Iterator[View]:
    market = Market()
    for number in range(count):
        yield market.view(needs, number)


def _mirrored(candles: Candles) -> Candles:
    """Return a market that does the contrary."""
    middle = 2 * 30_000.0
    return frozen(
        Candles(
            candles.open_time,
            middle - candles.open,
            middle - candles.low,
            middle - candles.high,
            middle - candles.close,
            candles.volume + 1,
        )
    )


def _content(view: View) -> list[bytes]:
    arrays = [
        getattr(candles, column)
        for candles in (view.candles, *view.others.values())
        for column in ("open_time", *COLUMNS)
    ]
    return [array.tobytes() for array in (*arrays, *view.series.values())]


def _sides(answer: Evaluation) -> tuple[Any, ...]:
    side = answer.signal.side if answer.signal else None
    return side, *(each.side for each in answer.exits)
