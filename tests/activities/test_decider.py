"""Nothing is decided on bad data, every refusal has its code, and exits wait for little."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from activities import lookout
from activities.market import BybitMarket
from activities.pace import milliseconds
from tests.activities.exchange_of_data import START, DataExchange, Rows, StandingPace
from tradewright import testing
from tradewright.book import Book
from tradewright.domain.account import Account, Reservation
from tradewright.domain.account.snapshot import Snapshot
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.protection import OnBad
from tradewright.domain.signal import ExitSignal, Signal
from tradewright.domain.trade import Trade
from tradewright.plugin import Evaluation as Answer
from tradewright.plugin import Need, Needs, View
from tradewright.ports import BookTrigger, Evaluation, Proposals, TradeView
from tradewright.preset import loads

DOCUMENT = """\
version: 1
name: watched
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy: {plugin: donchian_breakout}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}}
risk: {sizing: fixed_notional, notional: 500}
"""
MakeInstrument = Callable[..., Instrument]


class Watcher:
    """Buys whatever it sees, wants shorts left, and remembers what it saw."""

    needs = Needs(candles=40)
    factor_names = frozenset({"atr"})
    knows_degraded = False

    def __init__(self, **changes: Any) -> None:
        self.seen: list[View] = []
        self.books: list[Book] = []
        for name, value in changes.items():
            setattr(self, name, value)

    def evaluate(self, view: View) -> Answer:
        self.seen.append(view)
        reason = "degraded" if view.degraded else "whole"
        signal = Signal(side=Side.BUY, reason=reason)
        return Answer(signal=signal, exits=(ExitSignal(side=Side.SELL),), factors={"n": 1.0})

    def on_book(self, view: View, book: Book) -> Answer:
        self.books.append(book)
        return self.evaluate(view)


class Desk:
    """Answers as the workflows of desk and trades would."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def ask_in_time(self, workflow_id: str, query: str, *_: Any) -> Any:
        self.asked.append(workflow_id)
        return self.answers.get(workflow_id)


class Worker:
    """One market activity with one strategy, on an exchange of data."""

    def __init__(self, exchange: DataExchange, text: str, strategy: Watcher) -> None:
        nobody: Any = None
        self.exchange, self.strategy = exchange, strategy
        self.pace = StandingPace(exchange)
        self.market = BybitMarket(nobody, exchange, nobody, self.pace, "ws://nowhere")
        loaded = loads(text)
        fake: Any = strategy
        self.hash = loaded.hash
        known = self.market._library._loaded
        known[loaded.hash] = dataclasses.replace(loaded, strategy=fake)

    def ask_desk(self, answers: Mapping[str, Any]) -> Desk:
        desk: Any = Desk(answers)
        decider = self.market._decider
        decider._facts._messenger = decider._correlations._messenger = desk
        found: Desk = desk
        return found

    async def decide(self, **changes: Any) -> Proposals:
        asked = Evaluation(
            account="main",
            preset="watched",
            preset_hash=self.hash,
            symbols=("BTCUSDT",),
            close_time=self.exchange.now,
        )
        return await self.market.evaluate(asked.model_copy(update=changes))


MakeWorker = Callable[..., Worker]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "CANDLE_WAIT", 0.0)


@pytest.fixture
def make_worker(make_instrument: MakeInstrument) -> MakeWorker:
    def make(more: str = "", **strategy: Any) -> Worker:
        exchange = DataExchange(make_instrument())
        return Worker(exchange, DOCUMENT + more, Watcher(**strategy))

    return make


def codes(wishes: Proposals) -> list[str]:
    return [refusal.code for refusal in wishes.refusals]


# --- views ----------------------------------------------------------------------------------------


async def test_sound_data_is_decided_on(make_worker: MakeWorker) -> None:
    worker = make_worker()

    wishes = await worker.decide()

    (wish,) = wishes.proposals
    assert (wish.price, codes(wishes)) == (Decimal(repr(worker.exchange.close())), [])
    assert wish.market.keys() == {"mark_price", "index_price", "bid", "ask"}
    assert len(wishes.exits) == 1


EVERYTHING = Needs(
    candles=40,
    others={
        "h1": Need(timeframe=Timeframe.H1, candles=30),
        "eth": Need(symbol="ETHUSDT", candles=10),
    },
    series=(
        *("funding_rate", "open_interest", "mark_price"),
        *("book.imbalance", "position.r", "account.equity"),
    ),
)


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


# --- bad data -------------------------------------------------------------------------------------


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


def degrading(worker: Worker) -> Worker:
    known = worker.market._library._loaded
    loaded = known[worker.hash]
    data = loaded.preset.data.model_copy(update={"on_bad": OnBad.DEGRADE})
    preset = loaded.preset.model_copy(update={"data": data})
    known[worker.hash] = dataclasses.replace(loaded, preset=preset)
    return worker


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


# --- protections ----------------------------------------------------------------------------------


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


# --- order books ----------------------------------------------------------------------------------


def trigger_of(worker: Worker) -> BookTrigger:
    price = worker.exchange.close()
    at = worker.exchange.now
    made = dataclasses.replace(testing.make_book(1), best_bid=price - 0.5, best_ask=price + 0.5)
    return BookTrigger(
        number=milliseconds(at),
        symbol="BTCUSDT",
        at=at,
        book=made.numbers(),
        price=Decimal(repr(price + 0.5)),
    )


async def test_a_book_is_decided_on_at_its_own_price(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.exchange.now = START + timedelta(seconds=437)
    trigger = trigger_of(worker)

    wishes = await worker.decide(book=trigger)

    (wish,) = wishes.proposals
    assert (wish.price, wish.trigger) == (trigger.price, worker.exchange.now)
    (book,) = worker.strategy.books
    assert book.numbers() == trigger.book
    # The candles are those that had closed then
    (view,) = worker.strategy.seen
    assert view.at == START


@pytest.mark.parametrize(
    ("changes", "late", "code"),
    [
        ({"best_ask": 1.0}, 0, "book_crossed"),
        ({}, 6, "book_stale"),
    ],
)
async def test_a_crossed_or_old_book_enters_nothing(
    make_worker: MakeWorker, changes: dict[str, float], late: int, code: str
) -> None:
    worker = make_worker(knows_degraded=True)
    trigger = trigger_of(worker)
    crossed = trigger.model_copy(update={"book": trigger.book | changes})
    worker.pace.late = timedelta(seconds=late)

    for each in (worker, degrading(worker)):
        wishes = await each.decide(book=crossed)

        assert (codes(wishes), wishes.proposals) == ([code], ())


SEES_BOOKS = Needs(candles=40, series=("book.imbalance",))


@pytest.mark.parametrize(
    "told", [{"cts": 1_000}, {"b": []}, {"b": [["1e9", "1"]]}], ids=["stale", "empty", "crossed"]
)
async def test_candles_enter_nothing_by_a_book_that_is_old_or_makes_no_sense(
    make_worker: MakeWorker, told: dict[str, Any]
) -> None:
    worker = make_worker(needs=SEES_BOOKS)
    worker.ask_desk({})
    worker.exchange.book = told

    wishes = await worker.decide()

    assert (codes(wishes), wishes.proposals) == (["book_stale"], ())
    assert len(wishes.exits) == 1


BY_BOOK = DOCUMENT.replace("on: candle, ", "on: order_book, ").replace(
    "{plugin: donchian_breakout}",
    "{plugin: rules, params: {long: book.imbalance > 0.9, exit_long: book.imbalance < 0.1}}",
)


@pytest.mark.parametrize("version", ["running", "earlier"])
async def test_a_candle_asks_once_more_what_the_book_wants_left(
    make_worker: MakeWorker, version: str
) -> None:
    """A call of the book is made once; what came of it may have failed."""
    worker = make_worker()
    strategy = Watcher(needs=SEES_BOOKS)
    of_book = Worker(worker.exchange, BY_BOOK, strategy)
    of_book.ask_desk({})
    changes: dict[str, Any] = {"exits_only": True}
    if version == "earlier":
        running = make_worker().market._library._loaded
        of_book.market._library._loaded |= running
        changes |= {"preset_hash": next(iter(running)), "earlier": (of_book.hash,)}

    wishes = await of_book.decide(**changes)

    assert of_book.hash in {leave.preset_hash for leave in wishes.exits}
    (view,) = strategy.seen
    assert view.series["book.imbalance"][-1] == pytest.approx(0.75, abs=0.01)


async def test_a_ticker_vouches_for_many_books(make_worker: MakeWorker) -> None:
    worker = make_worker()

    for second in range(10):
        worker.exchange.now = START + timedelta(seconds=second)
        await worker.decide(book=trigger_of(worker))

    assert worker.exchange.count("get_tickers") == 1


# --- facts ----------------------------------------------------------------------------------------


@pytest.fixture
def make_plan(make_instrument: MakeInstrument) -> Callable[..., TradePlan]:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": "twaaaaaaaaaaaaaaaa",
            "account": "main",
            "preset": "watched",
            "preset_hash": "unset",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(30000),
            "stop_loss": Decimal(29000),
            "exits": ExitRules(timeframe=Timeframe.M15),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "trigger": START,
            "decided_at": START,
            "expires_at": START,
        }
        return TradePlan.model_validate(fields | changes)

    return make


def desk_with(*plans: TradePlan) -> Account:
    snapshot = Snapshot(at=START, market_at=START, equity=Decimal(12345), wallet=Decimal(12345))
    held = tuple(Reservation(plan=plan, at=START) for plan in plans)
    return Account(name="main", started_at=START, reservations=held, snapshot=snapshot)


FACTS = Needs(
    candles=40,
    series=(
        *("position.r", "position.candles", "position.pnl"),
        *("account.equity", "account.open_trades"),
    ),
)


async def test_exit_rules_see_the_open_trade_and_the_account(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash=worker.hash)
    trade = Trade(
        plan=plan,
        adopted_qty=Decimal("0.01"),
        adopted_price=Decimal(30000),
        opened_at=START - timedelta(minutes=50),
    )
    worker.ask_desk(
        {
            "account/main": desk_with(plan),
            f"trade/BTCUSDT/{plan.trade_id}": TradeView(trade=trade, busy=False),
        }
    )

    await worker.decide()

    (view,) = worker.strategy.seen
    gain = worker.exchange.close() - 30_000
    last = {name: float(values[-1]) for name, values in view.series.items()}
    assert last == pytest.approx(
        {
            "position.r": gain / 1000,
            "position.candles": 3.0,
            "position.pnl": gain * 0.01,
            "account.equity": 12345.0,
            "account.open_trades": 1.0,
        }
    )


async def test_exit_rules_see_the_virtual_trade_where_there_is_no_other(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash=worker.hash)
    trade = Trade(
        plan=plan, adopted_qty=Decimal("0.01"), adopted_price=Decimal(30000), opened_at=START
    )
    virtual = f"shadow/BTCUSDT/{plan.trade_id}"
    desk = worker.ask_desk(
        {"account/main": desk_with(), virtual: TradeView(trade=trade, busy=False)}
    )

    await worker.decide(shadows=("shadow/ETHUSDT/other", virtual))

    (view,) = worker.strategy.seen
    assert view.series["position.candles"][-1] == 0.0
    assert desk.asked == ["account/main", virtual]


async def test_a_trade_of_another_version_is_not_its_own(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash="other")
    trade = Trade(
        plan=plan, adopted_qty=Decimal("0.01"), adopted_price=Decimal(30000), opened_at=START
    )
    other = f"trade/BTCUSDT/{plan.trade_id}"
    worker.ask_desk({"account/main": desk_with(plan), other: TradeView(trade=trade, busy=False)})

    await worker.decide()

    (view,) = worker.strategy.seen
    assert np.isnan(view.series["position.r"][-1])
    assert view.series["account.open_trades"][-1] == 1.0


async def test_who_wants_to_know_nothing_asks_nobody(make_worker: MakeWorker) -> None:
    worker = make_worker()
    desk = worker.ask_desk({})

    await worker.decide()

    assert desk.asked == []


async def test_correlations_with_what_is_held_go_with_the_proposal(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    text = DOCUMENT.replace("notional: 500}", "notional: 500, correlation: {max: 0.8}}")
    worker = make_worker()
    again = Worker(worker.exchange, text, worker.strategy)
    held = [make_plan(symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT", "CTBUSDT", "GONE")]
    again.ask_desk({"account/main": desk_with(*held)})
    answering = worker.exchange.call

    async def call(method: str, **arguments: Any) -> Any:
        if arguments.get("symbol") == "GONE":
            raise ExchangeUnreachable(method, "symbol invalid")
        return await answering(method, **arguments)

    worker.exchange.call = call  # type: ignore[method-assign]

    (wish,) = (await again.decide()).proposals

    # CTB is drawn from the same seed as BTC: it moves alike; of itself and GONE nothing is told
    assert wish.correlations.keys() == {"ETHUSDT", "CTBUSDT"}
    assert wish.correlations["CTBUSDT"] == pytest.approx(1.0)
    assert abs(wish.correlations["ETHUSDT"]) < 0.5
