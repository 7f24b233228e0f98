"""What a preset trades, and when its strategy is asked."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from tradewright.domain.market import Symbol, Timeframe
from tradewright.preset.section import Duration, Section, tag_by, unique

MAX_SYMBOLS = 200


class Universe(Section):
    """The symbols that pass a filter, looked up anew from time to time."""

    top: int = Field(ge=1, le=MAX_SYMBOLS, description="So many of the best.")
    by: Literal["turnover"] = Field(default="turnover", description="Of the last 24 hours, USDT.")
    max_spread_bp: Decimal | None = Field(
        default=None, gt=0, le=1000, description="Between bid and ask; 2 is 0.02 per cent."
    )
    min_turnover: Decimal | None = Field(
        default=None, gt=0, le=10**15, description="USDT in the last 24 hours."
    )
    exclude: Annotated[tuple[Symbol, ...], AfterValidator(unique)] = Field(
        default=(), max_length=MAX_SYMBOLS, json_schema_extra={"uniqueItems": True}
    )
    refresh: Duration = Field(default=timedelta(hours=1), description="Look again so often.")


class MarketBySymbols(Section):
    """What is traded: these symbols."""

    category: Literal["linear"] = Field(description="USDT perpetuals.")
    symbols: Annotated[tuple[Symbol, ...], AfterValidator(unique)] = Field(
        min_length=1, max_length=MAX_SYMBOLS, json_schema_extra={"uniqueItems": True}
    )

    @property
    def universe(self) -> Universe | None:
        return None


class MarketByUniverse(Section):
    """What is traded: whatever passes a filter."""

    category: Literal["linear"] = Field(description="USDT perpetuals.")
    universe: Universe

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return none: which they are is known when the exchange was asked."""
        return ()


def _market(value: Any) -> str:
    if isinstance(value, MarketByUniverse) or (isinstance(value, Mapping) and "universe" in value):
        return "#universe"
    return "#symbols"


Market = Annotated[
    Annotated[MarketBySymbols, Tag("#symbols")] | Annotated[MarketByUniverse, Tag("#universe")],
    Discriminator(_market),
]


class TriggerByCandle(Section):
    """The strategy is asked at the close of each candle."""

    on: Literal["candle"] = Field(description="At the close of each candle.")
    timeframe: Timeframe


class TriggerByBook(Section):
    """The strategy is asked at each change of the order book."""

    on: Literal["order_book"] = Field(description="At each change of the order book.")
    depth: Literal[1, 50, 200, 1000] = Field(default=50, description="Levels of each side.")
    timeframe: Timeframe = Field(
        default=Timeframe.M1, description="On whose candles stops and indicators are reckoned."
    )
    at_most_every: Duration = Field(
        default=timedelta(seconds=1), description="A symbol triggers no more often than this."
    )


Trigger = Annotated[
    Annotated[TriggerByCandle, Tag("#candle")] | Annotated[TriggerByBook, Tag("#order_book")],
    Discriminator(tag_by("on", "candle", "order_book")),
]
