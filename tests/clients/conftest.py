"""Clients that nobody here wrote, against a paper exchange; all they are given is its URLs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import ccxt.pro
import pytest

from tests.paper.conftest import (
    KEY,
    SECRET,
    Desk,
)
from tests.paper.conftest import _pybit_urls as _pybit_urls
from tests.paper.conftest import desk as desk
from tests.paper.conftest import make_settings as make_settings
from tests.paper.conftest import open_desk as open_desk
from tests.paper.conftest import write_candles as write_candles

BTC = "BTC/USDT:USDT"
"""What ccxt calls the linear contract BTCUSDT."""

OpenCcxt = Callable[..., Awaitable[Any]]


def urls(http: str, stream: str) -> dict[str, Any]:
    """Return ccxt's ``urls`` for an exchange at *http* whose sockets are at *stream*."""
    private = f"{stream}/private"
    return {
        "api": {
            **dict.fromkeys(("spot", "futures", "v2", "public", "private"), http),
            "ws": {
                "public": {
                    kind: f"{stream}/public/{kind}"
                    for kind in ("spot", "inverse", "option", "linear")
                },
                "private": {
                    "spot": {"unified": private, "nonUnified": private},
                    "contract": private,
                    "usdc": private,
                    "trade": f"{stream}/trade",
                },
            },
        }
    }


@pytest.fixture(scope="session")
def loaded() -> dict[str, Any]:
    """What ccxt loads once and then hands from client to client."""
    return {}


@pytest.fixture
async def open_ccxt(loaded: dict[str, Any]) -> AsyncIterator[OpenCcxt]:
    """Make ccxt clients of a desk's exchange; all are closed with the test."""
    async with AsyncExitStack() as stack:

        async def open_one(desk: Desk, **config: Any) -> Any:
            client = ccxt.pro.bybit(
                {
                    "apiKey": KEY,
                    "secret": SECRET,
                    "urls": urls(desk.paper.http_url, desk.paper.stream_url),
                    "enableRateLimit": False,  # the exchange has limits, this is ccxt's own brake
                    **config,
                }
            )
            stack.push_async_callback(client.close)
            if "client" in loaded:
                client.set_markets_from_exchange(loaded["client"])
            else:
                await client.load_markets()
                loaded["client"] = client
            return client

        yield open_one


@pytest.fixture
async def bybit(desk: Desk, open_ccxt: OpenCcxt) -> Any:
    """Return ccxt's client of the desk's exchange."""
    return await open_ccxt(desk)
