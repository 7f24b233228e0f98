"""What an update of an order book costs, from the message to the strategy's answer.

``python -m bench.order_book [RECORDING]`` takes recorded messages of Bybit (or a market made here,
without a recording), cut to 50 levels, and prints the time of each step beside the anchor of the
same run: decoding the JSON of a message.
"""

import asyncio
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from activities.book_feed import BookFeed, BookTopic
from activities.sentry import Sentry
from activities.strategist import Strategist
from tradewright.book import Book, Ladder
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles, View
from tradewright.preset import LoadedPreset, loads

RECORDING = Path("/work/shared/data/bybit_xrpusdt_orderbook500_2024-12-01.jsonl.gz")
SYMBOL = "XRPUSDT"
LEVELS = 50
ROUNDS = 40
AIM_US = 20.0
PRESET = f"""\
version: 1
name: imbalance
market: {{category: linear, symbols: [{SYMBOL}]}}
trigger: {{on: order_book, depth: 50, timeframe: 1m, at_most_every: 5s}}
strategy:
  plugin: rules
  params:
    indicators: {{slow: {{ta: EMA, timeperiod: 50}}}}
    let: {{tight: book.spread_bps < 2}}
    long: book.imbalance > 0.75 and book.bid_cluster >= 10000 and tight and close > slow
    short: book.imbalance < 0.25 and book.ask_cluster >= 10000 and tight and close < slow
entry: {{type: market, expires_after: 3s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 1}}}}
risk: {{sizing: fixed_notional, notional: 100}}
"""


def recorded(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        yield from map(json.loads, lines)


def made() -> Iterator[dict[str, Any]]:
    chance = np.random.default_rng(7)
    sides = {"b": [19_500 - n for n in range(500)], "a": [19_501 + n for n in range(500)]}
    for number in range(50):
        data: dict[str, Any] = {"s": SYMBOL, "u": number + 1}
        for side, prices in sides.items():
            some = prices if not number else chance.choice(prices[:60], 18, replace=False)
            data[side] = [[f"{p / 10_000:.4f}", str(chance.integers(1, 50_000))] for p in some]
        yield {
            "type": "delta" if number else "snapshot",
            "cts": 1_733_011_200_000 + 100 * number,
        } | {"data": data}


def messages(path: Path) -> list[dict[str, Any]]:
    """Return what the topic of 50 levels would have told: each change of what is shown of it."""
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    shown: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    found = []
    for message in recorded(path) if path.exists() else made():
        data = message["data"]
        told: dict[str, Any] = {"s": SYMBOL, "u": data["u"]}
        for side, levels in sides.items():
            for price, qty in data[side]:
                levels[price] = qty
                if not float(qty):
                    del levels[price]
            best = sorted(levels, key=float, reverse=side == "b")[:LEVELS]
            now = {price: levels[price] for price in best}
            before, shown[side] = shown[side], now
            changed = [[p, q] for p, q in now.items() if before.get(p) != q]
            told[side] = changed + [[p, "0"] for p in before.keys() - now.keys()]
        found.append(
            {
                "topic": f"orderbook.{LEVELS}.{SYMBOL}",
                "type": message["type"],
                "ts": message["cts"],
                "cts": message["cts"],
                "data": told,
            }
        )
    return found


def per_update(updates: int, deed: Callable[[], None]) -> float:
    """Return the median microseconds of CPU of one update, over `ROUNDS` runs of all of them."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        deed()
        times.append(1e6 * (time.process_time() - began) / updates)
    return statistics.median(times)


def view(at_ms: int) -> View:
    minute = at_ms // 60_000 * 60_000
    opened = np.arange(minute - 300 * 60_000, minute, 60_000)
    prices = 1.95 + 0.001 * np.sin(np.arange(300) / 7)
    return View(
        symbol=SYMBOL,
        at=datetime.fromtimestamp(minute / 1000, UTC),
        timeframe=Timeframe.M1,
        candles=Candles(opened, prices, prices, prices, prices, np.ones(300)),
    )


async def main(path: Path) -> None:
    told = messages(path)
    texts = [json.dumps(message) for message in told]
    count = len(told)
    levels = statistics.mean(len(m["data"]["b"]) + len(m["data"]["a"]) for m in told[1:])

    def decode() -> None:
        for text in texts:
            json.loads(text)

    ladder = Ladder(SYMBOL)

    def put() -> None:
        for message in told:
            data = message["data"]
            take = ladder.restart if message["type"] == "snapshot" else ladder.change
            take(data["u"], message["cts"], data["b"], data["a"])

    def reckon() -> None:
        for _ in range(count):
            ladder.book()

    loaded = loads(PRESET)
    put()
    book = ladder.book()
    assert book is not None
    seen, reading = view(book.at_ms), _reading(loaded)

    def answer() -> None:
        for _ in range(count):
            reading(seen, book)

    anchor = per_update(count, decode)
    steps = {
        "the levels": per_update(count, put),
        "its numbers": per_update(count, reckon),
        "the rules": per_update(count, answer),
    }
    whole = await _whole(loaded, told)
    print(f"{count} updates of {levels:.0f} levels on average, {LEVELS} on each side")
    print(f"anchor: decode the message   {anchor:.1f} us")
    for name, took in steps.items():
        print(f"{name:<28} {took:.1f} us")
    evaluation = steps["its numbers"] + steps["the rules"]
    print(f"evaluation: numbers, rules   {evaluation:.1f} us (aim: {AIM_US:g})")
    print(
        f"feed and sentry, all of it   {whole:.1f} us = {whole / anchor:.1f} anchors, "
        f"{1e6 / (whole + anchor):,.0f} updates/s of one core with decoding"
    )


def _reading(loaded: LoadedPreset) -> Callable[[View, Book], object]:
    strategy: Any = loaded.strategy
    reading: Callable[[View, Book], object] = strategy.on_book
    return reading


async def _whole(loaded: LoadedPreset, told: list[dict[str, Any]]) -> float:
    """Return the microseconds of CPU of one update through the feed and the sentry's task."""
    topic, looked = BookTopic(LEVELS, SYMBOL), 0
    nobody: Any = None

    async def eyes(*_: object) -> Any:
        return SimpleNamespace(view=view(told[0]["cts"]), is_short=False)

    def changed(at: BookTopic) -> None:
        sentry.note(at.symbol)

    def book(symbol: str) -> Book | None:
        nonlocal looked
        looked += 1
        return feed.book(topic)

    feed = BookFeed("ws://127.0.0.1:9", changed)
    strategist = Strategist()
    sentry = Sentry(loaded, eyes=eyes, strategist=strategist, messenger=nobody, book=book)
    sentry.watch([SYMBOL], {}, {})
    await feed.follow([topic])
    duty = asyncio.create_task(sentry.run())
    times = []
    for _ in range(ROUNDS):
        before, began = looked, time.process_time()
        for message in told:
            feed._hear(message)
            # As between two messages of the stream: whoever is due has its turn
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        times.append(1e6 * (time.process_time() - began) / len(told))
    assert looked - before == len(told), "an update was not looked at"
    duty.cancel()
    return statistics.median(times)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDING))
