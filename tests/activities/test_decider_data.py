"""Nothing is decided on bad data, every refusal has its code, and exits wait for little."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tests.activities.decider_worker import EVERYTHING, MakeWorker, codes, degrading
from tests.activities.exchange_of_data import Rows
from tradewright import testing
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.plugin import Evaluation as Answer
from tradewright.plugin import Needs, View


def row_of(number: int, column: int, value: str) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        if len(rows) > number:
            rows[number][column] = value

    return spoil


def without(number: int) -> Callable[[Rows], Any]:
    return lambda rows: rows.pop(number)


def twice(rows: Rows) -> None:
    rows.insert(3, rows[3])


def turned(rows: Rows) -> None:
    rows.reverse()


def frozen(rows: Rows) -> None:
    for row in rows:
        row[1:5] = ["30000"] * 4


def untraded(rows: Rows) -> None:
    for row in rows:
        row[5] = "0"


SPOILED: Sequence[tuple[Callable[[Rows], Any], str]] = [
    (list.clear, "data_empty"),
    (row_of(5, 4, "NaN"), "data_malformed"),
    (row_of(5, 5, "-1"), "data_malformed"),
    (row_of(5, 2, "1"), "data_malformed"),
    (without(8), "data_gap"),
    (twice, "data_duplicate"),
    (turned, "data_out_of_order"),
    (frozen, "data_flat"),
    (untraded, "data_no_volume"),
    (lambda rows: rows.__delitem__(slice(0, 2)), "candle_missing"),
]


@pytest.mark.parametrize(("spoil", "code"), SPOILED, ids=[code for _, code in SPOILED])
async def test_bad_candles_are_refused_by_code_and_asked_of_nobody(
    make_worker: MakeWorker, spoil: Callable[[Rows], Any], code: str
) -> None:
    worker = make_worker()
    worker.exchange.spoil = spoil

    wishes = await worker.decide()

    assert code in codes(wishes)
    assert (wishes.proposals, wishes.exits, worker.strategy.seen) == ((), (), [])
    assert all(refusal.fault for refusal in wishes.refusals)
    assert wishes.note.startswith("BTCUSDT: ")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [pair for pair in SPOILED if pair[1] not in {"data_flat", "data_no_volume", "data_empty"}],
)
async def test_a_bad_answer_is_asked_for_again_at_the_next_close(
    make_worker: MakeWorker, spoil: Callable[[Rows], Any], code: str
) -> None:
    worker = make_worker()
    worker.exchange.spoil = spoil
    assert code in codes(await worker.decide())

    worker.exchange.spoil = lambda rows: None
    worker.exchange.now += timedelta(minutes=15)
    wishes = await worker.decide()

    assert (len(wishes.proposals), codes(wishes)) == (1, [])


@pytest.mark.parametrize("name", ["h1", "eth"])
async def test_bad_data_of_another_series_is_bad_data(make_worker: MakeWorker, name: str) -> None:
    worker = make_worker(needs=EVERYTHING.model_copy(update={"series": ()}))
    interval = {"h1": "60", "eth": "15"}[name]

    async def call(method: str, **arguments: Any) -> Any:
        is_meant = arguments.get("interval") == interval
        is_meant &= (name == "eth") == (arguments.get("symbol") == "ETHUSDT")
        worker.exchange.spoil = row_of(4, 3, "NaN") if is_meant else lambda rows: None
        return await answering(method, **arguments)

    answering = worker.exchange.call
    worker.exchange.call = call  # type: ignore[method-assign]

    wishes = await worker.decide()

    (refusal,) = wishes.refusals
    assert (refusal.code, refusal.reason[: len(name) + 1]) == ("data_malformed", f"{name}:")
    assert worker.strategy.seen == []


@pytest.mark.parametrize("key", ["markPrice", "indexPrice"])
async def test_a_close_far_from_mark_or_index_is_not_traded(
    make_worker: MakeWorker, key: str
) -> None:
    worker = make_worker()
    worker.exchange.ticker = {key: str(worker.exchange.close() * 1.06)}

    wishes = await worker.decide()

    assert (codes(wishes), wishes.proposals, wishes.exits) == (["data_outlier"], (), ())


async def test_a_close_that_nothing_vouches_for_enters_nothing_and_leaves_all(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker()
    worker.exchange.away = {"get_tickers"}

    wishes = await worker.decide()

    assert (set(codes(wishes)), wishes.proposals) == ({"data_unverified"}, ())
    assert len(wishes.exits) == 1


async def test_a_young_market_is_no_failure(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.exchange.now = testing.BORN + timedelta(minutes=15 * 12)

    wishes = await worker.decide()

    (refusal,) = wishes.refusals
    assert (refusal.code, refusal.fault) == ("warming_up", False)
    assert wishes.note == "BTCUSDT: warming up, 12 of 40 candles"


async def test_an_answer_that_was_cut_short_is_not_taken_for_a_young_market(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker()
    worker.exchange.spoil = lambda rows: rows.__delitem__(slice(12, None))
    assert codes(await worker.decide()) == ["warming_up"]
    worker.exchange.spoil = lambda rows: None
    worker.exchange.now += timedelta(minutes=15)

    assert len((await worker.decide()).proposals) == 1


async def test_a_strategy_that_thinks_for_long_decides_on_old_data(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker()
    quick = worker.strategy.evaluate

    def slow(view: View) -> Answer:
        worker.pace.late = timedelta(seconds=31)
        return quick(view)

    monkeypatch.setattr(worker.strategy, "evaluate", slow)

    wishes = await worker.decide()

    assert (codes(wishes), wishes.proposals) == (["data_stale"], ())
    assert len(wishes.exits) == 1


async def test_old_data_enters_nothing_and_leaves_all(make_worker: MakeWorker) -> None:
    worker = make_worker("data: {max_age: 20s}\n")
    worker.pace.late = timedelta(seconds=21)

    wishes = await worker.decide()

    (refusal,) = wishes.refusals
    assert (refusal.code, refusal.fault, wishes.proposals) == ("data_stale", False, ())
    assert len(wishes.exits) == 1


async def test_on_bad_pause_rests_on_the_symbol_at_once(make_worker: MakeWorker) -> None:
    worker = make_worker("data: {on_bad: pause, pause: 2h}\n")
    worker.exchange.spoil = without(8)

    (refusal,) = (await worker.decide()).refusals

    assert (refusal.code, refusal.rest) == ("data_gap", timedelta(hours=2))


async def test_on_bad_degrade_asks_for_what_is_declared_for_it(make_worker: MakeWorker) -> None:
    worker = degrading(make_worker(knows_degraded=True))
    worker.exchange.spoil = without(8)

    (wish,) = (await worker.decide()).proposals

    assert wish.signal.reason == "degraded"


async def test_degraded_rules_enter_nothing_at_a_price_that_nothing_vouches_for(
    make_worker: MakeWorker,
) -> None:
    far, unknown = (degrading(make_worker(knows_degraded=True)) for _ in range(2))
    far.exchange.ticker = {"markPrice": str(far.exchange.close() * 1.06)}
    unknown.exchange.away = {"get_tickers"}

    for worker, codes_told, degraded in (
        (far, {"data_outlier"}, True),
        (unknown, {"data_unverified"}, False),
    ):
        wishes = await worker.decide()

        assert (set(codes(wishes)), wishes.proposals) == (codes_told, ())
        assert len(wishes.exits) == 1
        assert [view.degraded for view in worker.strategy.seen] == [degraded]


async def test_degraded_rules_are_asked_neither_without_need_nor_without_candles(
    make_worker: MakeWorker,
) -> None:
    sound, empty = (degrading(make_worker(knows_degraded=True)) for _ in range(2))
    unknowing = degrading(make_worker())
    empty.exchange.spoil = list.clear
    unknowing.exchange.spoil = without(8)

    (wish,) = (await sound.decide()).proposals

    assert wish.signal.reason == "whole"
    assert codes(await empty.decide()) == ["data_empty"]
    assert codes(await unknowing.decide()) == ["data_gap"]


@pytest.mark.parametrize(
    ("close", "code"),
    [("NaN", "no_levels"), ("inf", "no_levels"), ("0", "data_outlier"), ("-5", "data_outlier")],
)
async def test_degraded_rules_enter_nothing_at_a_price_that_is_none(
    make_worker: MakeWorker, close: str, code: str
) -> None:
    worker = degrading(make_worker(knows_degraded=True))
    worker.exchange.spoil, worker.exchange.spoiled_symbol = row_of(0, 4, close), "ETHUSDT"

    wishes = await worker.decide(symbols=("BTCUSDT", "ETHUSDT"))

    assert [wish.symbol for wish in wishes.proposals] == ["BTCUSDT"]
    assert [(r.symbol, r.code) for r in wishes.refusals] == [("ETHUSDT", code)]


async def test_one_bad_symbol_keeps_no_other_from_trading(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.exchange.spoil, worker.exchange.spoiled_symbol = without(8), "ETHUSDT"

    wishes = await worker.decide(symbols=("BTCUSDT", "ETHUSDT"))

    assert [wish.symbol for wish in wishes.proposals] == ["BTCUSDT"]
    assert [(refusal.symbol, refusal.code) for refusal in wishes.refusals] == [
        ("ETHUSDT", "data_gap")
    ]


async def test_one_symbol_that_cannot_be_read_keeps_no_other_from_trading(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker()
    answering = worker.exchange.call

    async def call(method: str, **arguments: Any) -> Any:
        if method == "get_kline" and arguments["symbol"] == "GONEUSDT":
            raise ExchangeUnreachable(method, "symbol invalid")
        return await answering(method, **arguments)

    worker.exchange.call = call  # type: ignore[method-assign]

    wishes = await worker.decide(symbols=("BTCUSDT", "GONEUSDT"))

    assert [wish.symbol for wish in wishes.proposals] == ["BTCUSDT"]
    assert [(r.symbol, r.code, r.fault) for r in wishes.refusals] == [
        ("GONEUSDT", "data_empty", True)
    ]
    # When none can be read, the activity fails, and Temporal tries again
    with pytest.raises(ExchangeUnreachable):
        await worker.decide(symbols=("GONEUSDT",))


async def test_a_history_that_cannot_be_read_is_told(make_worker: MakeWorker) -> None:
    worker = make_worker(needs=Needs(candles=40, series=("funding_rate",)))
    worker.exchange.away = {"get_funding_rate_history"}

    (refusal,) = (await worker.decide()).refusals

    assert refusal.code == "data_empty"
    assert refusal.reason.startswith("funding_rate: ")


async def test_degraded_rules_decide_where_a_history_cannot_be_read(
    make_worker: MakeWorker,
) -> None:
    needs = Needs(candles=40, series=("funding_rate",))
    worker = degrading(make_worker(needs=needs, knows_degraded=True))
    worker.exchange.away = {"get_funding_rate_history"}

    (wish,) = (await worker.decide()).proposals

    assert wish.signal.reason == "degraded"
    assert np.isnan(worker.strategy.seen[0].series["funding_rate"]).all()
