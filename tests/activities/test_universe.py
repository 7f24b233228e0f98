"""Universes by filter: from Bybit's lists to the symbols of a preset."""

import asyncio
from typing import Any

import pytest
from temporalio.client import Client

from activities.library import PresetUnusable
from activities.universe import Universes
from tests.activities.noting import plan_of
from tests.activities.town import Shelf, Town, market_of, town
from tradewright.domain.errors import AnswerMalformed, DeskUnreachable, ExchangeUnreachable
from tradewright.domain.universe import Filter
from tradewright.ports import UniverseWish
from tradewright.preset import loads

BEST = Filter(top=2)


def contract(symbol: str, **changes: Any) -> dict[str, Any]:
    row = {"symbol": symbol, "status": "Trading", "contractType": "LinearPerpetual"}
    return row | {"settleCoin": "USDT", "isPreListing": False} | changes


def ticker(symbol: str, turnover: str, **changes: Any) -> dict[str, Any]:
    row = {"symbol": symbol, "turnover24h": turnover}
    return row | {"bid1Price": "100", "ask1Price": "100.01"} | changes


class Lists:
    """Answers with these contracts, one a page, and these tickers; counts what it is asked."""

    def __init__(self, contracts: list[dict[str, Any]], quoted: list[dict[str, Any]]) -> None:
        self._contracts = contracts
        self._quoted = quoted
        self.calls: list[str] = []
        self.away = False

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append(method)
        await asyncio.sleep(0)
        if self.away:
            raise ExchangeUnreachable(method, "it is away")
        if method == "get_tickers":
            return {"result": {"list": self._quoted}}
        at = int(arguments.get("cursor") or 0)
        after = str(at + 1) if at + 1 < len(self._contracts) else ""
        return {"result": {"list": self._contracts[at : at + 1], "nextPageCursor": after}}


def lists() -> Lists:
    contracts = [
        contract("AUSDT"),
        contract("BUSDT"),
        contract("CUSDT"),
        contract("CLOSEDUSDT", status="Closed"),
        contract("NEWUSDT", isPreListing=True),
        contract("BTC-26JUN26", contractType="LinearFutures"),
        contract("CPERP", settleCoin="USDC"),
    ]
    quoted = [
        ticker("AUSDT", "1"),
        ticker("BUSDT", "3"),
        ticker("CUSDT", "2"),
        *(ticker(name, "9") for name in ("CLOSEDUSDT", "NEWUSDT", "BTC-26JUN26", "CPERP")),
        ticker("GONEUSDT", "9"),
    ]
    return Lists(contracts, quoted)


async def test_only_perpetuals_in_usdt_that_take_orders_are_chosen() -> None:
    found = await Universes(lists()).choose(Filter(top=9), (), ())

    assert found.symbols == ("BUSDT", "CUSDT", "AUSDT")
    assert found.note == "3 of 9 symbols pass the filter"


async def test_symbols_with_open_trades_stay_whatever_they_are_worth() -> None:
    found = await Universes(lists()).choose(BEST, ("AUSDT",), ("CLOSEDUSDT", "BUSDT"))

    assert (found.symbols, found.kept) == (("BUSDT", "CUSDT"), ("CLOSEDUSDT",))
    assert found.note == "kept for their open trades: CLOSEDUSDT"


async def test_all_presets_share_one_read_of_the_lists() -> None:
    source = lists()
    universes = Universes(source)

    await asyncio.gather(*(universes.choose(BEST, (), ()) for _ in range(5)))
    await universes.choose(BEST, (), ())

    assert source.calls.count("get_tickers") == 1
    assert source.calls.count("get_instruments_info") == 7


async def test_an_exchange_that_lists_nothing_empties_no_universe() -> None:
    with pytest.raises(AnswerMalformed, match="none of its symbols is traded"):
        await Universes(Lists([contract("AUSDT")], [])).choose(BEST, ("AUSDT",), ())


async def test_a_read_that_failed_is_tried_again_by_the_next_who_asks() -> None:
    source = lists()
    universes = Universes(source)
    source.away = True
    with pytest.raises(ExchangeUnreachable):
        await universes.choose(BEST, (), ())
    source.away = False

    assert (await universes.choose(BEST, (), ())).symbols == ("BUSDT", "CUSDT")


@pytest.mark.parametrize("broken", [{"turnover24h": "x"}, {"bid1Price": ""}, {"symbol": "a b"}])
async def test_one_ticker_that_cannot_be_read_spoils_no_other(broken: dict[str, str]) -> None:
    source = Lists(
        [contract("AUSDT"), contract("BUSDT")],
        [ticker("AUSDT", "5") | broken, ticker("BUSDT", "1")],
    )

    assert (await Universes(source).choose(BEST, (), ())).symbols == ("BUSDT",)


PRESET = """\
version: 1
name: broad
market: {category: linear, universe: {top: 3, max_spread_bp: 50, exclude: [BTCUSDT]}}
trigger: {on: candle, timeframe: 1m}
strategy: {plugin: rules, params: {long: close > open}}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}, target: {r: 1}}
risk: {sizing: fixed_notional, notional: 100}
"""


def wish(place: Town, document: str) -> UniverseWish:
    return UniverseWish(
        account=place.account, preset="broad", preset_hash=loads(document).hash, symbols=()
    )


async def test_a_preset_s_filter_chooses_and_its_open_trades_stay(temporal: Client) -> None:
    async with town(temporal, speed="lockstep", symbols=()) as place:
        place.shelf = Shelf(PRESET)
        held = plan_of(preset="broad", symbol="BTCUSDT", account=place.account)
        another_s = held.model_copy(update={"preset": "other", "symbol": "ZENUSDT"})
        await place.open_desk(held, another_s)

        found = await market_of(place).universe(wish(place, PRESET))

    assert len(found.symbols) == 3
    assert found.kept == ("BTCUSDT",)
    assert "ETHUSDT" in found.symbols
    assert "ZENUSDT" not in found.symbols
    assert found.note == "kept for their open trades: BTCUSDT"


async def test_without_a_desk_nothing_is_chosen_for_what_is_held_is_not_known(
    temporal: Client,
) -> None:
    async with town(temporal, speed="lockstep", symbols=()) as place:
        place.shelf = Shelf(PRESET)

        with pytest.raises(DeskUnreachable, match="what is held is not known"):
            await market_of(place).universe(wish(place, PRESET))


async def test_a_preset_that_names_its_symbols_has_no_universe(temporal: Client) -> None:
    named = PRESET.replace(
        "universe: {top: 3, max_spread_bp: 50, exclude: [BTCUSDT]}", "symbols: [BTCUSDT]"
    )
    async with town(temporal, speed="lockstep") as place:
        place.shelf = Shelf(named)

        with pytest.raises(PresetUnusable, match="it names its symbols"):
            await market_of(place).universe(wish(place, named))
