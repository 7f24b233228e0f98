"""A market from a file of recorded candles."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Instrument
from tradewright.paper.clock import moment
from tradewright.paper.market.candle import BASE_MINUTES, MINUTE_MS, Bar, Series
from tradewright.paper.market.listing import Listing, listing_of
from tradewright.paper.market.move import Beat, Close, Floor, Played
from tradewright.paper.market.move import Path as Way
from tradewright.paper.market.pace import TICKS, ticks
from tradewright.paper.settings import PaperSettings

_PRICES = ("open", "high", "low", "close")
_FIELDS = ("open_time", *_PRICES, "volume")
_MOST_DIGITS = 30
"""After the point; candles that were floating-point numbers have many. Half of it before."""
_FINEST_TICK = Decimal("1e-12")
_HAIR = Decimal("1e-6")
_OFF_TICK = Decimal("1e-5")
"""Part of a price by which it may lie off the tick: what floating point, or an exchange whose
tick was finer, does to it. One of another symbol lies farther off."""


class RecordingUnusable(TradewrightError):
    def __init__(self, path: Path, detail: str, line: int | None = None) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"recording {where} cannot be played: {detail}")
        self.path = path
        self.line = line


class Recording:
    """Candles of one symbol; missing ones do not exist.

    Raises:
        RecordingUnusable: The file is not whole, ordered and plausible, or has no candle in time.
    """

    waits = False

    def __init__(
        self,
        data: Path,
        symbol: str,
        *,
        in_quote: bool = False,
        begin: datetime | None = None,
        end: datetime | None = None,
        funding_rate: Decimal | None = None,
    ) -> None:
        rows = list(rows_of(data))
        self.base_minutes = base_minutes_of(data, rows)
        tick = Decimal(1).scaleb(min(_exponent(price) for row in rows for price in row.prices))
        listing = listing_of(symbol, max(tick, _FINEST_TICK), rows[0].prices[0])
        instrument = listing.instrument
        self.listings: dict[str, Listing] = {symbol: listing}
        first_ms = _ms(begin) if begin else rows[0].open_ms
        end_ms = _ms(end) if end else rows[-1].open_ms + 1
        bars = [_bar(data, r, instrument, in_quote=in_quote) for r in rows if r.open_ms < end_ms]
        self._symbol = symbol
        self._history = [bar for bar in bars if bar.open_ms < first_ms]
        self._played = [bar for bar in bars if bar.open_ms >= first_ms]
        if not self._played:
            held = f"{_told(rows[0].open_ms)} to {_told(rows[-1].open_ms)}"
            raise RecordingUnusable(
                data, f"no candle lies in the time asked for; it holds those from {held}"
            )
        self.start_ms = self.begins_ms = self._played[0].open_ms
        self.steps_total: int | None = len(self._played)
        self.identity = f"recording {symbol} {data.name} {self.start_ms}"
        self._funding_rate = funding_rate

    @classmethod
    def of(cls, data: Path, settings: PaperSettings) -> Self:
        return cls(
            data,
            settings.symbol,
            in_quote=settings.volume_unit == "quote",
            begin=settings.data_from,
            end=settings.data_to,
            funding_rate=settings.funding_rate or None,
        )

    @property
    def instruments(self) -> dict[str, Instrument]:
        return {self._symbol: self.listings[self._symbol].instrument}

    def series(self, steps: int) -> dict[str, Series]:
        series = Series(self.base_minutes)
        for bar in (*self._history, *self._played[:steps]):
            series.add(bar)
        return {self._symbol: series}

    def prices(self, steps: int) -> dict[str, Decimal]:
        before = self._played[steps - 1] if steps else self._history[-1] if self._history else None
        # Nothing has traded yet: what comes first is the only price there is
        price = self._played[0].open if before is None else before.close
        return {self._symbol: price}

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        for bar in self._played[first:]:
            for beat in self._whole(bar) if whole else self._spread(bar):
                yield beat
            yield Close(bar.open_ms, bar.open_ms + self._base_ms, {self._symbol: bar})

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        return self._funding_rate

    @property
    def _base_ms(self) -> int:
        return self.base_minutes * MINUTE_MS

    def _whole(self, bar: Bar) -> Iterator[Beat]:
        # Within the candle, so that what its path does is not dated at the next one
        at_ms = bar.open_ms + self._base_ms - 1
        yield Beat(at_ms, [Way(self._symbol, bar.path(), bar.volume, jumps=True)])

    def _spread(self, bar: Bar) -> Iterator[Beat]:
        instrument = self.listings[self._symbol].instrument
        part = instrument.floor_qty(bar.volume / TICKS)
        for tick, price in enumerate(ticks(bar, instrument)):
            at_ms = bar.open_ms + self._base_ms * tick // TICKS
            yield Beat(at_ms, [Way(self._symbol, (price,), part, jumps=tick == 0)])


class Row(NamedTuple):
    line: int
    open_ms: int
    prices: tuple[Decimal, ...]
    volume: Decimal


class _Slip(Exception):
    """What is wrong with one line."""


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the candles of *path*, which are in order and plausible.

    Raises:
        RecordingUnusable: At the first line that is not.
    """
    try:
        with _opened(path) as file:
            yield from _parsed(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        detail = "it is no whole gzip file; fetch it again"
        raise RecordingUnusable(path, detail) from error
    except (UnicodeDecodeError, csv.Error) as error:
        detail = f"it is not CSV text; the header is {','.join(_FIELDS)}"
        raise RecordingUnusable(path, detail) from error
    except OSError as error:
        detail = f"it cannot be read: {error.strerror or error}"
        raise RecordingUnusable(path, detail) from error


def _opened(path: Path) -> TextIO:
    # Spreadsheets write a mark before the header
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _parsed(path: Path, file: TextIO) -> Iterator[Row]:
    reader = csv.DictReader(file)
    if not reader.fieldnames:
        raise RecordingUnusable(path, f"it is empty; the header is {','.join(_FIELDS)}")
    if missing := [name for name in _FIELDS if name not in reader.fieldnames]:
        detail = f"its header lacks {', '.join(missing)}; it is {','.join(_FIELDS)}"
        raise RecordingUnusable(path, detail, 1)
    before: Row | None = None
    for fields in reader:
        try:
            row = _row(reader.line_num, fields)
            if before is not None and row.open_ms <= before.open_ms:
                verb = "repeats" if row.open_ms == before.open_ms else "is before"
                told = _told(row.open_ms)
                raise _Slip(f"open_time {told} {verb} that of line {before.line}; sort the file")
        except _Slip as slip:
            raise RecordingUnusable(path, str(slip), reader.line_num) from None
        yield row
        before = row


def _row(line: int, fields: dict[str, str | None]) -> Row:
    missing = [name for name in _FIELDS if not fields[name]]
    if missing:
        raise _Slip(f"{missing[0]} is missing")
    opened = fields["open_time"] or ""
    try:
        open_ms = _ms(datetime.fromisoformat(opened))
    except (ValueError, OverflowError):
        raise _Slip(f"open_time {opened!r} is no time; write 2022-01-05T00:00:00Z") from None
    prices = {name: _number(name, fields[name] or "") for name in _PRICES}
    for name, price in prices.items():
        if price <= 0:
            raise _Slip(f"{name} {price} is not above zero")
        if price > prices["high"]:
            raise _Slip(f"{name} {price} is above high {prices['high']}")
        if price < prices["low"]:
            raise _Slip(f"{name} {price} is below low {prices['low']}")
    volume = _number("volume", fields["volume"] or "")
    if volume < 0:
        raise _Slip(f"volume {volume} is below zero")
    return Row(line, open_ms, tuple(prices.values()), volume)


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _Slip(f"{name} {text!r} is no number") from None
    if not number.is_finite():
        raise _Slip(f"{name} {text!r} is no number")
    if number.adjusted() > _MOST_DIGITS // 2 or _exponent(number) < -_MOST_DIGITS:
        raise _Slip(f"{name} {text!r} is out of all range")
    return number


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def base_minutes_of(path: Path, rows: list[Row]) -> int:
    """Return the length of the candles: the least that lies between two of them."""
    if len(rows) < 2:
        raise RecordingUnusable(path, "it holds fewer than two candles")
    gap_ms, line = min((b.open_ms - a.open_ms, b.line) for a, b in pairwise(rows))
    minutes, rest = divmod(gap_ms, MINUTE_MS)
    if rest or minutes not in BASE_MINUTES:
        lengths = ", ".join(map(str, BASE_MINUTES))
        detail = (
            f"it comes {gap_ms / MINUTE_MS:g} minutes after the one before, not one of {lengths}"
        )
        raise RecordingUnusable(path, detail, line)
    for row in rows:
        if row.open_ms % gap_ms:
            told = _told(row.open_ms)
            detail = f"open_time {told} is not that of a candle of {minutes} minutes"
            raise RecordingUnusable(path, detail, row.line)
    return minutes


def _ms(at: datetime) -> int:
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _told(at_ms: int) -> str:
    return moment(at_ms).isoformat().replace("+00:00", "Z")


def _bar(path: Path, row: Row, instrument: Instrument, *, in_quote: bool) -> Bar:
    tick = instrument.tick_size
    for name, price in zip(_PRICES, row.prices, strict=True):
        off = price % tick
        if off and (price < tick or min(off, tick - off) > price * _OFF_TICK):
            detail = (
                f"{name} {price} is no multiple of {tick}, the tick of {instrument.symbol}; name "
                "the symbol whose candles these are: --symbol NAME"
            )
            raise RecordingUnusable(path, detail, row.line)
    # Floating point may have left it a hair below
    hair = tick * _HAIR
    first, high, low, close = (instrument.floor_price(price + hair) for price in row.prices)
    volume = row.volume
    base = instrument.floor_qty(volume / close) if in_quote else volume
    return Bar(row.open_ms, first, high, low, close, base, volume if in_quote else volume * close)
