"""The account through ccxt: balance, positions, margin, the ledger."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.clients.conftest import BTC, OpenCcxt
from tests.paper.conftest import FLAT, START, Desk, Open, WriteCandles

ASK, BID = 50_000.1, 49_999.9


async def test_a_balance_has_a_free_and_a_used_part(bybit: Any) -> None:
    before = (await bybit.fetch_balance())["USDT"]
    await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000)

    after = (await bybit.fetch_balance())["USDT"]

    assert (before["total"], before["free"], before["used"]) == (100_000, 100_000, 0)
    assert after["total"] == 100_000
    assert after["used"] == pytest.approx(4900 / 10, rel=0.02)
    assert after["free"] == pytest.approx(100_000 - after["used"])


async def test_a_position_is_opened_valued_and_closed(bybit: Any) -> None:
    assert await bybit.fetch_positions() == []
    await bybit.create_order(BTC, "market", "buy", 0.1)

    (position,) = await bybit.fetch_positions()

    assert (position["symbol"], position["side"]) == (BTC, "long")
    assert (position["contracts"], position["entryPrice"]) == (0.1, ASK)
    assert (position["leverage"], position["markPrice"], position["hedged"]) == (10, 50_000, False)
    assert position["unrealizedPnl"] == pytest.approx(-0.01)
    assert position["notional"] == pytest.approx(5000, rel=1e-4)
    assert position["initialMargin"] == pytest.approx(500, rel=0.02)
    assert 0 < position["maintenanceMargin"] < position["initialMargin"]
    assert (await bybit.fetch_positions([BTC]))[0]["contracts"] == 0.1

    await bybit.create_order(BTC, "market", "sell", 0.1, None, {"reduceOnly": True})

    assert await bybit.fetch_positions() == []
    (closed,) = await bybit.fetch_positions_history([BTC])
    assert (closed["side"], closed["contracts"]) == ("long", 0.1)
    assert closed["realizedPnl"] == pytest.approx(0.1 * (BID - ASK) - 0.1 * (BID + ASK) * 0.00055)
    balance = await bybit.fetch_balance()
    assert balance["USDT"]["total"] == pytest.approx(100_000 + closed["realizedPnl"])


async def test_the_ledger_adds_up_to_the_balance(desk: Desk, bybit: Any) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)
    await desk.step()
    await bybit.create_order(BTC, "market", "sell", 0.04)
    await desk.step()
    await bybit.transfer("USDT", 100, "unified", "funding")

    entries = await bybit.fetch_ledger("USDT")

    signed = [e["amount"] if e["direction"] == "in" else -e["amount"] for e in entries]
    total = (await bybit.fetch_balance())["USDT"]["total"]
    assert 100_000 + sum(signed) == pytest.approx(total, abs=1e-9)
    assert entries[-1]["after"] == pytest.approx(total)
    assert [e["type"] for e in entries] == ["trade", "trade", "transaction"]
    assert [e["timestamp"] for e in entries] == sorted(e["timestamp"] for e in entries)


async def test_money_moves_between_the_wallets(bybit: Any) -> None:
    sent = await bybit.transfer("USDT", 250, "unified", "funding")

    assert (sent["status"], sent["amount"], sent["toAccount"]) == ("ok", 250, "funding")
    assert (await bybit.fetch_balance())["USDT"]["total"] == 99_750
    assert (await bybit.fetch_balance({"type": "funding"}))["USDT"]["free"] == 250
    (seen,) = await bybit.fetch_transfers("USDT")
    assert (seen["id"], seen["amount"], seen["fromAccount"]) == (sent["id"], 250, "unified")
    with pytest.raises(ccxt.BaseError):
        await bybit.transfer("USDT", 1_000_000, "unified", "funding")
    assert (await bybit.fetch_balance())["USDT"]["total"] == 99_750


async def test_fees_are_told_for_every_symbol(bybit: Any) -> None:
    fees = await bybit.fetch_trading_fees({"category": "linear"})
    fee = await bybit.fetch_trading_fee(BTC)

    assert fees.keys() == bybit.markets.keys()
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.00055)
    assert (fees[BTC]["maker"], fees[BTC]["taker"]) == (0.0002, 0.00055)


async def test_funding_is_paid_by_the_clock(
    open_desk: Open, write_candles: WriteCandles, open_ccxt: OpenCcxt
) -> None:
    begin = START + timedelta(hours=7, minutes=58)
    market = write_candles(*[FLAT] * 4, start=begin)
    desk = await open_desk(market=market, data_from=begin, funding_rate=Decimal("0.0001"))
    bybit = await open_ccxt(desk)
    await bybit.create_order(BTC, "market", "buy", 0.1)
    before = (await bybit.fetch_balance())["USDT"]["total"]

    await desk.step(3)

    (paid,) = await bybit.fetch_funding_history(BTC)
    assert (paid["symbol"], paid["amount"]) == (BTC, pytest.approx(0.5))
    assert paid["timestamp"] == int((START + timedelta(hours=8)).timestamp() * 1000)
    assert (await bybit.fetch_balance())["USDT"]["total"] == pytest.approx(before - 0.5)
    assert (await bybit.fetch_ledger("USDT"))[-1]["amount"] == pytest.approx(0.5)
    (rate,) = await bybit.fetch_funding_rate_history(BTC)
    assert (rate["fundingRate"], rate["timestamp"]) == (0.0001, paid["timestamp"])
    # What pays it is no trade
    assert len(await bybit.fetch_my_trades(BTC, params={"execType": "Trade"})) == 1


async def test_leverage_is_set_once(bybit: Any) -> None:
    await bybit.set_leverage(7, BTC)

    assert (await bybit.fetch_leverage(BTC))["longLeverage"] == 7
    with pytest.raises(ccxt.BadRequest, match="110043"):
        await bybit.set_leverage(7, BTC)
    with pytest.raises(ccxt.BaseError, match="110013"):
        await bybit.set_leverage(101, BTC)


async def test_one_way_mode_is_what_the_account_is_in(bybit: Any) -> None:
    await bybit.set_position_mode(False)

    with pytest.raises(ccxt.NoChange, match="110025"):
        await bybit.set_position_mode(False, BTC)


async def test_an_isolated_position_has_a_margin_of_its_own(desk: Desk, bybit: Any) -> None:
    assert (await bybit.fetch_margin_mode(BTC))["marginMode"] == "cross"
    await bybit.set_margin_mode("isolated", BTC, {"leverage": 10})
    assert (await bybit.fetch_margin_mode(BTC))["marginMode"] == "isolated"
    await bybit.create_order(BTC, "market", "buy", 0.1)

    before = await bybit.fetch_position(BTC)
    await bybit.private_post_v5_position_add_margin(
        {"category": "linear", "symbol": "BTCUSDT", "margin": "100"}
    )
    after = await bybit.fetch_position(BTC)

    # entry * (1 - 1/leverage) / (1 - mmr)
    assert before["liquidationPrice"] == pytest.approx(ASK * 0.9 / 0.995, abs=1)
    assert after["collateral"] == pytest.approx(before["collateral"] + 100, abs=0.01)
    assert after["liquidationPrice"] == pytest.approx(
        before["liquidationPrice"] - 100 / 0.1 / 0.995, abs=1
    )


async def test_the_rank_in_the_queue_of_deleveraging_is_told(bybit: Any) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)

    (rank,) = await bybit.fetch_positions_adl_rank([BTC])

    assert (rank["symbol"], rank["rank"]) == (BTC, 0) or rank["rank"] > 0


async def test_a_wrong_secret_opens_nothing(desk: Desk, open_ccxt: OpenCcxt) -> None:
    for config in ({"secret": "wrong"}, {"apiKey": "unknown"}):
        stranger = await open_ccxt(desk, **config)
        with pytest.raises(ccxt.AuthenticationError):
            await stranger.fetch_balance()
