"""A market that goes its own way, and lets acts bend it."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from tradewright.domain.market import Instrument
from tradewright.paper.market.candle import Series
from tradewright.paper.market.listing import Listing
from tradewright.paper.market.made import MadeSeries
from tradewright.paper.market.move import (
    Beat,
    Floor,
    Move,
    Path,
    Played,
    Reference,
    Source,
    Width,
)
from tradewright.paper.market.script import Item, Script, named_symbols
from tradewright.paper.market.scripted import Player
from tradewright.paper.settings import PaperSettings


class Bent:
    """A source of candles whose prices, from its first act on, are off by a factor.

    While acts go on, they alone move their symbols; afterwards these go on from there. Mark and
    index stay as far from the last price as the source has them, unless acts pin them.
    """

    waits = False

    def __init__(self, source: Source, settings: PaperSettings) -> None:
        self._source, self._settings = source, settings
        self.base_minutes, self.steps_total = source.base_minutes, source.steps_total
        self.start_ms, self.begins_ms = source.start_ms, source.begins_ms
        self.identity = source.identity
        self.listings: dict[str, Listing] = source.listings
        self._series: dict[str, Series] = {}
        self._straight: dict[str, Decimal] = {}
        """The last prices as the source says them."""
        self._told: dict[str, tuple[Reference, Decimal]] = {}
        """Mark and index as the source told them last, and its last price then."""
        self._factors: dict[str, Decimal] = {}
        self._rates: dict[str, Decimal] = {}
        self._wishes: deque[tuple[Sequence[Item], str]] = deque()
        self._players: dict[str, Player] = {}
        """Who shaped a symbol last."""
        self._acting: tuple[Player, Iterator[Beat]] | None = None
        self._pending: Beat | None = None

    @property
    def instruments(self) -> dict[str, Instrument]:
        return self._source.instruments

    def put_in(self, items: Sequence[Item], symbol: str) -> None:
        """Let *items* happen next; acts that are under way are broken off."""
        self._wishes.append((items, symbol))

    def series(self, steps: int) -> dict[str, Series]:
        self._series = self._source.series(steps)
        return self._series

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        self._straight = dict(self._source.prices(steps))
        return self._straight

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        at_ms = self.begins_ms
        async for item in self._source.play(first, floor, whole=whole):
            next_ms = item.at_ms if isinstance(item, Beat) else item.close_ms
            for beat in self._own(at_ms, next_ms, floor):
                yield beat
            at_ms = next_ms
            if isinstance(item, Beat):
                yield Beat(at_ms, [m for move in item.moves for m in self._bend(move)])
            elif self._factors and item.bars is not None:
                yield replace(item, bars=None)
            else:
                yield item

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        own = self._rates.pop(symbol, None)
        return self._source.funding_rate(symbol, at_ms) if own is None else own

    def _own(self, at_ms: int, until_ms: int, floor: Floor) -> Iterator[Beat]:
        """Yield the beats of the acts that lie before *until_ms*."""
        while self._wishes or self._acting:
            if self._wishes:
                self._finish()
                self._acting = self._begun(at_ms, floor)
            if self._acting is not None:
                beat = self._pending or next(self._acting[1], None)
                self._pending = None
                if beat is None:
                    self._finish()
                elif beat.at_ms >= until_ms:
                    self._pending = beat
                    return
                else:
                    at_ms = beat.at_ms
                    yield Beat(at_ms, list(self._accompanied(beat)))

    def _begun(self, at_ms: int, floor: Floor) -> tuple[Player, Iterator[Beat]]:
        items, symbol = self._wishes.popleft()
        symbols = {symbol, *named_symbols(items)}
        for name in symbols - self._factors.keys():
            series = self._series.get(name)
            if isinstance(series, MadeSeries):
                series.keep()
            self._factors[name] = Decimal(1)
        prices = {s: floor.last(s) for s in sorted(symbols, key=lambda s: s != symbol)}
        script = Script(version=1, symbols=prices, acts=tuple(items), ends=True)
        listings = {s: self.listings[s] for s in prices}
        player = Player(script, self._settings, listings, deque(), self._rates)
        player.floor = floor
        for name in prices.keys() & self._players.keys():
            before = self._players[name]
            player.pins[name] = before.pins[name]
            player.halted |= before.halted & {name}
        self._players |= dict.fromkeys(prices, player)
        return player, player.beats(at_ms)

    def _finish(self) -> None:
        if self._acting is not None:
            for symbol, price in self._acting[0].prices.items():
                self._factors[symbol] = price / self._straight[symbol]
        self._acting = self._pending = None

    def _accompanied(self, beat: Beat) -> Iterator[Move]:
        for move in beat.moves:
            yield move
            if isinstance(move, Path) and move.symbol in self._told:
                told, straight = self._told[move.symbol]
                yield self._reference(told, move.prices[-1] / straight)

    def _bend(self, move: Move) -> Iterator[Move]:
        symbol = move.symbol
        if isinstance(move, Path):
            self._straight[symbol] = move.prices[-1]
        elif isinstance(move, Reference) and move.mark is not None:
            self._told[symbol] = move, self._straight[symbol]
        player = self._players.get(symbol)
        if player is None:
            yield move
            return
        acts = self._acting is not None and self._acting[0] is player
        if acts or symbol in player.halted or isinstance(move, Width):
            return
        if isinstance(move, Path):
            prices = [self._off(symbol, price, self._factors[symbol]) for price in move.prices]
            yield replace(move, prices=prices)
            player.prices[symbol] = prices[-1]
            if player.pins[symbol]:
                yield player.reference(symbol)
        elif isinstance(move, Reference):
            yield self._reference(move, self._factors[symbol])

    def _reference(self, told: Reference, factor: Decimal) -> Reference:
        """Return *told* off by *factor*, but for what acts have pinned."""
        pins = self._players[told.symbol].pins[told.symbol]
        mark, index = (
            None if price is None or which in pins else self._off(told.symbol, price, factor)
            for which, price in (("mark", told.mark), ("index", told.index))
        )
        return replace(told, mark=mark, index=index)

    def _off(self, symbol: str, price: Decimal, factor: Decimal) -> Decimal:
        instrument = self.listings[symbol].instrument
        return max(instrument.tick_size, instrument.floor_price(price * factor))
