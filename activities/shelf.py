"""Candles of one symbol and length, kept so that windows of them cost nothing."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tradewright.domain.errors import AnswerMalformed
from tradewright.plugin import COLUMNS, Candles

Row = tuple[str, ...]
"""Open, high, low, close, volume, exactly as the exchange says them."""

N = TypeVar("N", np.int64, np.float64)

EXACT = 400
"""So many of the last rows are also kept as they were written."""
ROOM = 256


class Shelf:
    """Rows in ascending order of time; between `first` and `last` there are no unknowns.

    What was handed out is never changed: rows are only ever written behind it, or to new arrays.
    """

    def __init__(self, first: int = 0, last: int = -1) -> None:
        self.first = first
        self.last = last
        self.doubts: dict[int, str] = {}
        """What was odd about the rows in which the exchange told of these times."""
        self._times: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._values: NDArray[np.float64] = np.empty((len(COLUMNS), 0), dtype=np.float64)
        self._count = 0
        self._exact: dict[int, str] = {}

    def __len__(self) -> int:
        return self._count

    def row(self, opened: int) -> Row | None:
        """Return the row as it was written, if it is one of the last."""
        written = self._exact.get(opened)
        return None if written is None else tuple(written.split())

    def append(self, rows: Mapping[int, Row]) -> None:
        """Add rows that are later than all."""
        if not rows:
            return
        times, values = _arrays(rows)
        count, end = self._count, self._count + len(times)
        if end > len(self._times):
            self._times = _with_room(self._times[:count], end)
            self._values = _with_room(self._values[:, :count], end)
        self._times[count:end], self._values[:, count:end] = times, values
        self._count = end
        self._note(rows)

    def prepend(self, rows: Mapping[int, Row]) -> None:
        """Add rows that are earlier than all."""
        if not rows:
            return
        times, values = _arrays(rows)
        self._times = np.concatenate((times, self._times[: self._count]))
        self._values = np.concatenate((values, self._values[:, : self._count]), axis=1)
        self._count = len(self._times)
        self._note(rows)

    def trim(self, keep: int) -> None:
        """Let go of all but the last *keep* rows, once there are twice as many."""
        if self._count <= 2 * keep:
            return
        begin = self._count - keep
        self._times = self._times[begin : self._count].copy()
        self._values = self._values[:, begin : self._count].copy()
        self._count = keep
        self.first = int(self._times[0])
        self.doubts = {t: doubt for t, doubt in self.doubts.items() if t >= self.first}

    def candles(self, start: int, end: int) -> Candles:
        """Return what opened from *start* to *end*, both included; cannot be written to."""
        low, high = np.searchsorted(self._times[: self._count], (start, end + 1))
        times = self._times[low:high]
        times.flags.writeable = False
        columns = self._values[:, low:high]
        columns.flags.writeable = False
        return Candles(times, *columns)

    def _note(self, rows: Mapping[int, Row]) -> None:
        # One text takes a third of the room of five
        self._exact |= {t: " ".join(rows[t]) for t in sorted(rows)[-EXACT:]}
        if len(self._exact) > EXACT + ROOM:
            self._exact = {t: self._exact[t] for t in sorted(self._exact)[-EXACT:]}


def _arrays(rows: Mapping[int, Row]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    times = sorted(rows)
    return np.array(times, dtype=np.int64), numbers(rows[t] for t in times).T


def numbers(rows: Iterable[Row]) -> NDArray[np.float64]:
    """Return *rows* as an array of one row each.

    Raises:
        AnswerMalformed: Something is no number at all; what says NaN is one.
    """
    written = list(rows)
    try:
        found = np.array(written, dtype=np.float64)
    except (ValueError, TypeError) as e:
        raise AnswerMalformed("get_kline", f"a row holds no numbers: {e}") from None
    return found.reshape(len(written), len(COLUMNS))


def _with_room(array: NDArray[N], least: int) -> NDArray[N]:
    """Return a copy that can take *least* columns and more."""
    room = np.empty((*array.shape[:-1], least + least // 4 + ROOM), dtype=array.dtype)
    room[..., : array.shape[-1]] = array
    return room
