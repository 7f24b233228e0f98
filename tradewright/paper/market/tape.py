"""A market from a recording of stream messages: order book, trades, best quotes."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Self

import msgspec

from tradewright.domain.market import Instrument
from tradewright.paper.clock import ms
from tradewright.paper.market.candle import MINUTE_MS, Series
from tradewright.paper.market.listing import Listing, listing_of
from tradewright.paper.market.message import Reader, Slip, Told
from tradewright.paper.market.move import Beat, Close, Depth, Floor, Move, Played, Print
from tradewright.paper.market.move import Path as Way
from tradewright.paper.market.recording import RecordingUnusable
from tradewright.paper.settings import PaperSettings

_MOST_BACK_MS = MINUTE_MS
_FINEST_TICK = Decimal("1e-12")


class Tape:
    """Recorded messages at their own times; the file is read as it is played.

    Raises:
        RecordingUnusable: A line cannot be, or nothing that can be played lies in the time.
    """

    base_minutes = 1
    waits = False

    def __init__(
        self,
        path: Path,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        funding_rate: Decimal | None = None,
    ) -> None:
        self._path = path
        self._begin_ms = ms(begin) if begin else 0
        self._end_ms = ms(end) if end else 10**13
        self._funding_rate = funding_rate
        self._printed: set[str] = set()
        exponents: dict[str, int] = {}
        first_ms = last_ms = 0
        opened: dict[str, Decimal] = {}
        for told, reader in self._read():
            if told.at_ms >= self._end_ms:
                break
            for move in told.moves:
                _note(move, self._printed, exponents)
            for symbol, ladder in reader.ladders.items():
                if symbol not in opened and ladder.is_whole:
                    opened[symbol] = ladder.middle
            if told.at_ms >= self._begin_ms and opened:
                first_ms = first_ms or told.at_ms
                last_ms = told.at_ms
        if not first_ms:
            raise RecordingUnusable(
                path, "it holds no order book that can be played in the time asked for"
            )
        self.begins_ms = first_ms
        self.start_ms = first_ms // MINUTE_MS * MINUTE_MS
        self.steps_total: int | None = last_ms // MINUTE_MS - first_ms // MINUTE_MS + 1
        self.identity = f"tape {','.join(sorted(opened))} {path.name} {first_ms}"
        self.listings: dict[str, Listing] = {
            s: _listing(s, exponents[s], price) for s, price in opened.items()
        }

    @classmethod
    def of(cls, path: Path, settings: PaperSettings) -> Self:
        return cls(
            path,
            begin=settings.data_from,
            end=settings.data_to,
            funding_rate=settings.funding_rate or None,
        )

    @property
    def instruments(self) -> dict[str, Instrument]:
        return {s: listing.instrument for s, listing in self.listings.items()}

    def series(self, steps: int) -> dict[str, Series]:
        return self._past(steps)[0]

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        return self._past(steps)[1]

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        begin_ms = max(self.begins_ms, self.start_ms + first * MINUTE_MS)
        minute = begin_ms // MINUTE_MS
        moves: list[Move] = []
        at_ms = 0
        for told_ms, told_moves in self._told(begin_ms):
            if told_ms != at_ms and moves:
                yield Beat(at_ms, moves)
                moves = []
            at_ms = told_ms
            while minute < at_ms // MINUTE_MS:
                yield Close(minute * MINUTE_MS, (minute + 1) * MINUTE_MS)
                minute += 1
            moves += told_moves
        if moves:
            yield Beat(at_ms, moves)
        yield Close(minute * MINUTE_MS, (minute + 1) * MINUTE_MS)

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        return self._funding_rate

    def _told(self, begin_ms: int) -> Iterator[tuple[int, list[Move]]]:
        """Yield what is told from *begin_ms* on: first the books as they stand then."""
        lasts: dict[str, Decimal] = {}
        begun = False
        for told, reader in self._read():
            if told.at_ms >= self._end_ms:
                return
            if told.at_ms < begin_ms:
                continue
            moves = told.moves
            if not begun:
                begun = True
                prints = [m for m in moves if not isinstance(m, Depth)]
                moves = [
                    *(Depth(s, *x.levels(), snapshot=True) for s, x in reader.ladders.items()),
                    *prints,
                ]
            moves = [m for m in moves if m.symbol in self.listings]
            yield told.at_ms, [*moves, *self._middles(moves, reader, lasts)]

    def _middles(
        self, moves: list[Move], reader: Reader, lasts: dict[str, Decimal]
    ) -> Iterator[Move]:
        """Let the middle of the book be the last price of what has no trades in the file."""
        for move in moves:
            ladder = reader.ladders.get(move.symbol)
            if move.symbol in self._printed or ladder is None or not ladder.is_whole:
                continue
            middle = self.listings[move.symbol].instrument.floor_price(ladder.middle)
            if lasts.get(move.symbol) != middle:
                lasts[move.symbol] = middle
                yield Way(move.symbol, (middle,))

    def _past(self, steps: int) -> tuple[dict[str, Series], dict[str, Decimal]]:
        """Return the candles and the last prices after *steps*."""
        series = {s: Series(1) for s in self.listings}
        prices = {
            s: listing.instrument.floor_price(listing.first_price)
            for s, listing in self.listings.items()
        }
        end_ms = self.start_ms + steps * MINUTE_MS
        minute = 0
        for at_ms, moves in self._told(0):
            if at_ms >= end_ms and at_ms >= self.begins_ms:
                break
            if at_ms // MINUTE_MS != minute:
                minute = at_ms // MINUTE_MS
                for candles in series.values():
                    candles.seal(minute * MINUTE_MS)
            for move in moves:
                if isinstance(move, Print):
                    prices[move.symbol] = move.price
                    series[move.symbol].trade(at_ms, move.price, move.qty)
                elif isinstance(move, Way):
                    prices[move.symbol] = move.prices[-1]
                    series[move.symbol].trade(at_ms, move.prices[-1], Decimal(0))
        if end_ms > self.begins_ms:
            for candles in series.values():
                candles.seal(end_ms)
        return series, prices

    def _read(self) -> Iterator[tuple[Told, Reader]]:
        """Yield what each line says, never going back in time."""
        reader, at_ms = Reader(), 0
        number = 0
        try:
            with self._opened() as lines:
                for number, line in enumerate(lines, start=1):  # noqa: B007 - told in errors
                    told = reader.read(_decoded(line)) if line.strip() else None
                    if told is None:
                        continue
                    if told.at_ms < at_ms - _MOST_BACK_MS:
                        raise Slip(f"it was told {at_ms - told.at_ms} ms before an earlier line")
                    at_ms = max(at_ms, told.at_ms)
                    yield told._replace(at_ms=at_ms), reader
        except Slip as slip:
            raise RecordingUnusable(self._path, str(slip), number) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            detail = "it is no whole gzip file; fetch it again"
            raise RecordingUnusable(self._path, detail) from error
        except OSError as error:
            detail = f"it cannot be read: {error.strerror or error}"
            raise RecordingUnusable(self._path, detail) from error

    def _opened(self) -> gzip.GzipFile:
        with self._path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        return gzip.open(self._path) if is_packed else self._path.open("rb")  # type: ignore[return-value]


def _decoded(line: bytes) -> object:
    # A time of receipt may stand before the message
    begin = line.find(b"{")
    if begin < 0 or line[:begin].strip().strip(b"0123456789"):
        raise Slip("it is no JSON object")
    try:
        found: object = msgspec.json.decode(line[begin:])
    except msgspec.DecodeError as error:
        raise Slip(f"it is no JSON: {error}") from None
    return found


def _note(move: Move, printed: set[str], exponents: dict[str, int]) -> None:
    prices: list[Decimal] = []
    if isinstance(move, Print):
        printed.add(move.symbol)
        prices = [move.price]
    elif isinstance(move, Depth):
        prices = [price for price, _ in (*move.bids[:3], *move.asks[:3])]
    for price in prices:
        digits = int(price.normalize().as_tuple().exponent)
        exponents[move.symbol] = min(exponents.get(move.symbol, 0), digits)


def _listing(symbol: str, exponent: int, price: Decimal) -> Listing:
    """Return the listing of *symbol*, whose price step is at least as fine as the recording's."""
    tick = max(_FINEST_TICK, Decimal(1).scaleb(exponent))
    listing = listing_of(symbol, tick, price)
    instrument = listing.instrument
    if tick < instrument.tick_size:
        instrument = instrument.model_copy(update={"tick_size": tick})
    return msgspec.structs.replace(listing, instrument=instrument, first_price=price)
