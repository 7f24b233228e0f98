"""What a strategy is told, and what it says of itself."""

from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime, Field

from tradewright.domain.breaker import BrokenSymbol, SymbolBreaker
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Candle, Symbol, Timeframe, Value
from tradewright.domain.plan import Mode, Proposal


class Applied(Value):
    """A preset version to trade: its document lies in the journal under its hash."""

    preset: str
    preset_hash: str
    account: str
    symbols: tuple[Symbol, ...] = Field(
        description="To begin with where they are chosen by a filter."
    )
    timeframe: Timeframe
    by: str = ""
    reason: str = ""
    enabled: bool = Field(default=True, description="False: no entries; open trades run on.")
    mode: Mode = Mode.TRADE
    universe_every: timedelta | None = Field(
        default=None, description="The document's filter chooses the symbols anew so often."
    )
    book_depth: int | None = Field(default=None, description="Unset, no order book triggers it.")
    breaker: SymbolBreaker = SymbolBreaker()


class ApplyWish(Value):
    """Update `apply`: trade another version from the next candle on."""

    applied: Applied
    expected_hash: str = Field(default="", description="Refuse if another version runs.")


class PauseWish(Value):
    """Signal and update `pause` and `resume`."""

    reason: str = ""
    by: str = "operator"


class ModeWish(Value):
    """Update `set_mode`: a named person raises or lowers what the running version may do."""

    mode: Mode
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expected_hash: str = Field(default="", description="Refuse if another version runs.")


class CandleClosed(Value):
    """Signal `candle` of a strategy: candles of these symbols have closed."""

    symbols: tuple[Symbol, ...]
    close_time: AwareDatetime = Field(description="Market clock.")
    acknowledge: bool = Field(default=False, description="A market in lockstep waits for `done`.")


class BookTrigger(Value):
    """Signal `book_trigger` of a strategy: the order book calls for a decision on one symbol."""

    number: int = Field(ge=0, description="Milliseconds of the book's update; it only rises.")
    symbol: Symbol
    at: AwareDatetime = Field(description="Of the book's update; market clock.")
    book: dict[str, float] = Field(default_factory=dict, description="Its features, by name.")
    price: Decimal = Field(gt=0, description="What an entry is expected at.")


class Refusal(Value):
    """Why nothing comes of a symbol this time, found before the desk was asked."""

    symbol: str
    code: str = Field(description="A `RefusalCode`; one of a newer build is carried all the same.")
    reason: str
    fault: bool = Field(default=False, description="It counts against the symbol's breaker.")
    rest: timedelta | None = Field(
        default=None, description="The preset rests on the symbol so long at once; market time."
    )
    proposal: Proposal | None = Field(
        default=None, description="What was not proposed, where there was a signal."
    )


class UniverseWish(Value):
    """Choose a preset's symbols by the filter of its document."""

    account: str
    preset: str
    preset_hash: str
    symbols: tuple[Symbol, ...] = Field(description="Chosen last time.")


class Universe(Value):
    """What a preset trades until it is chosen anew."""

    symbols: tuple[Symbol, ...]
    kept: tuple[Symbol, ...] = Field(
        default=(), description="Not chosen any more and still held: left, and not entered."
    )
    note: str = ""


class ClosedCandle(Value):
    candle: Candle
    close: AwareDatetime = Field(description="Market clock.")


class ShadowCandles(Value):
    """Signal `candles` of a virtual trade: something happens to it within them."""

    kind: Literal["candles"] = "candles"
    closed: tuple[ClosedCandle, ...]


class ShadowExit(Value):
    """Signal and update `exit` of a virtual trade."""

    kind: Literal["exit"] = "exit"
    note: str = ""
    by: str = "operator"
    reason: ExitReason = ExitReason.OPERATOR
    at: AwareDatetime | None = Field(default=None, description="Market clock; unset: now.")


class StrategyStatus(Value):
    """Query `status` of a strategy."""

    preset: str
    preset_hash: str
    account: str
    symbols: tuple[Symbol, ...]
    timeframe: Timeframe
    book_depth: int | None = Field(default=None, description="Unset, no order book triggers it.")
    paused: bool = False
    pause_reason: str = ""
    enabled: bool = True
    mode: Mode = Mode.TRADE
    kept: tuple[Symbol, ...] = Field(default=(), description="Left, and not entered any more.")
    earlier: tuple[str, ...] = ()
    """Hashes of the versions before this one, oldest first; their trades may still run."""
    traded: tuple[str, ...] = Field(
        default=(), description="Hashes of the last versions that began a trade, oldest first."
    )
    last_candle: AwareDatetime | None = None
    last_book: dict[str, int] = Field(
        default_factory=dict, description="Number of the last trigger of each symbol."
    )
    candles: int = 0
    approved: int = 0
    refused: int = 0
    alerted: int = 0
    shadows: tuple[str, ...] = Field(
        default=(), description="Workflow ids of the virtual trades that run."
    )
    refusals: tuple[Refusal, ...] = Field(default=(), description="Of the last evaluation.")
    broken: tuple[BrokenSymbol, ...] = ()
    universe_at: AwareDatetime | None = Field(
        default=None, description="When the symbols were chosen last; wall clock."
    )
    rests_told: tuple[BrokenSymbol, ...] = Field(
        default=(), description="What the desk knows of `broken`: where it rests."
    )
    note: str = ""
    note_at: AwareDatetime | None = None
    """Wall clock."""
    needs_operator: str = ""

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the symbols that the market tells it of."""
        return (*self.symbols, *self.kept)

    @property
    def takes_entries(self) -> bool:
        return self.enabled and not self.paused
