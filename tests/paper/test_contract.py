"""Every field that Bybit documents, in its documented JSON type, and no other."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.paper.conftest import Desk, Open, WriteCandles, eventually, signed_auth
from tradewright.paper.routes import ROUTES

FACTS = Path(__file__).parents[3] / "shared" / "facts" / "bybit"
pytestmark = pytest.mark.skipif(
    not FACTS.exists(), reason="the tables of Bybit's documentation are not on this machine"
)

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "datetime": (str,),
    "integer": (int,),
    "int": (int,),
    "long": (int,),
    "number": (int,),
    "boolean": (bool,),
    "json": (dict,),
    "map": (dict,),
    "object": (dict, type(None)),
    "array": (list, dict),
    "list": (list,),
}
_OF_OPTIONS = re.compile(r"unique field for `?option", re.IGNORECASE)
Tree = dict[str, tuple[str, "Tree"]]


def tree(rows: list[dict[str, str]]) -> Tree:
    """Return the documented fields, nested as their ``>`` marks say."""
    root: Tree = {}
    levels = [root]
    for row in rows:
        if row.get("tab", "linear") != "linear" or _OF_OPTIONS.search(row["Comments"]):
            continue
        name = row["Parameter"].lstrip("> ")
        depth = row["Parameter"].count(">")
        if "[" in name:
            # The documentation spells the items of a plain list like fields
            continue
        children: Tree = {}
        levels[depth:] = [levels[depth], children]
        levels[depth][name] = (row["Type"].lower().split("<")[0], children)
    return root


def mismatches(value: Any, expected: Tree, path: str = "") -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if not expected or not isinstance(item, dict):
            continue
        for name in expected.keys() - item.keys():
            yield f"{path}{name} is missing"
        for name in item.keys() - expected.keys():
            yield f"{path}{name} is not documented"
        for name in expected.keys() & item.keys():
            kind, children = expected[name]
            if type(item[name]) not in TYPES[kind]:
                yield f"{path}{name} is {item[name]!r}, documented as {kind}"
            yield from mismatches(item[name], children, f"{path}{name}.")


@pytest.fixture
async def busy(open_desk: Open, write_candles: WriteCandles) -> Desk:
    """An exchange with something of every kind to show."""
    flat, fall = (50_000, 50_100, 49_900, 50_000), (50_000, 50_100, 49_000, 49_500)
    desk = await open_desk(data=write_candles(flat, flat, fall, flat))
    await desk.step(2)
    await desk.buy(stopLoss="49800", orderLinkId="a-1")
    await desk.step()
    await desk.buy(stopLoss="48000", takeProfit="52000")
    await desk.limit("48000")
    return desk


BTC: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT"}
LIMIT: dict[str, Any] = BTC | {"side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "48000"}
LINK = {"orderLinkId": "c-1"}
LEVERAGE = {"buyLeverage": "3", "sellLeverage": "3"}
# In an order in which each has something to show
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "/v5/market/time": ("get_server_time", {}),
    "/v5/market/instruments-info": ("get_instruments_info", BTC),
    "/v5/market/kline": ("get_kline", BTC | {"interval": "1"}),
    "/v5/market/tickers": ("get_tickers", BTC),
    "/v5/market/orderbook": ("get_orderbook", BTC),
    "/v5/order/create": ("place_order", LIMIT | LINK),
    "/v5/order/amend": ("amend_order", BTC | LINK | {"price": "48001"}),
    "/v5/order/realtime": ("get_open_orders", BTC),
    "/v5/order/history": ("get_order_history", BTC),
    "/v5/execution/list": ("get_executions", BTC),
    "/v5/position/list": ("get_positions", BTC),
    "/v5/position/set-leverage": ("set_leverage", BTC | LEVERAGE),
    "/v5/position/trading-stop": (
        "set_trading_stop",
        BTC | {"positionIdx": 0, "tpslMode": "Full", "stopLoss": "48500"},
    ),
    "/v5/position/closed-pnl": ("get_closed_pnl", BTC),
    "/v5/account/wallet-balance": ("get_wallet_balance", {"accountType": "UNIFIED"}),
    "/v5/account/fee-rate": ("get_fee_rates", BTC),
    "/v5/account/info": ("get_account_info", {}),
    "/v5/order/cancel": ("cancel_order", BTC | LINK),
    "/v5/order/cancel-all": ("cancel_all_orders", BTC),
}
TOPICS = {
    "order": "private/order",
    "execution": "private/execution",
    "position": "private/position",
    "wallet": "private/wallet",
    "tickers.BTCUSDT": "public/ticker",
    "kline.1.BTCUSDT": "public/kline",
    "orderbook.50.BTCUSDT": "public/orderbook",
    "publicTrade.BTCUSDT": "public/trade",
}


def test_every_route_has_its_contract() -> None:
    assert {path for _, path in ROUTES} == CALLS.keys()


async def test_every_answer_has_the_documented_fields_and_types(busy: Desk) -> None:
    documented = json.loads((FACTS / "endpoints_core.json").read_text())
    methods = {path: method for method, path in ROUTES}
    found = []

    for path, (name, params) in CALLS.items():
        answer = await asyncio.to_thread(getattr(busy.http, name), **params)
        assert answer.keys() == {"retCode", "retMsg", "result", "retExtInfo", "time"}
        assert [type(v) for v in answer.values()] == [int, str, dict, dict, int]
        expected = tree(documented[f"{methods[path]} {path}"]["response"])
        rows = answer["result"].get("list")
        assert rows is None or rows, f"{path} shows nothing"
        found += [f"{path}: {m}" for m in mismatches(answer["result"], expected)]

    assert found == []


async def test_every_message_has_the_documented_fields_and_types(busy: Desk) -> None:
    documented = json.loads((FACTS / "ws_topics.json").read_text())
    frames = await bare_frames(busy)
    found = []

    for topic, page in TOPICS.items():
        expected = tree(documented[f"docs/v5/websocket/{page}.mdx"]["fields"])
        message = next(f for f in frames if f.get("topic") == topic)
        found += [f"{topic}: {m}" for m in mismatches(message, expected)]

    assert found == []


async def bare_frames(desk: Desk) -> list[dict[str, Any]]:
    """Return what the streams say about an order and a candle, as it stands on the wire."""
    private = [t for t in TOPICS if "." not in t]
    public = [t for t in TOPICS if "." in t]
    async with (
        connect(f"{desk.paper.stream_url}/private", proxy=None) as account,
        connect(f"{desk.paper.stream_url}/public/linear", proxy=None) as market,
    ):
        await account.send(json.dumps(signed_auth()))
        await account.send(json.dumps({"op": "subscribe", "args": private}))
        await market.send(json.dumps({"op": "subscribe", "args": public}))
        hub = desk.paper.exchange.feed.hub
        await eventually(lambda: hub.topics >= TOPICS.keys())
        await desk.buy(stopLoss="48000")
        await desk.step()
        frames: list[dict[str, Any]] = []
        for socket, topics in ((account, private), (market, public)):
            missing = set(topics)
            while missing:
                frame = json.loads(await asyncio.wait_for(socket.recv(), 5))
                missing.discard(frame.get("topic"))
                frames.append(frame)
    return frames
