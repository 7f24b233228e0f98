"""What the page shows: Bybit's own rows, gathered from the endpoints that give them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.control import RequestInvalid, answered
from tradewright.paper.exchange import Exchange
from tradewright.paper.keys import ApiKey
from tradewright.paper.routes import ROUTES

_STATIC = Path(__file__).parent / "static"
_CANDLES, _LEVELS, _EXECUTIONS, _ORDERS = 120, 50, 30, 50

Faults = Callable[[], Row]
"""Returns the faults in force and what they did last: ``{"faults": [...], "strikes": [...]}``."""


def routes(exchange: Exchange, faults: Faults) -> list[BaseRoute]:
    """Return the page, its parts, and what it asks for once a second."""

    async def page(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def window(request: Request) -> dict[str, Any]:
        symbols = sorted(exchange.engine.markets)
        symbol = request.query_params.get("symbol") or _busiest(exchange, symbols)
        account = request.query_params.get("account") or "main"
        return snapshot(exchange, symbol, account) | {"symbols": symbols, "faults": faults()}

    return [
        Route("/", page),
        Route("/paper/window", answered(window)),
        Mount("/window", StaticFiles(directory=_STATIC)),
    ]


def snapshot(exchange: Exchange, symbol: str, account: str) -> Row:
    """Return what there is to see of *symbol* and *account*.

    Raises:
        RequestInvalid: One of them does not exist.
    """
    if symbol not in exchange.engine.markets or account not in exchange.engine.accounts:
        raise RequestInvalid(f"there is no symbol {symbol:.60} or no account {account:.60}")
    ask = _Asking(exchange, ApiKey("", "", account))
    settings, progress = exchange.settings, exchange.progress
    finest = exchange.series[symbol].intervals[0]
    return {
        "market": {
            "market_ms": exchange.clock.now_ms(),
            "lockstep": settings.is_lockstep,
            "speed": 0 if settings.is_lockstep else settings.speed,
            "started": progress.started,
            "ended": progress.ended,
            "source": exchange.source.identity,
        },
        "accounts": sorted(exchange.engine.accounts),
        "symbol": symbol,
        "account": account,
        "ticker": ask.rows("/v5/market/tickers", symbol=symbol)[0],
        "book": ask.result("/v5/market/orderbook", symbol=symbol, limit=_LEVELS),
        "candles": ask.rows("/v5/market/kline", symbol=symbol, interval=finest, limit=_CANDLES),
        "wallet": ask.rows("/v5/account/wallet-balance", accountType="UNIFIED")[0],
        "positions": ask.rows("/v5/position/list", settleCoin="USDT", limit=200),
        "orders": ask.rows("/v5/order/realtime", settleCoin="USDT", limit=_ORDERS),
        "executions": ask.rows("/v5/execution/list", limit=_EXECUTIONS),
    }


class _Asking:
    """The exchange's own endpoints, without the door before them."""

    def __init__(self, exchange: Exchange, key: ApiKey) -> None:
        self._exchange = exchange
        self._key = key

    def result(self, path: str, **params: object) -> Row:
        told = {name: str(value) for name, value in params.items()}
        call = Call(self._exchange, {"category": "linear"} | told, self._key)
        answer = ROUTES["GET", path].handler(call)
        return answer.result if isinstance(answer, Answer) else answer

    def rows(self, path: str, **params: object) -> list[Any]:
        return list(self.result(path, **params)["list"])


def _busiest(exchange: Exchange, symbols: list[str]) -> str:
    """Return the symbol that a newcomer wants to see: one that is held, else bitcoin's."""
    for account in exchange.engine.accounts.values():
        for symbol, position in account.positions.items():
            if position.size:
                return symbol
    return "BTCUSDT" if "BTCUSDT" in symbols else symbols[0]
