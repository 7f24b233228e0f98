"""Recorded order books and trades: played at their own times, or refused with the line."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.paper.conftest import Open, eventually
from tests.paper.test_script import Stops
from tradewright.domain.market import Side
from tradewright.paper import PaperSettings
from tradewright.paper.market.ladder import Ladder
from tradewright.paper.market.move import Beat, Close, Depth, Print
from tradewright.paper.market.move import Path as Way
from tradewright.paper.market.opening import open_source
from tradewright.paper.market.recording import RecordingUnusable
from tradewright.paper.market.tape import Tape

START_MS = 1_700_000_040_000
RECORDED = Path(__file__).parents[3] / "shared" / "data"
BYBIT = RECORDED / "bybit_xrpusdt_orderbook500_2024-12-01.jsonl.gz"
STREAMS = RECORDED / "binance_btcusdt_depth_trades_2024-08-08.jsonl.gz"
needs_recordings = pytest.mark.skipif(
    not (BYBIT.exists() and STREAMS.exists()), reason="the recordings are not on this machine"
)


def book(
    at: int, bids: list[list[str]], asks: list[list[str]], kind: str = "delta"
) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": at, "seq": at}
    ts = START_MS + at
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": ts, "data": data, "cts": ts}


def traded(at: int, side: str, price: str, qty: str) -> dict[str, Any]:
    row = {"T": START_MS + at, "s": "BTCUSDT", "S": side, "p": price, "v": qty}
    return {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": START_MS + at, "data": [row]}


SNAPSHOT = book(0, [["100", "1"], ["99", "2"]], [["101", "1"], ["102", "2"]], "snapshot")


def written(folder: Path, *messages: Any, name: str = "tape.jsonl") -> Path:
    path = folder / name
    lines = [m if isinstance(m, str) else json.dumps(m) for m in messages]
    path.write_text("\n".join(lines) + "\n")
    return path


def played(tape: Tape, first: int = 0) -> list[Beat | Close]:
    async def play() -> list[Beat | Close]:
        return [item async for item in tape.play(first, Stops(), whole=False)]

    return asyncio.run(play())


def moves(items: list[Beat | Close]) -> list[Any]:
    return [m for item in items if isinstance(item, Beat) for m in item.moves]


def test_a_book_and_its_trades_are_played_at_their_times(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        SNAPSHOT,
        {"success": True, "op": "subscribe"},
        book(100, [["100", "0"], ["98", "5"]], []),
        traded(200, "Sell", "99", "0.5"),
        traded(90_000, "Buy", "101", "0.25"),
    )

    tape = Tape(path)
    items = played(tape)

    beats = [i for i in items if isinstance(i, Beat)]
    assert [b.at_ms - START_MS for b in beats] == [0, 100, 200, 90_000]
    first, second, third, _ = (b.moves[0] for b in beats)
    assert isinstance(first, Depth)
    assert first.snapshot
    assert second == Depth(
        "BTCUSDT", [(Decimal(100), Decimal(0)), (Decimal(98), Decimal(5))], [], snapshot=False
    )
    assert third == Print("BTCUSDT", Side.SELL, Decimal(99), Decimal("0.5"))
    assert [i.close_ms - tape.start_ms for i in items if isinstance(i, Close)] == [60_000, 120_000]
    assert tape.steps_total == 2


def test_candles_and_prices_are_those_of_the_trades(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        SNAPSHOT,
        traded(100, "Sell", "99", "1"),
        traded(200, "Buy", "103", "2"),
        traded(90_000, "Buy", "101", "0.25"),
    )
    tape = Tape(path)

    (bar,) = tape.series(1)["BTCUSDT"].newest_closed("1")

    assert [str(p) for p in bar[1:6]] == ["99", "103", "99", "103", "3"]
    assert tape.prices(0)["BTCUSDT"] == Decimal("100.5")
    assert tape.prices(1)["BTCUSDT"] == 103


def test_without_trades_the_middle_of_the_book_is_the_price(tmp_path: Path) -> None:
    path = written(tmp_path, SNAPSHOT, book(100, [["100.4", "1"]], []), book(200, [], []))

    ways = [m for m in moves(played(Tape(path))) if isinstance(m, Way)]

    assert [w.prices for w in ways] == [(Decimal("100.5"),), (Decimal("100.7"),)]


def test_what_lies_before_the_beginning_is_history_and_makes_the_book(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        SNAPSHOT,
        traded(100, "Sell", "99", "1"),
        book(60_000, [["97", "3"]], []),
        traded(120_000, "Buy", "101", "1"),
    )

    tape = Tape(path, begin=datetime.fromtimestamp((START_MS + 90_000) / 1000, UTC))

    assert len(list(tape.series(0)["BTCUSDT"].newest("1"))) == 1
    (depth, told) = moves(played(tape))
    assert isinstance(depth, Depth)
    assert depth.snapshot
    assert (Decimal(97), Decimal(3)) in depth.bids
    assert told.price == 101


def test_diffs_without_a_snapshot_begin_with_the_best_quotes(tmp_path: Path) -> None:
    def told(event: dict[str, Any]) -> str:
        at = START_MS + event["u"]
        return f"{at}000000 " + json.dumps(
            {"stream": "x", "data": {"E": at, "T": at, "s": "BTCUSDT", **event}}
        )

    path = written(
        tmp_path,
        told({"e": "depthUpdate", "U": 1, "u": 1, "b": [["90", "1"]], "a": [["120", "1"]]}),
        told({"e": "bookTicker", "u": 3, "b": "100", "B": "1", "a": "101", "A": "2"}),
        # Older than the quotes: its 100.5 has been taken away since
        told({"e": "depthUpdate", "U": 2, "u": 2, "b": [["100.5", "1"], ["99", "4"]], "a": []}),
        told({"e": "bookTicker", "u": 9, "b": "98", "B": "1", "a": "99", "A": "2"}),
        told({"e": "trade", "u": 10, "t": 1, "p": "99", "q": "1", "X": "MARKET", "m": True}),
        told({"e": "trade", "u": 11, "t": 2, "p": "0", "q": "1", "X": "NA", "m": True}),
    )

    found = moves(played(Tape(path)))

    ladder = Ladder()
    for depth in (m for m in found if isinstance(m, Depth)):
        ladder.put(depth.bids, depth.asks)
    bids, asks = ladder.levels()
    assert [float(price) for price, _ in bids] == [98]
    assert [float(price) for price, _ in asks] == [99, 101]
    assert [m for m in found if isinstance(m, Print)] == [
        Print("BTCUSDT", Side.SELL, Decimal(99), Decimal(1))
    ]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("{", "it is no JSON: "),
        ("hello", "it is no JSON object"),
        (book(1, [["x", "1"]], []), "'x' is no number"),
        (book(1, [["-1", "1"]], []), "price -1 is not above zero"),
        (book(1, [["1", "-1"]], []), "quantity -1 is below zero"),
        (book(1, [["1"]], []), "it is not of the form expected"),
        (
            {**SNAPSHOT, "data": {"s": "BTCUSDT", "b": [[1, 2]], "a": []}},
            "1 is no number in quotes",
        ),
        (traded(1, "Long", "1", "1"), "side 'Long' is neither Buy nor Sell"),
        ({"topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": 1}, "data is missing"),
        (book(-120_000, [], []), "it was told 120000 ms before an earlier line"),
        ({**book(1, [], []), "cts": "now"}, "time 'now' is not in milliseconds since 1970"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path: Path, line: Any, detail: str) -> None:
    path = written(tmp_path, SNAPSHOT, line)

    with pytest.raises(RecordingUnusable) as failure:
        Tape(path)

    assert str(failure.value).startswith(f"recording {path}:2 cannot be played: {detail}")


@pytest.mark.parametrize(
    "content",
    [b"", b'{"op":"pong"}\n', gzip.compress(b"{}\n" * 50)[:-9]],
    ids=["nothing", "no book", "torn"],
)
def test_a_file_without_a_book_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tape.jsonl"
    path.write_bytes(content)

    with pytest.raises(RecordingUnusable, match=r"no order book|no whole gzip file"):
        Tape(path)


LEVELS = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=30).map(Decimal),
        st.integers(min_value=0, max_value=5).map(Decimal),
    ),
    max_size=5,
)


@given(st.lists(st.tuples(LEVELS, LEVELS), max_size=20))
def test_a_book_never_crosses_and_its_changes_rebuild_it(changes: list[Any]) -> None:
    ladder, copy = Ladder(), (dict[Decimal, Decimal](), dict[Decimal, Decimal]())

    for bids, asks in changes:
        for side, told in zip(copy, ladder.put(bids, asks), strict=True):
            side |= told
        levels = ladder.levels()
        if ladder.is_whole:
            assert levels[0][0][0] < levels[1][0][0]
        for side, shown in zip(copy, levels, strict=True):
            assert {p: q for p, q in side.items() if q} == dict(shown)


@needs_recordings
def test_a_recorded_book_of_bybit_plays_whole() -> None:
    tape = Tape(BYBIT)
    found = moves(played(tape))

    depths = [m for m in found if isinstance(m, Depth)]
    assert len(depths) == 50
    assert len(depths[0].bids) > 400
    assert tape.listings["XRPUSDT"].instrument.tick_size == Decimal("0.0001")


@needs_recordings
def test_recorded_diffs_quotes_and_trades_play_whole() -> None:
    tape = Tape(STREAMS, end=datetime(2024, 8, 8, 23, 54, 40, tzinfo=UTC))
    items = played(tape)

    found = moves(items)
    assert sum(isinstance(m, Print) for m in found) > 500
    assert sum(isinstance(m, Depth) for m in found) > 2000
    assert sum(isinstance(i, Close) for i in items) == tape.steps_total == 1
    times = [i.at_ms for i in items if isinstance(i, Beat)]
    assert times == sorted(times)


@needs_recordings
@pytest.mark.parametrize("speed", [20.0, "lockstep"])
async def test_orders_fill_against_a_recorded_book(open_desk: Open, speed: Any) -> None:
    desk = await open_desk(market=BYBIT, speed=speed)
    exchange = desk.paper.exchange
    if speed == "lockstep":
        await desk.step()
    else:
        await eventually(lambda: exchange.phase == "ended")
    _, asks = exchange.engine.levels("XRPUSDT", 3)

    await desk.buy(str(asks[0][1] + 10), symbol="XRPUSDT")

    fills = await desk.executions()
    assert [(Decimal(f["execPrice"]), Decimal(f["execQty"])) for f in fills] == [
        asks[0],
        (asks[1][0], 10),
    ]


def test_a_source_is_chosen_by_what_a_file_holds(
    tmp_path: Path, make_settings: Callable[..., PaperSettings]
) -> None:
    packed = tmp_path / "messages.gz"
    packed.write_bytes(gzip.compress(json.dumps(SNAPSHOT).encode() + b"\n"))
    plain = written(tmp_path, SNAPSHOT, name="messages.txt")
    now = datetime.now(UTC)

    kinds = [
        type(open_source(make_settings(market=path), now)).__name__ for path in (packed, plain)
    ]

    assert kinds == ["Tape", "Tape"]
