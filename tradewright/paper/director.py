"""Acts by HTTP: what a market does next."""

from difflib import get_close_matches
from typing import Any

import msgspec
from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Route

from tradewright.domain.errors import TradewrightError
from tradewright.paper.control import answered
from tradewright.paper.exchange import Exchange
from tradewright.paper.market.act import WAYS
from tradewright.paper.market.bent import Bent
from tradewright.paper.market.script import Interlude
from tradewright.paper.market.scripted import ScriptSource
from tradewright.preset.wording import Mistake, mistakes

_MOST_NEAR = 3


class NotScripted(TradewrightError):
    def __init__(self, market: str) -> None:
        super().__init__(
            f"market {market} takes no acts: it has a book of its own, or goes in lockstep; start "
            "the exchange with --market SCRIPT.yaml"
        )


class ActsInvalid(TradewrightError):
    def __init__(self, found: list[Mistake]) -> None:
        # A list is not short of what was wrong in it
        told = [m for m in found if not any(_is_within(other, m) for other in found)]
        detail = "; ".join(": ".join(filter(None, (_place(m), m.message))) for m in told)
        super().__init__(f"{detail}; acts are such as {', '.join(map(repr, WAYS[:12:4]))}")


def _is_within(one: Mistake, other: Mistake) -> bool:
    return len(one.path) > len(other.path) and one.path[: len(other.path)] == other.path


def _place(mistake: Mistake) -> str:
    return ".".join(map(str, mistake.path))


class SymbolUnknown(TradewrightError):
    def __init__(self, symbol: str, known: list[str]) -> None:
        near = get_close_matches(symbol, known, n=_MOST_NEAR)
        advice = f"did you mean {' or '.join(near)}?"
        if not near:
            advice = f"it has {len(known)}, such as {', '.join(known[:_MOST_NEAR])}"
        super().__init__(f"symbol {symbol} is not in the market; {advice}")


def routes(exchange: Exchange) -> list[Route]:
    """Return ``/paper/script``; like all of the control side it answers to loopback alone."""

    async def put_in(request: Request) -> dict[str, Any]:
        """Let acts happen at once, before what the script says next."""
        asked = msgspec.json.decode(await request.body())
        try:
            wish = Interlude.model_validate(asked)
        except ValidationError as e:
            raise ActsInvalid(mistakes(e, asked, Interlude)) from None
        source = exchange.source
        if not isinstance(source, ScriptSource | Bent):
            raise NotScripted(source.identity.partition(" ")[0])
        for symbol in wish.strangers(source.listings):
            raise SymbolUnknown(symbol, list(source.listings))
        source.put_in(wish.acts, wish.symbol or next(iter(source.listings)))
        return {"put_in": len(wish.acts)}

    return [Route("/paper/script", answered(put_in), methods=["POST"])]
