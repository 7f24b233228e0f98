"""Money between accounts, through pybit."""

import asyncio
import uuid
from typing import Any

import pytest
from pybit.exceptions import InvalidRequestError

from tests.paper.conftest import Desk


async def move(desk: Desk, amount: str, source: str, target: str, transfer_id: str = "") -> Any:
    return await desk.ask(
        "create_internal_transfer",
        transferId=transfer_id or str(uuid.uuid4()),
        coin="USDT",
        amount=amount,
        fromAccountType=source,
        toAccountType=target,
    )


async def balance(desk: Desk, kind: str) -> tuple[str, str]:
    answer = await desk.ask("get_coin_balance", accountType=kind, coin="USDT")
    told = answer["result"]["balance"]
    return told["walletBalance"], told["transferBalance"]


async def test_money_goes_to_the_funding_account_and_comes_back(desk: Desk) -> None:
    await move(desk, "500", "UNIFIED", "FUND")
    await move(desk, "120.5", "FUND", "UNIFIED")

    assert await balance(desk, "FUND") == ("379.5", "379.5")
    assert await balance(desk, "UNIFIED") == ("99620.5", "99620.5")
    assert (await desk.wallet())["totalWalletBalance"] == "99620.5"
    listed = (await desk.ask("get_internal_transfer_records"))["result"]["list"]
    assert [(t["amount"], t["fromAccountType"], t["toAccountType"]) for t in listed] == [
        ("120.5", "FUND", "UNIFIED"),
        ("500", "UNIFIED", "FUND"),
    ]


async def test_a_transfer_is_made_once_even_if_it_is_asked_for_twice_at_a_time(
    desk: Desk,
) -> None:
    name = str(uuid.uuid4())

    async def one() -> int:
        try:
            answer = await move(desk, "5", "UNIFIED", "FUND", name)
        except InvalidRequestError as error:
            return int(error.status_code)
        return int(answer["retCode"])

    codes = await asyncio.gather(*(one() for _ in range(4)))

    assert codes.count(0) == 1
    # Twins of one millisecond have one signature, too: they are taken for a replay
    assert {*codes} <= {0, 131214, 10014}
    assert await balance(desk, "FUND") == ("5", "5")
    (found,) = (await desk.ask("get_internal_transfer_records", transferId=name))["result"]["list"]
    assert found["transferId"] == name


async def test_margin_and_profit_that_is_not_realised_stay(desk: Desk) -> None:
    await desk.buy("1")

    wallet, free = await balance(desk, "UNIFIED")
    answer = await desk.ask("get_transferable_amount", coinName="USDT,BTC")

    assert float(free) < float(wallet) - 5000
    assert answer["result"] == {
        "availableWithdrawal": free,
        "availableWithdrawalMap": {"USDT": free, "BTC": "0"},
    }
    with pytest.raises(InvalidRequestError, match="Insufficient balance"):
        await move(desk, wallet, "UNIFIED", "FUND")


async def test_virtual_money_is_added_and_taken_away(desk: Desk) -> None:
    path, item = "/v5/account/demo-apply-money", {"coin": "USDT", "amountStr": "2500.5"}

    await desk.ask(path, adjustType=0, utaDemoApplyMoney=[item])
    more = (await desk.wallet())["totalWalletBalance"]
    await desk.ask(path, adjustType=1, utaDemoApplyMoney=[item])
    await desk.ask(path)

    assert more == "102500.5"
    assert (await desk.wallet())["totalWalletBalance"] == "200000"
    # It did not come from the funding account
    assert await balance(desk, "FUND") == ("0", "0")
    assert (await desk.ask("get_internal_transfer_records"))["result"]["list"] == []


async def test_the_balances_of_several_coins_are_told_at_once(desk: Desk) -> None:
    unified = await desk.ask("get_coins_balance", accountType="UNIFIED", coin="USDT,BTC")
    fund = await desk.ask("get_coins_balance", accountType="FUND", withBonus=1)

    assert [(b["coin"], b["walletBalance"]) for b in unified["result"]["balance"]] == [
        ("USDT", "100000"),
        ("BTC", "0"),
    ]
    assert fund["result"]["balance"] == [
        {"coin": "USDT", "walletBalance": "0", "transferBalance": "0", "bonus": "0"}
    ]


async def test_coins_are_those_that_are_traded(desk: Desk) -> None:
    everything = (await desk.ask("get_coin_info"))["result"]["rows"]
    one = (await desk.ask("get_coin_info", coin="USDT"))["result"]["rows"]

    assert [row["coin"] for row in everything] == ["USDT", "BTC"]
    assert [row["coin"] for row in one] == ["USDT"]
