"""What a market is made of: moves at times, and the close of each base candle.

A source says what happens and when; the runner lets it happen to the engine.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from tradewright.domain.market import Instrument, Side
from tradewright.paper.market.candle import Bar, Series
from tradewright.paper.market.listing import Listing

Level = tuple[Decimal, Decimal]
"""Price and quantity; no quantity takes the level away."""


class Path(msgspec.Struct, frozen=True):
    """Trade along *prices*: continuously, or `jumps` to the first of them."""

    symbol: str
    prices: Sequence[Decimal]
    volume: Decimal = Decimal(0)
    """What trades on the way; shown, and no limit to what accounts trade there."""
    jumps: bool = False


class Depth(msgspec.Struct, frozen=True):
    """The order book of the market itself: all of it, or the levels that are other now."""

    symbol: str
    bids: Sequence[Level]
    asks: Sequence[Level]
    snapshot: bool = False


class Print(msgspec.Struct, frozen=True):
    """A trade between others; *side* is the taker's."""

    symbol: str
    side: Side
    price: Decimal
    qty: Decimal


class Reference(msgspec.Struct, frozen=True):
    """Mark and index price, and the funding rate that is to come; None leaves one as it is."""

    symbol: str
    mark: Decimal | None = None
    index: Decimal | None = None
    funding_rate: Decimal | None = None


class Width(msgspec.Struct, frozen=True):
    """How the book stands around the last price where no `Depth` is known."""

    symbol: str
    spread_ticks: int
    depth: Decimal | None
    """USDT per price level; None is without limit."""


class Halt(msgspec.Struct, frozen=True):
    """Trading in a symbol stops, or goes on."""

    symbol: str
    halted: bool = True


class Funding(msgspec.Struct, frozen=True):
    """Funding is paid now."""

    symbol: str
    rate: Decimal


Move = Path | Depth | Print | Reference | Width | Halt | Funding


class Beat(msgspec.Struct, frozen=True):
    """Moves at one time."""

    at_ms: int
    moves: Sequence[Move]


class Close(msgspec.Struct, frozen=True):
    """The end of a step: base candles close."""

    open_ms: int
    close_ms: int
    bars: Mapping[str, Bar] | None = None
    """Of the symbols that have one; None where they are what the moves have made."""
    steps: int = 1
    """More than one where steps were passed over in which nobody had a stake."""


Played = AsyncGenerator[Beat | Close, None]


class Floor(Protocol):
    """What a source may know of the exchange that it moves."""

    def watched(self) -> Collection[str]:
        """Return the symbols that somebody follows, holds or has orders in."""
        ...

    def behind_ms(self, at_ms: int) -> int:
        """Return by how much *at_ms* is past; none in lockstep."""
        ...

    def last(self, symbol: str) -> Decimal: ...

    def triggers(self, symbol: str) -> Collection[Decimal]:
        """Return the prices at which stops of positions wait."""
        ...


class Nowhere:
    """The exchange of a market that is only imagined."""

    def watched(self) -> Collection[str]:
        return ()

    def behind_ms(self, at_ms: int) -> int:
        return 0

    def last(self, symbol: str) -> Decimal:
        raise LookupError(f"nothing trades {symbol} here")

    def triggers(self, symbol: str) -> Collection[Decimal]:
        return ()


class Source(Protocol):
    """Where a market comes from: the same one, in the same order, every time, if it can."""

    base_minutes: int
    start_ms: int
    """When the first step begins."""
    begins_ms: int
    """Market time at which an exchange without a past begins."""
    steps_total: int | None
    waits: bool
    """Whether `play` waits for something else than the clock."""
    identity: str
    listings: dict[str, Listing]

    @property
    def instruments(self) -> dict[str, Instrument]: ...

    def series(self, steps: int) -> dict[str, Series]:
        """Return the candles of each symbol after *steps*, the history before them included."""
        ...

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        """Return the last prices after *steps*."""
        ...

    def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        """Yield the beats and the close of each step from *first* on.

        Args:
            first: Steps that were played before.
            floor: The exchange that is moved.
            whole: Whether a step is played at once, and its times do not matter.
        """
        ...

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        """Return the rate that is paid at *at_ms*; None pays none."""
        ...
