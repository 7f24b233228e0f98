"""One market activity with one strategy that remembers what it saw, on an exchange of data."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from activities.market import BybitMarket
from tests.activities.exchange_of_data import DataExchange, StandingPace
from tradewright.book import Book
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.protection import OnBad
from tradewright.domain.signal import ExitSignal, Signal
from tradewright.plugin import Evaluation as Answer
from tradewright.plugin import Need, Needs, View
from tradewright.ports import Evaluation, Proposals
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
        for part in (decider._facts, decider._correlations, decider._holdings):
            part._messenger = desk
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


def codes(wishes: Proposals) -> list[str]:
    return [refusal.code for refusal in wishes.refusals]


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


def degrading(worker: Worker) -> Worker:
    known = worker.market._library._loaded
    loaded = known[worker.hash]
    data = loaded.preset.data.model_copy(update={"on_bad": OnBad.DEGRADE})
    preset = loaded.preset.model_copy(update={"data": data})
    known[worker.hash] = dataclasses.replace(loaded, preset=preset)
    return worker
