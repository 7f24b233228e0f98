"""Accounts and keys: made on the control side, kept in the state."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pybit.unified_trading as pybit
import pytest
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.paper.conftest import KEY, Desk, signed_auth
from tradewright.paper import PaperSettings, running

MakeSettings = Callable[..., PaperSettings]


async def new_key(desk: Desk, **wish: Any) -> dict[str, Any]:
    return await desk.post("/paper/keys", **wish)


async def asked(desk: Desk, key: dict[str, Any], method: str, **params: Any) -> dict[str, Any]:
    """Return the answer to pybit's *method* with *key*."""
    http = pybit.HTTP(
        api_key=key["key"], api_secret=key["secret"], max_retries=1, retry_codes={-999999}
    )
    http.endpoint = desk.paper.http_url
    try:
        return dict((await asyncio.to_thread(getattr(http, method), **params))["result"])
    finally:
        http.client.close()


BUY = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Market",
    "qty": "0.01",
}


async def test_a_new_key_opens_an_account_that_trades_alone(desk: Desk) -> None:
    key = await new_key(desk, account="ann", cash="2500")

    await asked(desk, key, "place_order", **BUY)
    wallet = await asked(desk, key, "get_wallet_balance", accountType="UNIFIED")
    own = await asked(desk, key, "get_positions", category="linear", symbol="BTCUSDT")

    assert Decimal("2499") < Decimal(wallet["list"][0]["totalWalletBalance"]) < Decimal("2500")
    assert own["list"][0]["size"] == "0.01"
    assert (await desk.position())["size"] == "0"
    assert await desk.executions() == []
    books = await desk.get("/paper/ledger", account="all")
    assert books["balanced"]
    assert [books["accounts"][n]["executions"] for n in ("main", "ann")] == [0, 1]


async def test_a_key_may_do_what_it_was_given(desk: Desk) -> None:
    reader = await new_key(desk, read_only=True)
    elsewhere = await new_key(desk, ips=["10.1.2.3"])
    mover = await new_key(desk, permissions=["AccountTransfer"])

    assert (await asked(desk, reader, "get_wallet_balance", accountType="UNIFIED"))["list"]
    for key in (reader, elsewhere, mover):
        with pytest.raises((InvalidRequestError, FailedRequestError)):
            await asked(desk, key, "place_order", **BUY)
    rows = {row["key"]: row for row in (await desk.get("/paper/keys"))["list"]}
    assert [rows[reader["key"]]["read_only"], rows[KEY]["read_only"]] == [True, False]
    assert rows[elsewhere["key"]]["ips"] == ["10.1.2.3"]
    assert rows[mover["key"]]["permissions"] == ["AccountTransfer"]
    assert rows[KEY]["permissions"] == []
    assert not any("secret" in row for row in rows.values())


async def test_a_revoked_key_opens_nothing(desk: Desk) -> None:
    key = await new_key(desk)
    await asked(desk, key, "get_wallet_balance", accountType="UNIFIED")

    await desk.request("DELETE", "/paper/keys", params={"key": key["key"]})

    with pytest.raises((InvalidRequestError, FailedRequestError)):
        await asked(desk, key, "get_wallet_balance", accountType="UNIFIED")
    assert key["key"] not in [row["key"] for row in (await desk.get("/paper/keys"))["list"]]


async def test_a_revoked_key_hears_no_more(desk: Desk) -> None:
    key = await new_key(desk)
    async with connect(f"{desk.paper.stream_url}/private", proxy=None) as socket:
        await socket.send(json.dumps(signed_auth(key=key["key"], secret=key["secret"])))
        await socket.send('{"op": "subscribe", "args": ["order"]}')
        answers = [json.loads(await socket.recv()) for _ in range(2)]

        await desk.request("DELETE", "/paper/keys", params={"key": key["key"]})
        await desk.buy()

        with pytest.raises(ConnectionClosedError, match="revoked"):
            await asyncio.wait_for(socket.recv(), 30)
        assert all(answer["success"] for answer in answers)


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"account": "a b"}, "account must be of 1 to 36 letters"),
        ({"account": "ann", "cash": "-1"}, "cash must be positive"),
        ({"account": "ann", "cash": "NaN"}, "cash must be positive"),
        ({"account": "ann", "cash": "much"}, "cash: 'much' is no amount"),
        ({"account": "ann", "cash": True}, "cash: True is no amount"),
        ({"ips": ["999.1.1.1"]}, "ip: '999.1.1.1' does not appear to be an IPv4 or IPv6 address"),
        ({"cash": "5"}, "account main exists already; leave cash out"),
        ({"permissions": ["Order", "Everything"]}, "no permission Everything"),
        ({"expires_days": 0}, "expires_days must be positive"),
        ({"expires_days": 10**9}, "at most 36500"),
        ({"expires_days": 10**30}, "at most 36500"),
        ({"account": "ann", "cash": "1e100"}, "cash must be at most"),
        ({"account": "ann", "cash": "1e900000"}, "cash must be at most"),
        ({"account": "ann", "cash": "1e-900000"}, "cash must be at most"),
        ({"account": "ann", "cash": "0.123456789"}, "8 decimals"),
        ({"acount": "ann"}, "acount"),
    ],
)
async def test_a_wish_for_a_key_that_makes_no_sense_is_refused(
    desk: Desk, wish: dict[str, Any], complaint: str
) -> None:
    answer = await asyncio.to_thread(desk.send, "POST", "/paper/keys", json=wish)

    assert answer.status_code == 400
    assert complaint in answer.json()["error"]
    assert len((await desk.get("/paper/keys"))["list"]) == 1
    assert list(desk.paper.exchange.engine.accounts) == ["main"]


async def test_a_key_that_is_not_there_cannot_be_revoked(desk: Desk) -> None:
    answer = await asyncio.to_thread(desk.send, "DELETE", "/paper/keys", params={"key": "x"})

    assert (answer.status_code, "no key x" in answer.json()["error"]) == (400, True)


async def test_accounts_and_keys_survive_a_restart(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",))
    seen: list[Any] = []
    key: dict[str, Any] = {}
    for _ in range(2):
        async with running(settings) as paper:
            desk = Desk(paper)
            key = key or await new_key(desk, account="ann", cash="2500", expires_days=3)
            wallet = await asked(desk, key, "get_wallet_balance", accountType="UNIFIED")
            seen.append((wallet, await desk.get("/paper/keys")))
            await desk.close()

    assert seen[0] == seen[1]
    assert [row["account"] for row in seen[0][1]["list"]] == ["main", "ann"]


async def test_a_made_up_key_is_told_once_and_kept(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    nameless = make_settings(
        state=tmp_path / "paper.db", symbols=("BTCUSDT",), api_key="", api_secret=SecretStr("")
    )
    async with running(nameless) as paper:
        made = paper.made_up_key
        assert made is not None
    async with running(nameless) as paper:
        assert paper.made_up_key is None
        assert paper.exchange.store.api_keys() == [made]


async def test_a_named_key_takes_the_place_of_the_first_one_and_is_kept_nowhere(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"state": tmp_path / "paper.db", "symbols": ("BTCUSDT",)}
    async with running(make_settings(**settings, api_key="", api_secret=SecretStr(""))):
        pass
    for secret in ("7f1d2c-first", "7f1d2c-second"):
        named = make_settings(**settings, api_key="one", api_secret=SecretStr(secret))
        async with running(named) as paper:
            (key,) = paper.door.ring
            assert (key.key, key.secret, paper.made_up_key) == ("one", secret, None)
            assert not any(secret.encode() in content for content in contents(tmp_path))


async def test_nobody_else_may_read_the_state(make_settings: MakeSettings, tmp_path: Path) -> None:
    async with running(make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",))):
        assert modes(tmp_path) == {0o600}


def contents(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


def modes(folder: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in folder.iterdir()}
