"""What the exchange lists, and what presets name that it does not."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tradewright.domain.errors import SymbolUnknown, TradewrightError
from tradewright.plugin import suggestion

if TYPE_CHECKING:
    from activities.bybit import BybitClient

PAGE: Final = 1000
"""As many instruments as Bybit gives at once; all linear ones fit."""


class SymbolsUnlisted(TradewrightError):
    """A preset names what cannot be traded."""

    def __init__(self, preset: str, advice: Mapping[str, str]) -> None:
        told = ", ".join(f"{symbol} ({hint})" for symbol, hint in advice.items())
        super().__init__(
            f"preset {preset} cannot be traded: the exchange lists no linear contract {told}; "
            f"correct market.symbols"
        )
        self.advice = dict(advice)


async def unlisted(bybit: "BybitClient", symbols: Iterable[str]) -> dict[str, str]:
    """Return those of *symbols* that the exchange does not list, each with the nearest it does."""
    # A second of imports, which commands that place no strategy do without
    from activities import parse
    from activities.bybit import LINEAR, SETTLE_COIN

    missing = []
    for symbol in symbols:
        try:
            await bybit.instrument(symbol)
        except SymbolUnknown:
            missing.append(symbol)
    if not missing:
        return {}
    answer = await bybit.call("get_instruments_info", category=LINEAR, limit=PAGE)
    listed = [
        str(row["symbol"])
        for row in parse.rows("get_instruments_info", answer)
        if row.get("settleCoin", SETTLE_COIN) == SETTLE_COIN
    ]
    return {symbol: suggestion(symbol, listed) for symbol in missing}
