"""Candles from files, put together to whatever timeframes a strategy asks for."""

import csv
import gzip
import math
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from activities.pace import moment
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Timeframe
from tradewright.paper.market.candle import MINUTE_MS
from tradewright.paper.market.recording import RecordingUnusable, base_minutes_of, rows_of
from tradewright.plugin import COLUMNS, HISTORY_SERIES, Candles

FIELDS: Final = ("open_time", *COLUMNS)


class CandlesTooLong(TradewrightError):
    """The candles of a file are longer than those that are asked for, or do not make them up."""

    def __init__(self, path: Path, minutes: int, timeframe: Timeframe) -> None:
        super().__init__(
            f"candles of {path} last {minutes} minutes, and {timeframe} is asked for; give a "
            "file of shorter ones"
        )


class CandleFile(NamedTuple):
    """The candles of one symbol."""

    path: Path
    minutes: int
    """Length of each."""
    candles: Candles
    histories: Mapping[str, NDArray[np.float64]] = MappingProxyType({})
    """What else stands in its rows, known at their closes: by the names of `HISTORY_SERIES`."""

    @property
    def missing(self) -> int:
        """Return how many candles are not there between the first and the last."""
        first, last = self.candles.open_time[[0, -1]]
        return int(last - first) // (self.minutes * MINUTE_MS) + 1 - len(self.candles)

    def history(self, name: str, closes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what was known of *name* at each of *closes*; NaN where nothing was."""
        if name not in self.histories:
            return np.full(len(closes), np.nan)
        last = np.searchsorted(self.candles.open_time, closes - self.minutes * MINUTE_MS, "right")
        # Row -1 is the NaN: before the first row nothing was known
        return np.append(self.histories[name], np.nan)[last - 1]

    def of(self, timeframe: Timeframe) -> Candles:
        """Return the closed candles of *timeframe*.

        One of which minutes are missing is made of those that there are, as an exchange that
        was away would have it; one that is not over at the end of the file is left out.

        Raises:
            CandlesTooLong: They cannot be made of those in the file.
        """
        step, base = timeframe.length // timedelta(milliseconds=1), self.minutes * MINUTE_MS
        if step % base:
            raise CandlesTooLong(self.path, self.minutes, timeframe)
        return _frozen(self.candles if step == base else _joined(self.candles, base, step))


def read(path: Path, *, in_quote: bool = False) -> CandleFile:
    """Return the candles of *path*: CSV, CSV.gz or Parquet with the columns of `FIELDS`.

    Columns named as `HISTORY_SERIES` may stand beside them, empty where nothing new is known.

    Args:
        path: The file.
        in_quote: Its volume is in the quote currency; else in coins.

    Raises:
        RecordingUnusable: It is not whole, ordered and plausible.
    """
    if path.suffix == ".parquet":
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"{path.stem}.csv"
            _copy_parquet(path, copy)
            try:
                return _read(copy, path, in_quote=in_quote)
            except RecordingUnusable as e:
                detail = str(e).partition("cannot be played: ")[2]
                raise RecordingUnusable(path, detail, e.line) from None
    return _read(path, path, in_quote=in_quote)


def _read(source: Path, path: Path, *, in_quote: bool) -> CandleFile:
    rows = list(rows_of(source))
    minutes = base_minutes_of(path, rows)
    prices = np.array([row.prices for row in rows], dtype=np.float64)
    volume = np.array([row.volume for row in rows], dtype=np.float64)
    if in_quote:
        volume = volume / prices[:, 3]
    opened = np.array([row.open_ms for row in rows], dtype=np.int64)
    first, high, low, close = np.ascontiguousarray(prices.T)
    candles = Candles(opened, first, high, low, close, volume)
    return CandleFile(path, minutes, candles, dict(_histories(source)))


def _histories(path: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the columns beside the candles; a gap keeps what was known before it."""
    with _opened(path) as file:
        reader = csv.DictReader(file)
        names = [name for name in HISTORY_SERIES if name in (reader.fieldnames or ())]
        columns: dict[str, list[float]] = {name: [] for name in names}
        for fields in reader if names else ():
            for name, column in columns.items():
                before = column[-1] if column else math.nan
                try:
                    column.append(float(fields[name]) if fields[name] else before)
                except ValueError:
                    detail = f"{name} {fields[name]!r} is no number"
                    raise RecordingUnusable(path, detail, reader.line_num) from None
    for name, column in columns.items():
        yield name, np.array(column, dtype=np.float64)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _joined(candles: Candles, base: int, step: int) -> Candles:
    opened = candles.open_time // step * step
    starts = np.flatnonzero(np.diff(opened, prepend=opened[0] - step))
    ends = np.append(starts[1:], len(opened))
    # The next one, or the end of its own time, closes a candle; the last may still be open
    if candles.open_time[-1] + base < opened[-1] + step:
        starts, ends = starts[:-1], ends[:-1]
    return Candles(
        opened[starts],
        candles.open[starts],
        _over(np.maximum, candles.high, starts, ends),
        _over(np.minimum, candles.low, starts, ends),
        candles.close[ends - 1],
        _over(np.add, candles.volume, starts, ends),
    )


def _frozen(candles: Candles) -> Candles:
    for name in FIELDS:
        getattr(candles, name).flags.writeable = False
    return candles


def _over(
    join: np.ufunc, values: NDArray[np.float64], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.float64]:
    if not len(starts):
        return values[:0]
    found: NDArray[np.float64] = join.reduceat(values[: ends[-1]], starts)
    return found


def _copy_parquet(path: Path, copy: Path) -> None:
    # A tenth of a second that no other file needs
    import duckdb

    try:
        found = duckdb.read_parquet(str(path))
        missing = [name for name in FIELDS if name not in found.columns]
        if missing:
            detail = f"it has no column {', '.join(missing)}; they are {','.join(FIELDS)}"
            raise RecordingUnusable(path, detail)
        kind = str(dict(zip(found.columns, found.types, strict=True))["open_time"])
        # As a number: a moment with a zone would come back by way of another library
        opened = "open_time" if "INT" in kind else "epoch_ms(open_time)"
        more = [name for name in HISTORY_SERIES if name in found.columns]
        rows = found.project(", ".join((opened, *COLUMNS, *more))).fetchall()
    except duckdb.Error as e:
        raise RecordingUnusable(path, f"it is no Parquet: {str(e).splitlines()[0]}") from e
    with copy.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*FIELDS, *more])
        for opened_ms, *numbers in rows:
            writer.writerow([moment(opened_ms).isoformat(), *map(_digits, numbers)])


def _digits(number: object) -> str:
    if number is None:
        return ""
    return repr(number) if isinstance(number, float) and math.isfinite(number) else str(number)


def last_rows(candles: Candles, at_ms: int, step: int) -> int:
    """Return how many of *candles* had closed at *at_ms*."""
    return int(np.searchsorted(candles.open_time, at_ms - step, side="right"))


Files = Mapping[str, CandleFile]
"""By symbol."""
