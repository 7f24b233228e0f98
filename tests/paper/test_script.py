"""Scripted markets: prices do what was written, and mistakes are told with their place."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.paper.conftest import START, Desk, Open, WriteCandles, eventually
from tradewright.paper import PaperSettings
from tradewright.paper.market.act import WAYS, ActTooFar, ActUnknown, parse_act
from tradewright.paper.market.move import (
    Beat,
    Close,
    Funding,
    Halt,
    Nowhere,
    Reference,
    Width,
)
from tradewright.paper.market.move import Path as Way
from tradewright.paper.market.schema import schema
from tradewright.paper.market.script import Script, ScriptInvalid, load_script, read_script
from tradewright.paper.market.scripted import ScriptSource

MakeSettings = Callable[..., PaperSettings]


class Stops(Nowhere):
    """An exchange in which nothing waits but stops."""

    def __init__(self, *triggers: int) -> None:
        self._triggers = [Decimal(t) for t in triggers]

    def triggers(self, symbol: str) -> list[Decimal]:
        return self._triggers


def beats(script: Script, floor: Stops | None = None) -> list[Beat | Close]:
    source = ScriptSource(script, PaperSettings(speed="lockstep", history=2, start=START), START)

    async def play() -> list[Beat | Close]:
        return [item async for item in source.play(0, floor or Stops(), whole=True)]

    return asyncio.run(play())


def prices(script: Script, symbol: str = "BTCUSDT", floor: Stops | None = None) -> dict[int, str]:
    """Return the prices of *symbol* by the milliseconds from the start."""
    start_ms = int(START.timestamp() * 1000)
    return {
        item.at_ms - start_ms: f"{move.prices[-1].normalize():f}"
        for item in beats(script, floor)
        if isinstance(item, Beat)
        for move in item.moves
        if isinstance(move, Way) and move.symbol == symbol
    }


def moves(script: Script, kind: Any) -> list[Any]:
    played = [i for i in beats(script) if isinstance(i, Beat)]
    return [m for i in played for m in i.moves if isinstance(m, kind)]


def test_a_price_falls_evenly_and_stays(make_settings: MakeSettings) -> None:
    told = prices(Script.of("fall 3 % in 2 s", "hold 2 s", ends=True, BTCUSDT=50_000))

    assert (told[0], told[1000], told[2000], told[4000]) == ("50000", "49250", "48500", "48500")
    assert [told[n] for n in (100, 200, 300)] == ["49925", "49850", "49775"]


@pytest.mark.parametrize(
    ("act", "end"),
    [
        ("rise 2 % in 1 s", "51000"),
        ("fall to 48000.5 in 1 s", "48000.5"),
        ("move to 50123.4 in 1 s", "50123.4"),
        ("gap to 47000", "47000"),
        ("gap up 1 %", "50500"),
        ("gap down 1%", "49500"),
        ("wave 1 % every 1 s for 3 s", "50000"),
    ],
)
def test_a_price_ends_where_it_was_sent(act: str, end: str) -> None:
    told = prices(Script.of(act, "hold 1 s", ends=True, BTCUSDT=50_000))

    assert told[max(told)] == end


def test_a_wave_swings_to_both_sides() -> None:
    told = prices(Script.of("wave 1 % every 4 s for 4 s", ends=True, BTCUSDT=50_000))

    assert (told[1000], told[2000], told[3000], told[4000]) == ("50500", "50000", "49500", "50000")


def test_a_gap_goes_through_the_nearest_stop() -> None:
    script = Script.of("hold 1 s", "gap through the stop by 1 %", "hold 1 s", ends=True)

    assert prices(script, floor=Stops(40_000, 49_000, 53_000))[2000] == "48510"
    assert prices(script, floor=Stops(40_000, 50_500))[2000] == "51005"
    assert prices(script, floor=Stops())[2000] == "50000"


def test_acts_of_several_symbols_go_together_and_are_repeated() -> None:
    script = Script.of(
        {
            "repeat": 2,
            "acts": [{"BTCUSDT": "fall 1 % in 2 s", "ETHUSDT": "rise 1 % in 1 s"}, "hold 1 s"],
        },
        ends=True,
        BTCUSDT=50_000,
        ETHUSDT=2000,
    )

    bitcoin, ether = prices(script), prices(script, "ETHUSDT")

    assert (bitcoin[2000], bitcoin[3000], bitcoin[6000]) == ("49500", "49500", "49005")
    assert (ether[1000], ether[3000], ether[6000]) == ("2020", "2020", "2040.2")


def test_what_is_not_a_price_is_told_too() -> None:
    script = Script.of(
        *("spread 5 ticks", "depth 10000", "mark 1 % below last", "index 51000", "hold 1 s"),
        *("mark follows last", "funding 0.01 %", "funding -0.05 % now", "halt", "hold 2 s"),
        *("resume", "hold 1 s"),
        ends=True,
    )

    assert moves(script, Width)[-1] == Width("BTCUSDT", 5, Decimal(10_000))
    references = [(r.mark, r.index, r.funding_rate) for r in moves(script, Reference)]
    assert (Decimal(49_500), Decimal(51_000), None) in references
    assert (Decimal(50_000), Decimal(51_000), None) in references
    assert (None, None, Decimal("0.0001")) in references
    assert moves(script, Funding) == [Funding("BTCUSDT", Decimal("-0.0005"))]
    assert [h.halted for h in moves(script, Halt)] == [True, False]
    assert sorted(prices(script)) == [0, 1000, 4000]


def test_a_script_that_ends_closes_its_candles() -> None:
    played = beats(Script.of("rise 1 % in 90 s", ends=True, BTCUSDT=50_000))

    start_ms = int(START.timestamp() * 1000)
    closes = [i.open_ms - start_ms for i in played if isinstance(i, Close)]
    assert closes == [0, 60_000]
    assert isinstance(played[-1], Close)


def test_candles_of_a_script_are_known_again_after_a_restart() -> None:
    script = Script.of("rise 1 % in 90 s", "fall 2 % in 90 s", BTCUSDT=50_000)
    source = ScriptSource(script, PaperSettings(speed="lockstep", history=2, start=START), START)

    bars = list(source.series(2)["BTCUSDT"].newest_closed("1"))[::-1]

    assert [bar.open for bar in bars[:2]] == [50_000, 50_000]
    assert [bar.high > bar.low for bar in bars] == [False, False, True, True]
    assert source.prices(2)["BTCUSDT"] == bars[-1].close


@pytest.mark.parametrize("way", WAYS)
def test_every_act_that_is_shown_works(way: str) -> None:
    assert beats(Script.of(way, "hold 1 s", ends=True))


@given(st.text(max_size=40) | st.from_regex(r"(fall|gap|hold|mark|funding) [0-9.% a-z]*"))
def test_any_text_is_an_act_or_is_refused(text: str) -> None:
    with suppress(ActUnknown, ActTooFar):
        assert parse_act(text).duration_ms >= 0


@pytest.mark.parametrize(
    "text",
    [
        *("fall 100 % in 1 s", "fall 300 % in 1 s", "rise 1001 % in 1 s", "gap down 100 %"),
        *("gap up 5000 %", "gap through the stop by 100 %", "wave 100 % every 10 s for 60 s"),
        *("mark 100 % below last", "index 1500 % above last"),
    ],
)
def test_an_act_that_leaves_no_price_or_an_absurd_one_is_refused(text: str) -> None:
    with pytest.raises(ActTooFar, match="goes too far: a price can fall by less than 100 %, and"):
        parse_act(text)


def test_the_farthest_acts_are_acts() -> None:
    assert parse_act("fall 99.9 % in 1 s").duration_ms == 1000
    assert parse_act("rise 1000 % in 1 s").duration_ms == 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "symbols: {BTCUSDT: 5}\nacts:\n  - fal 3 % in 2 s",
            "3:5: error: acts.0: 'fal 3 % in 2 s'",
        ),
        ("symbols: {BTCUSDT: 5}\nacts:\n  - fal 3 % in 2 s", "write fall 3 % in 2 s or fall to"),
        ("symbols: {BTCUSDT: 5}\nacts:\n  - dance", "acts begin with depth, fall, funding, gap"),
        ("symbols: {BTCUSDT: -5}", "1:20: error: symbols.BTCUSDT: -5 is too small"),
        ("acts: []", "1:1: error: symbols: missing"),
        ("symbols: {BTCUSDT: 5}\nact: []", "2:1: error: act: unknown key 'act'; did you mean"),
        (
            "symbols: {BTCUSDT: 5}\nacts:\n  - {ETHUSDT: hold 5 s}",
            "3:6: error: acts.0.ETHUSDT: symbol ETHUSDT has no price in symbols; add it there",
        ),
        (
            "symbols: {BTCUSDT: 5}\nacts:\n- repeat: forever\n  acts: [gap up 2 %]",
            "acts: a repetition takes no time",
        ),
        (
            "symbols: {BTCUSDT: 5}\nends: true\nacts:\n- repeat: forever\n  acts: [hold 1 s]",
            "2:7: error: ends: a market that repeats forever does not end",
        ),
        ("symbols: {BTCUSDT: 5}\nacts: [hold 99999 h]", "2:8: error: acts.0: 'hold 99999 h' is no"),
        ("- a", "1:1: error: not a mapping"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ScriptInvalid) as failure:
        read_script(f"{text}\nversion: 1\n".encode() if ":" in text else text.encode(), "s.yaml")

    assert told in str(failure.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptInvalid, match="cannot be read: No such file"):
        load_script(tmp_path / "none.yaml")


def test_a_saved_script_is_read_back(tmp_path: Path) -> None:
    script = Script.of(
        "fall 3 % in 2 s", {"repeat": "forever", "acts": ["hold 1 s"]}, ETHUSDT="3000.5"
    )

    assert load_script(script.saved(tmp_path / "s.yaml")) == script


def test_the_schema_of_scripts_is_that_of_the_repository() -> None:
    file = Path(__file__).parents[2] / "schemas" / "paper-market.schema.json"

    assert json.loads(file.read_text()) == schema()


async def scripted(open_desk: Open, tmp_path: Path, script: Script, **settings: Any) -> Desk:
    fields: dict[str, Any] = {"speed": 10.0, "history": 5}
    return await open_desk(market=script.saved(tmp_path / "s.yaml"), **fields | settings)


async def test_acts_put_into_a_running_exchange_stop_a_position_out(
    open_desk: Open, tmp_path: Path
) -> None:
    desk = await scripted(open_desk, tmp_path, Script.of(BTCUSDT=50_000))
    await desk.buy(stopLoss="49500")
    await eventually(lambda: desk.paper.exchange.engine.accounts["main"].positions["BTCUSDT"].size)

    body: dict[str, Any] = {"symbol": "BTCUSDT", "acts": ["gap through the stop by 2 %"]}
    await desk.post("/paper/script", **body)

    account = desk.paper.exchange.engine.accounts["main"]
    await eventually(lambda: not account.positions["BTCUSDT"].size)
    _, exit_ = await desk.executions()
    assert exit_["createType"] == "CreateByStopLoss"
    assert float(exit_["execPrice"]) < 48_520


async def test_acts_bend_a_generated_market_which_goes_on_from_there(open_desk: Open) -> None:
    desk = await open_desk(symbols=("BTCUSDT", "ETHUSDT"), speed=60.0, history=3000)
    exchange = desk.paper.exchange
    before = {s: exchange.engine.last[s] for s in ("BTCUSDT", "ETHUSDT")}
    closed = list(exchange.series["BTCUSDT"].newest_closed("1"))[:1000]

    await desk.post("/paper/script", acts=["fall 20 % in 20 s", "hold 1 s"])
    await eventually(lambda: exchange.engine.last["BTCUSDT"] < before["BTCUSDT"] * Decimal("0.81"))
    step = exchange.progress.step
    await eventually(lambda: exchange.progress.step >= step + 2)

    for price in (exchange.engine.last["BTCUSDT"], exchange.engine.mark["BTCUSDT"]):
        assert Decimal("0.75") < price / before["BTCUSDT"] < Decimal("0.85")
    assert Decimal("0.95") < exchange.engine.last["ETHUSDT"] / before["ETHUSDT"] < Decimal("1.05")
    bars = list(exchange.series["BTCUSDT"].newest_closed("1"))
    assert set(closed[:900]) < set(bars)
    assert min(bar.low for bar in bars[:4]) < before["BTCUSDT"] * Decimal("0.82")
    (row, *_) = await desk.klines(limit=1)
    assert float(row[4]) == pytest.approx(float(exchange.engine.last["BTCUSDT"]), rel=0.02)


async def test_a_fall_by_acts_liquidates_a_position_of_a_generated_market(open_desk: Open) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), speed=60.0, cash=Decimal(1000), leverage=50)
    exchange = desk.paper.exchange
    await desk.buy("0.5")
    await eventually(lambda: exchange.progress.step >= 1)
    # They differ at nearly every moment, not at each
    await eventually(lambda: exchange.engine.mark["BTCUSDT"] != exchange.engine.last["BTCUSDT"])
    before = exchange.engine.last["BTCUSDT"]

    await desk.post("/paper/script", acts=["fall 6 % in 2 s", "hold 1 h"])
    account = exchange.engine.accounts["main"]
    await eventually(lambda: not account.positions["BTCUSDT"].size)
    await eventually(lambda: exchange.engine.last["BTCUSDT"] < before * Decimal("0.945"))

    assert (await desk.executions())[-1]["execType"] == "BustTrade"
    step = exchange.progress.step
    await eventually(lambda: exchange.progress.step >= step + 2)
    last = exchange.engine.last["BTCUSDT"]
    for price in (exchange.engine.mark["BTCUSDT"], exchange.engine.index["BTCUSDT"]):
        assert price / last == pytest.approx(Decimal(1), rel=Decimal("0.003"))


@pytest.mark.parametrize("way", ["mark 1 % above last", "mark follows last"])
async def test_what_acts_have_pinned_stays_so_while_others_move_the_price(
    open_desk: Open, way: str
) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), speed=60.0)
    engine = desk.paper.exchange.engine
    await desk.buy("0.01")
    before = engine.last["BTCUSDT"]
    ahead = Decimal("1.01") if "above" in way else Decimal(1)

    await desk.post("/paper/script", acts=[way])
    await eventually(lambda: abs(engine.mark["BTCUSDT"] / engine.last["BTCUSDT"] - ahead) < 1e-5)
    await desk.post("/paper/script", acts=["gap down 20 %", "hold 1 h"])
    await eventually(lambda: engine.last["BTCUSDT"] < before * Decimal("0.85"))

    assert abs(engine.mark["BTCUSDT"] / engine.last["BTCUSDT"] - ahead) < 1e-5
    assert abs(engine.index["BTCUSDT"] / engine.last["BTCUSDT"] - 1) < 0.003


async def test_acts_bend_recorded_candles_by_the_clock(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    flat = (50_000, 50_000, 50_000, 50_000)
    desk = await open_desk(market=write_candles(*[flat] * 60), speed=60.0)
    exchange = desk.paper.exchange

    await desk.post("/paper/script", acts=["gap to 40000", "mark 1 % above last", "hold 1 s"])
    await eventually(lambda: exchange.engine.last["BTCUSDT"] == 40_000)
    step = exchange.progress.step
    await eventually(lambda: exchange.progress.step >= step + 2)

    assert exchange.engine.last["BTCUSDT"] == 40_000
    assert exchange.engine.mark["BTCUSDT"] == 40_400
    assert next(exchange.series["BTCUSDT"].newest_closed("1")).close == 40_000


async def test_a_halted_market_takes_no_orders_until_it_resumes(
    open_desk: Open, tmp_path: Path
) -> None:
    desk = await scripted(open_desk, tmp_path, Script.of(BTCUSDT=50_000))
    halted = desk.paper.exchange.engine.board.halted

    await desk.post("/paper/script", acts=["halt"])
    await eventually(lambda: halted)
    refused = await desk.refused_buy()
    await desk.post("/paper/script", acts=["resume"])
    await eventually(lambda: not halted)

    assert refused[0] == 110074
    await desk.buy()


async def test_acts_that_cannot_be_are_refused(open_desk: Open, tmp_path: Path) -> None:
    desk = await scripted(open_desk, tmp_path, Script.of(BTCUSDT=50_000))
    made_up = await open_desk(symbols=("BTCUSDT",))

    for one, body, told in (
        (desk, {"acts": ["dance"]}, "acts.0: 'dance' is no act; acts begin with depth, fall,"),
        (desk, {"acts": ["dance"]}, "; acts are such as 'fall 3 % in 2 s', 'hold 5 s',"),
        (desk, {"acts": []}, "acts: too few; give at least 1"),
        (desk, {"symbol": "ETHUSDT", "acts": ["halt"]}, "symbol ETHUSDT is not in the market"),
        (desk, {"acts": [{"ETHUSDT": "halt"}]}, "symbol ETHUSDT is not in the market"),
        (made_up, {"acts": ["halt"]}, "market generator takes no acts"),
    ):
        answer = await asyncio.to_thread(one.send, "POST", "/paper/script", json=body)
        assert answer.status_code == 400
        assert told in answer.json()["error"]
        assert "too few" in told or "too few" not in answer.json()["error"]


async def test_an_unknown_symbol_is_answered_with_those_like_it(open_desk: Open) -> None:
    desk = await open_desk(speed=60.0, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"))
    body = {"symbol": "BTCUSD", "acts": ["halt"]}

    answer = await asyncio.to_thread(desk.send, "POST", "/paper/script", json=body)

    told = answer.json()["error"].partition("; ")
    assert told[0] == "symbol BTCUSD is not in the market"
    assert told[2].startswith("did you mean BTCUSDT")
    assert len(told[2].split(" or ")) <= 3


async def test_a_script_in_lockstep_gives_the_same_fills_every_time(
    open_desk: Open, tmp_path: Path
) -> None:
    script = Script.of("rise 1 % in 30 s", "fall 3 % in 60 s", "hold 60 s", ends=True)
    found = []
    for _ in range(2):
        desk = await scripted(open_desk, tmp_path, script, speed="lockstep")
        await desk.step()
        await desk.buy(stopLoss="49000")
        await desk.step(2)
        found.append([(e["execPrice"], e["execTime"]) for e in await desk.executions()])

    assert found[0] == found[1]
    assert len(found[0]) == 2
