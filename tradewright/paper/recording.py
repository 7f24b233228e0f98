"""A market from a file of recorded candles."""

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Instrument
from tradewright.paper.candle import MINUTE_MS, Bar
from tradewright.paper.listing import instrument_of
from tradewright.paper.settings import PaperSettings

_FIELDS = ("open_time", "open", "high", "low", "close", "volume")


class RecordingUnusable(TradewrightError):
    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"recording {path} cannot be played: {detail}")


class Recording:
    """Candles of one symbol; missing minutes do not exist."""

    def __init__(self, settings: PaperSettings) -> None:
        if settings.data is None:
            raise ValueError("settings.data names no file")
        rows = list(_rows(settings.data))
        if len(rows) < 2:
            raise RecordingUnusable(settings.data, "it holds fewer than two candles")
        gaps = {b[0] - a[0] for a, b in pairwise(rows)}
        if min(gaps) <= 0:
            raise RecordingUnusable(settings.data, "its candles are not in ascending order")
        self.base_minutes = min(gaps) // MINUTE_MS
        ticks = min(p.as_tuple().exponent for row in rows for p in row[1:5])
        tick = Decimal(1).scaleb(int(ticks))
        self.instruments: dict[str, Instrument] = {
            settings.symbol: instrument_of(settings.symbol, tick)
        }
        instrument = self.instruments[settings.symbol]
        in_quote = settings.volume_unit == "quote"
        first = _ms(settings.data_from) if settings.data_from else rows[0][0]
        end = _ms(settings.data_to) if settings.data_to else rows[-1][0] + 1
        bars = [_bar(row, instrument, in_quote=in_quote) for row in rows if row[0] < end]
        self._symbol = settings.symbol
        self._history = [bar for bar in bars if bar.open_ms < first]
        self._played = [bar for bar in bars if bar.open_ms >= first]
        if not self._played:
            raise RecordingUnusable(settings.data, "no candle lies in the time asked for")
        self.start_ms = self._played[0].open_ms
        self.steps_total: int | None = len(self._played)
        self.identity = f"recording {settings.symbol} {settings.data.name} {self.start_ms}"

    def history(self) -> Iterator[dict[str, Bar]]:
        return ({self._symbol: bar} for bar in self._history)

    def steps(self) -> Iterator[dict[str, Bar]]:
        return ({self._symbol: bar} for bar in self._played)


Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]


def _rows(path: Path) -> Iterator[Row]:
    file: TextIO
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        reader = csv.DictReader(file)
        if missing := set(_FIELDS) - set(reader.fieldnames or ()):
            raise RecordingUnusable(path, f"its header lacks {', '.join(sorted(missing))}")
        for row in reader:
            try:
                opened = _ms(datetime.fromisoformat(row["open_time"]))
                prices = [Decimal(row[name]) for name in _FIELDS[1:]]
            except (ValueError, ArithmeticError) as error:
                raise RecordingUnusable(path, f"line {reader.line_num}: {error}") from error
            yield opened, prices[0], prices[1], prices[2], prices[3], prices[4]


def _ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _bar(row: Row, instrument: Instrument, *, in_quote: bool) -> Bar:
    opened, *prices, volume = row
    first, high, low, close = (instrument.floor_price(p) for p in prices)
    base = instrument.floor_qty(volume / close) if in_quote else volume
    return Bar(opened, first, high, low, close, base, volume if in_quote else volume * close)
