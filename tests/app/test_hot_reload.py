"""What the exchange has against a preset, and what is applied over what."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from activities.bybit import BybitClient
from tests.app.preset_text import PRESET
from tradewright.app.hot_reload import StrategyApplier, exchange_faults
from tradewright.domain.errors import ExchangeUnreachable, SymbolUnknown
from tradewright.domain.market import Instrument
from tradewright.preset import loads


class Listing:
    """An exchange that lists two symbols."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments

    async def instrument(self, symbol: str) -> Instrument:
        if symbol not in self._instruments:
            raise SymbolUnknown(symbol)
        return self._instruments[symbol]

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        rows = [{"symbol": symbol, "settleCoin": "USDT"} for symbol in self._instruments]
        return {"result": {"list": rows}}


class Away:
    async def instrument(self, symbol: str) -> Instrument:
        raise ExchangeUnreachable("get_instruments_info", "no route")


@pytest.fixture
def listing(make_instrument: Any) -> BybitClient:
    found = {
        "BTCUSDT": make_instrument(symbol="BTCUSDT", max_leverage=10, min_notional=5),
        "ETHUSDT": make_instrument(symbol="ETHUSDT", max_leverage=50, min_notional=5),
    }
    return cast(BybitClient, Listing(found))


async def test_every_value_that_the_exchange_does_not_take_is_told_with_its_place(
    listing: BybitClient,
) -> None:
    found = await exchange_faults(listing, loads(PRESET), "trend.yaml")

    assert [(fault.line, fault.path) for fault in found] == [
        (3, "market.symbols.1"),
        (8, "risk.leverage"),
        (8, "risk.notional"),
    ]
    unlisted, leverage, notional = (fault.message for fault in found)
    assert "'ETHUSDX' is not listed at the exchange; did you mean 'ETHUSDT'?" in unlisted
    assert leverage == "20 is more than BTCUSDT allows; at most 10"
    assert notional == "4 USDT is less than BTCUSDT takes; at least 5"
    assert str(found[0]).startswith("trend.yaml:3:")


async def test_a_preset_that_the_exchange_takes_has_no_faults(listing: BybitClient) -> None:
    good = PRESET.replace("ETHUSDX", "ETHUSDT").replace("notional: 4, leverage: 20", "notional: 50")

    assert await exchange_faults(listing, loads(good), "trend.yaml") == ()


async def test_an_exchange_that_cannot_be_asked_keeps_no_preset_from_being_applied() -> None:
    applier = StrategyApplier(cast(Any, None), cast(Any, None), cast(BybitClient, Away()))

    assert await applier.faults(loads(PRESET), "trend.yaml") == ()
