"""Acts by HTTP: what a market does next."""

from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Route

from tradewright.domain.errors import TradewrightError
from tradewright.paper.control import answered
from tradewright.paper.exchange import Exchange
from tradewright.paper.market.bent import Bent
from tradewright.paper.market.script import Interlude
from tradewright.paper.market.scripted import ScriptSource


class NotScripted(TradewrightError):
    def __init__(self, market: str) -> None:
        super().__init__(
            f"market {market} takes no acts: it has a book of its own, or goes in lockstep; start "
            "the exchange with --market SCRIPT.yaml"
        )


class SymbolUnknown(TradewrightError):
    def __init__(self, symbol: str, known: list[str]) -> None:
        super().__init__(f"symbol {symbol} is not in the market: it has {', '.join(known)}")


def routes(exchange: Exchange) -> list[Route]:
    """Return ``/paper/script``; like all of the control side it answers to loopback alone."""

    async def put_in(request: Request) -> dict[str, Any]:
        """Let acts happen at once, before what the script says next."""
        try:
            wish = Interlude.model_validate_json(await request.body())
        except ValidationError as e:
            raise ValueError("; ".join(fault["msg"] for fault in e.errors())) from None
        source = exchange.source
        if not isinstance(source, ScriptSource | Bent):
            raise NotScripted(source.identity.partition(" ")[0])
        for symbol in wish.strangers(source.listings):
            raise SymbolUnknown(symbol, list(source.listings))
        source.put_in(wish.acts, wish.symbol or next(iter(source.listings)))
        return {"put_in": len(wish.acts)}

    return [Route("/paper/script", answered(put_in), methods=["POST"])]
