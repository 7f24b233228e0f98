"""A stream by bare frames: what is asked of it, and what it says."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.paper.conftest import Desk
from tradewright.paper.stream.hub import Connection, Hub

PRIVATE, LINEAR, SPOT, OPTION = "private", "public/linear", "public/spot", "public/option"
TRADES = "publicTrade.BTCUSDT"


async def hear(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(socket.recv(), 30)))


async def ask(socket: ClientConnection, op: str, *args: Any, **more: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"op": op, "args": args} | more))
    return await hear(socket)


def hub_of(desk: Desk) -> Hub:
    hub: Hub = desk.paper.exchange.feed.hub
    return hub


def only(desk: Desk) -> Connection:
    (connection,) = hub_of(desk).connections
    return connection
