"""What a rule remembers of earlier candles, one new value at a time."""

import math
from collections import deque
from typing import Protocol

NAN = math.nan


class Memory(Protocol):
    """Conditions go in and come out as 1, 0 and NaN; numbers as they are."""

    depth: int
    """How many values until nothing earlier matters."""
    value: float

    def feed(self, value: float) -> None:
        """Take the value of the next candle."""

    def forget(self) -> None:
        """Begin anew."""


class Earlier:
    """The value *lag* candles ago."""

    def __init__(self, lag: int) -> None:
        self.depth = lag + 1
        self.forget()

    def forget(self) -> None:
        self.value = NAN
        self._values = deque([NAN] * self.depth, maxlen=self.depth)

    def feed(self, value: float) -> None:
        self._values.append(value)
        self.value = self._values[0]


class Highest:
    """The highest of the last values; unknown if one of them is."""

    def __init__(self, candles: int, sign: float) -> None:
        self.depth = candles
        self._sign = sign
        self.forget()

    def forget(self) -> None:
        self.value = NAN
        self._count = 0
        self._unknown = -1
        self._falling: deque[tuple[int, float]] = deque()
        """Values that nothing after them has reached, and when each came."""

    def feed(self, value: float) -> None:
        self._count += 1
        falling = self._falling
        if math.isnan(value):
            self._unknown = self._count
        else:
            value *= self._sign
            while falling and falling[-1][1] <= value:
                falling.pop()
            falling.append((self._count, value))
        first = self._count - self.depth
        while falling and falling[0][0] <= first:
            falling.popleft()
        if first < 0 or self._unknown > first:
            self.value = NAN
        else:
            self.value = self._sign * falling[0][1] + 0.0


class Age:
    """Candles since a condition was true, a number of them at most."""

    def __init__(self, candles: int) -> None:
        self.depth = candles
        self.forget()

    def forget(self) -> None:
        self.value = NAN
        self._age = 0
        self._told = False

    def feed(self, value: float) -> None:
        if value == 0.0:
            self._age += 1
        else:
            self._age, self._told = 0, value == 1.0
        if self._age >= self.depth:
            self.value = float(self.depth)
        else:
            self.value = float(self._age) if self._told else NAN


class Streak:
    """Whether a condition was true at each of the last candles."""

    def __init__(self, candles: int) -> None:
        self.depth = candles
        self.forget()

    def forget(self) -> None:
        self.value = NAN
        self._true = 0
        self._since_false = self.depth

    def feed(self, value: float) -> None:
        self._true = self._true + 1 if value == 1.0 else 0
        self._since_false = 0 if value == 0.0 else self._since_false + 1
        if self._true >= self.depth:
            self.value = 1.0
        else:
            self.value = 0.0 if self._since_false < self.depth else NAN
