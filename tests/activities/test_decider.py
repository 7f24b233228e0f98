"""What a strategy is shown when it decides, and the protections that bar its entries."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from activities.pace import milliseconds
from tests.activities.decider_worker import DOCUMENT, EVERYTHING, MakeWorker, Worker, codes
from tests.activities.exchange_of_data import START


async def test_sound_data_is_decided_on(make_worker: MakeWorker) -> None:
    worker = make_worker()

    wishes = await worker.decide()

    (wish,) = wishes.proposals
    assert (wish.price, codes(wishes)) == (Decimal(repr(worker.exchange.close())), [])
    assert wish.market.keys() == {"mark_price", "index_price", "bid", "ask"}
    assert len(wishes.exits) == 1


async def test_a_view_holds_all_that_was_asked_for_and_nothing_of_the_future(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker(needs=EVERYTHING)
    worker.ask_desk({})
    worker.exchange.now = START + timedelta(minutes=45)

    await worker.decide()

    (view,) = worker.strategy.seen
    at = milliseconds(view.at)
    assert view.at == worker.exchange.now
    assert view.candles.open_time[-1] == at - 15 * 60_000
    assert view.others["eth"].open_time[-1] == at - 15 * 60_000
    # The hour that is under way is not seen
    assert view.others["h1"].open_time[-1] == milliseconds(START) - 3_600_000
    assert all(len(each) == len(view.candles) for each in view.series.values())
    closes = view.candles.open_time + 15 * 60_000
    assert view.series["open_interest"].tolist() == [
        (close - 60_000) // 900_000 for close in closes.tolist()
    ]
    eight = 8 * 3_600_000
    assert view.series["funding_rate"].tolist() == [
        (close - 60_000) // eight / 1e9 for close in closes.tolist()
    ]
    assert view.series["mark_price"].tolist() == view.candles.close.tolist()
    assert view.series["book.imbalance"][-1] == pytest.approx(0.75, abs=0.01)
    assert np.isnan(view.series["book.imbalance"][:-1]).all()
    assert np.isnan(view.series["position.r"]).all()
    with pytest.raises(ValueError, match="read-only"):
        view.series["funding_rate"][0] = 1.0


async def test_what_is_needed_at_the_next_close_is_fetched_once(make_worker: MakeWorker) -> None:
    worker = make_worker(needs=EVERYTHING)
    worker.ask_desk({})
    worker.exchange.now += timedelta(minutes=15)
    await worker.decide()
    worker.exchange.calls.clear()

    worker.exchange.now += timedelta(minutes=15)
    await asyncio.gather(*(worker.decide() for _ in range(20)))

    counted = {method: worker.exchange.count(method) for method, _ in worker.exchange.calls}
    # Two symbols' candles; the hour has not closed, funding is not due
    assert counted == {
        "get_kline": 2,
        "get_mark_price_kline": 1,
        "get_open_interest": 1,
        "get_tickers": 1,
        "get_orderbook": 1,
    }
    assert len(worker.strategy.seen) == 21


async def test_many_symbols_take_one_answer_of_tickers(make_worker: MakeWorker) -> None:
    worker = make_worker()
    symbols = tuple(f"S{number}USDT" for number in range(12))
    for symbol in symbols:
        worker.exchange.close(symbol)

    wishes = await worker.decide(symbols=symbols)

    assert len(wishes.proposals) == 12
    assert worker.exchange.count("get_tickers") == 1
    assert worker.exchange.count("get_kline") == 12


@pytest.mark.parametrize(
    ("protections", "code"),
    [
        ("{sessions: [{days: [sun]}]}", "outside_session"),
        ("{max_spread_bp: 0.1}", "spread_too_wide"),
        ("{max_slippage_bp: 0.1}", "slippage_too_large"),
        ("{sessions: [{days: [tue]}], max_spread_bp: 5, max_slippage_bp: 5}", None),
    ],
)
async def test_protections_bar_an_entry_by_code_and_show_what_was_barred(
    make_worker: MakeWorker, protections: str, code: str | None
) -> None:
    wishes = await make_worker(f"protections: {protections}\n").decide()

    assert codes(wishes) == ([code] if code else [])
    assert len(wishes.proposals) == (0 if code else 1)
    assert len(wishes.exits) == 1
    for refusal in wishes.refusals:
        assert refusal.proposal is not None
        assert not refusal.fault


@pytest.mark.parametrize(
    ("guard", "code"),
    [("max_spread_bp: 5", "spread_too_wide"), ("max_slippage_bp: 5", "slippage_too_large")],
)
async def test_an_old_ticker_vouches_for_no_spread_and_no_slippage(
    make_worker: MakeWorker, guard: str, code: str
) -> None:
    worker = make_worker(f"protections: {{{guard}}}\n")
    assert codes(await worker.decide()) == []
    worker.exchange.away = {"get_tickers"}
    worker.exchange.now += timedelta(minutes=15)
    reads = worker.market._decider._tickers._reads
    read = reads["BTCUSDT"]
    reads["BTCUSDT"] = read._replace(at=read.at - timedelta(seconds=6))

    wishes = await worker.decide()

    assert (codes(wishes), wishes.proposals) == ([code], ())
    assert "unknown" in wishes.refusals[0].reason


async def test_a_limit_entry_has_no_slippage(make_worker: MakeWorker) -> None:
    text = DOCUMENT.replace(
        "{type: market, expires_after: 30s}", "{type: limit, expires_after: 30s, rest_candles: 2}"
    )
    worker = make_worker()
    again = Worker(worker.exchange, text + "protections: {max_slippage_bp: 0.1}\n", worker.strategy)

    assert codes(await again.decide()) == []
