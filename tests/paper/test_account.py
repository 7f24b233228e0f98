"""The account through pybit: wallet, margin mode, settings, its key."""

from typing import Any

import pytest

from tests.paper.conftest import KEY, Desk

SHARED = ("totalMarginBalance", "totalAvailableBalance", "totalInitialMargin", "accountMMRate")


async def test_the_wallet_adds_up(desk: Desk) -> None:
    await desk.buy()
    await desk.limit("49000")
    await desk.step(2)

    wallet = await desk.wallet()

    (coin,) = wallet["coin"]
    margins = float(coin["totalOrderIM"]) + float(coin["totalPositionIM"])
    assert float(wallet["totalInitialMargin"]) == pytest.approx(margins)
    assert wallet["totalMaintenanceMargin"] == coin["totalPositionMM"]
    equity = float(wallet["totalWalletBalance"]) + float(wallet["totalPerpUPL"])
    assert float(wallet["totalEquity"]) == pytest.approx(equity)
    assert float(wallet["totalAvailableBalance"]) == pytest.approx(equity - margins)
    assert float(wallet["accountIMRate"]) == pytest.approx(margins / equity, abs=1e-8)


async def test_a_wallet_shows_the_coins_that_are_asked_for(desk: Desk) -> None:
    async def coins(wanted: str) -> list[Any]:
        answer = await desk.ask("get_wallet_balance", accountType="UNIFIED", coin=wanted)
        (row,) = answer["result"]["list"]
        return [c["coin"] for c in row["coin"]]

    assert await coins("BTC,USDT") == ["USDT"]
    assert await coins("BTC") == []


async def test_margin_mode_is_of_the_whole_account_and_set_as_often_as_one_likes(
    desk: Desk,
) -> None:
    for _ in range(2):
        answer = await desk.ask("set_margin_mode", setMarginMode="ISOLATED_MARGIN", leverage=3)
        assert answer["result"] == {"reasons": []}
    await desk.buy()

    info = (await desk.ask("get_account_info"))["result"]
    wallet = await desk.wallet()

    assert info["marginMode"] == "ISOLATED_MARGIN"
    # Nothing is shared between isolated positions
    assert {wallet[name] for name in SHARED} == {""}
    assert float(wallet["coin"][0]["totalPositionIM"]) > 0


async def test_a_refused_margin_mode_comes_with_its_reasons(desk: Desk) -> None:
    with pytest.raises(Exception, match="Set margin mode failed") as failure:
        await desk.ask("set_margin_mode", setMarginMode="PORTFOLIO_MARGIN")

    assert getattr(failure.value, "status_code", 0) == 3400045


async def test_what_happens_to_prices_outside_the_band_is_the_owners_choice(desk: Desk) -> None:
    async def rejects() -> bool:
        return bool((await desk.ask("get_user_setting_config"))["result"]["lpaPerp"])

    before = await rejects()
    await desk.call("set_limit_price_action", modifyEnable=False)
    after = await rejects()
    await desk.call("set_limit_price_action", modifyEnable=True)

    assert (before, after, await rejects()) == (False, True, False)


async def test_fees_are_told_of_all_symbols(desk: Desk) -> None:
    assert await desk.rows("get_fee_rates") == [
        {"symbol": "BTCUSDT", "takerFeeRate": "0.00055", "makerFeeRate": "0.0002"}
    ]


async def test_a_key_tells_what_it_may_do(desk: Desk) -> None:
    key = (await desk.ask("get_api_key_information"))["result"]
    kinds = (await desk.ask("get_uid_wallet_type"))["result"]

    assert (key["apiKey"], key["readOnly"], key["uta"], key["secret"]) == (KEY, 0, 1, "")
    assert key["permissions"]["ContractTrade"] == ["Order", "Position"]
    assert (key["deadlineDay"], key["expiredAt"]) == (-2, "1970-01-01T00:00:00Z")
    (member,) = kinds["accounts"]
    assert member == {"uid": str(key["userID"]), "accountType": ["UNIFIED", "FUND"]}


async def test_accounts_see_and_change_only_what_is_their_own(desk: Desk) -> None:
    made = await desk.post("/paper/keys", account="other", cash="5000")
    other = Desk(desk.paper, made["key"], made["secret"])
    mine = await desk.limit("50000", orderLinkId="a-1")
    await other.limit("49980", qty="0.01", orderLinkId="a-1")

    (theirs,) = await other.rows("get_open_orders", symbol="BTCUSDT")
    stolen = await other.refusal("cancel_order", symbol="BTCUSDT", orderId=mine["orderId"])
    unseen = await other.rows("get_open_orders", symbol="BTCUSDT", orderId=mine["orderId"])
    # Between the best prices of the market, what one sells the other buys
    await other.limit("50000", qty="0.05", side="Sell", orderLinkId="a-2")

    assert (theirs["orderLinkId"], theirs["qty"]) == ("a-1", "0.01")
    assert (stolen[0], unseen) == (110001, [])
    assert [p["side"] for p in await desk.rows("get_positions", settleCoin="USDT")] == ["Buy"]
    assert [p["side"] for p in await other.rows("get_positions", settleCoin="USDT")] == ["Sell"]
    (bought,), (sold,) = await desk.executions(), await other.executions()
    assert (bought["execPrice"], sold["execPrice"]) == ("50000", "50000")
    assert (bought["isMaker"], sold["isMaker"]) == (True, False)
    assert (await other.wallet())["totalWalletBalance"] == "4998.625"
    await other.close()
