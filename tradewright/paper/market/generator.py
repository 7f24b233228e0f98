"""A made-up market: volatility in clusters, drifts that turn, a jump now and then.

Every minute is a pure function of seed, symbol and time, so that a market can go on after any
break, be asked about any time, and costs nothing where nobody looks.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import numpy as np

from tradewright.domain.market import Instrument
from tradewright.paper.clock import ms
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series
from tradewright.paper.market.course import DAY, Blower, Course, Day, Wind
from tradewright.paper.market.funding import funding_rate
from tradewright.paper.market.listing import LISTED
from tradewright.paper.market.made import MadeSeries, Minutes
from tradewright.paper.market.move import Beat, Close, Floor, Move, Path, Played, Reference, Width
from tradewright.paper.market.pace import IDLE_TICKS, TURNS, ticks, ticks_at
from tradewright.paper.settings import PaperSettings

_LOCKSTEP_START = datetime(2025, 1, 1, tzinfo=UTC)
_HISTORY = 60 * DAY
_KEPT_DAYS = 640
_LATE_MS, _LATE_S = 3 * MINUTE_MS, 2
"""Behind the clock by both, nothing but what concerns somebody is played."""
_RATE_EVERY = 10
"""Minutes between funding rates told of symbols that nobody watches."""


class Generator:
    """Endless one-minute candles of several symbols, or as many as `settings.steps`."""

    base_minutes = 1
    waits = False

    def __init__(self, settings: PaperSettings, now: datetime) -> None:
        start = settings.start or (_LOCKSTEP_START if settings.is_lockstep else now)
        self.start_ms = ms(start) // MINUTE_MS * MINUTE_MS
        named = bool(settings.start) or settings.is_lockstep
        self.begins_ms = self.start_ms if named else ms(now)
        self.steps_total = settings.steps
        self.listings = {s: LISTED[s] for s in settings.symbols or LISTED}
        named_symbols = ",".join(settings.symbols) or "all"
        self.identity = f"generator {settings.seed} {named_symbols} {self.start_ms}"
        self._spread, self._depth = settings.spread_ticks, settings.depth
        self._floor_ms = self.start_ms - (settings.history or _HISTORY) * MINUTE_MS
        speed = 0.0 if settings.speed == "lockstep" else settings.speed
        self._ticks = ticks_at(speed)
        self._late_ms = max(_LATE_MS, round(_LATE_S * 1000 * speed))
        self._market = Blower(settings.seed, "market")
        self._winds: OrderedDict[int, Wind] = OrderedDict()
        self._days: OrderedDict[tuple[str, int], Day] = OrderedDict()
        self._courses = {
            s: Course(settings.seed, x, self._market) for s, x in self.listings.items()
        }
        self._widths: dict[str, Width] = {}
        self._rated: set[str] = set()

    @property
    def instruments(self) -> dict[str, Instrument]:
        return {s: listing.instrument for s, listing in self.listings.items()}

    def series(self, steps: int) -> dict[str, Series]:
        end_ms = self.start_ms + steps * MINUTE_MS
        return {
            s: MadeSeries(
                partial(self._minutes, s),
                listing.instrument.tick_size,
                listing.instrument.qty_step,
                self._floor_ms,
                end_ms,
            )
            for s, listing in self.listings.items()
        }

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        minute = self.start_ms // MINUTE_MS + steps - 1
        return {
            s: int(self._day(s, minute // DAY).close[minute % DAY]) * listing.instrument.tick_size
            for s, listing in self.listings.items()
        }

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        step = first
        while self.steps_total is None or step < self.steps_total:
            if step == first and (passed := self._passed_over(step, floor)):
                end_ms = self.start_ms + (step + passed) * MINUTE_MS
                yield Close(end_ms - MINUTE_MS, end_ms, steps=passed)
                step += passed
                continue
            open_ms = self.start_ms + step * MINUTE_MS
            for beat in self._beats(open_ms, floor, whole=whole):
                yield beat
            yield Close(open_ms, open_ms + MINUTE_MS)
            step += 1

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal:
        """Return the rate at *at_ms*, from the premiums since it was paid last."""
        listing = self.listings[symbol]
        length = listing.funding_minutes
        minute = at_ms // MINUTE_MS
        since = (minute - 1) // length * length
        premiums = self._courses[symbol].premiums(since, max(1, minute - since))
        return funding_rate(premiums, length, listing.funding_cap)

    def bar(self, symbol: str, minute: int) -> Bar:
        """Return the candle of *minute* (since 1970)."""
        instrument = self.listings[symbol].instrument
        day, at = self._day(symbol, minute // DAY), minute % DAY
        opened, close, volume = int(day.open[at]), int(day.close[at]), int(day.volume[at])
        tick, base = instrument.tick_size, volume * instrument.qty_step
        return Bar(
            minute * MINUTE_MS,
            opened * tick,
            int(day.high[at]) * tick,
            int(day.low[at]) * tick,
            close * tick,
            base,
            base * tick * (opened + close) / 2,
        )

    def _passed_over(self, step: int, floor: Floor) -> int:
        """Return how many steps lie in the past and concern nobody."""
        behind = floor.behind_ms(self.start_ms + step * MINUTE_MS)
        if behind < self._late_ms or floor.watched():
            return 0
        passed = behind // MINUTE_MS - 1
        return passed if self.steps_total is None else min(passed, self.steps_total - step)

    def _beats(self, open_ms: int, floor: Floor, *, whole: bool) -> Iterator[Beat]:
        minute = open_ms // MINUTE_MS
        bars: dict[str, Bar] = {}
        paths: dict[str, list[Decimal]] = {}
        before: dict[str, int] = {}
        is_late = not whole and floor.behind_ms(open_ms) > self._late_ms
        count = 1 if whole else TURNS if is_late else self._ticks
        for tick in range(count):
            watched = floor.watched()
            moves: list[Move] = []
            for symbol in self.listings:
                is_idle = symbol not in watched
                if is_idle and (is_late or not (whole or _is_idle_tick(tick, count))):
                    continue
                if symbol not in bars:
                    bars[symbol] = self.bar(symbol, minute)
                    moves += self._opening(symbol, minute, is_idle=is_idle)
                bar = bars[symbol]
                if whole:
                    moves += self._whole(symbol, bar, is_idle=is_idle)
                    continue
                if symbol not in paths:
                    paths[symbol] = ticks(bar, self.listings[symbol].instrument, count)
                moves += self._ticked(symbol, bar, paths[symbol], before.get(symbol, 0), tick)
                before[symbol] = tick + 1
                if not is_idle or tick == count - 1:
                    moves.append(self._reference(symbol, minute, paths[symbol][tick]))
            # An empty one lets time pass, so that who comes now is seen at the next
            if moves or not is_late:
                at_ms = open_ms + (MINUTE_MS - 1 if whole else MINUTE_MS * tick // count)
                yield Beat(at_ms, moves)

    def _opening(self, symbol: str, minute: int, *, is_idle: bool) -> Iterator[Move]:
        heat = float(self._day(symbol, minute // DAY).heat[minute % DAY])
        spread = self._spread * max(1, round(heat**1.5))
        depth = self._depth
        if depth is None:
            depth = Decimal(round(float(self.listings[symbol].level_depth) / max(0.5, heat)))
        width = Width(symbol, spread, depth)
        if width != self._widths.get(symbol):
            self._widths[symbol] = width
            yield width
        is_due = (minute + self.listings[symbol].symbol_id) % _RATE_EVERY == 0
        if not is_idle or is_due or symbol not in self._rated:
            self._rated.add(symbol)
            yield Reference(
                symbol, funding_rate=self.funding_rate(symbol, (minute + 1) * MINUTE_MS)
            )

    def _whole(self, symbol: str, bar: Bar, *, is_idle: bool) -> Iterator[Move]:
        minute, prices = bar.open_ms // MINUTE_MS, bar.path()
        instrument = self.listings[symbol].instrument
        if is_idle:
            yield Path(symbol, prices, bar.volume, jumps=True)
            yield self._reference(symbol, minute, bar.close)
            return
        part = instrument.floor_qty(bar.volume / 4)
        for number, price in enumerate(prices):
            yield Path(symbol, (price,), part, jumps=number == 0)
            yield self._reference(symbol, minute, price)

    def _ticked(
        self, symbol: str, bar: Bar, path: list[Decimal], done: int, tick: int
    ) -> Iterator[Move]:
        """Yield the way from the *done* prices of *path* to the one of *tick*, its turns too."""
        turns = [n for n in range(done, tick) if _is_idle_tick(n, len(path))]
        part = bar.volume / len(path) * (tick + 1 - done)
        prices = [path[n] for n in (*turns, tick)]
        volume = self.listings[symbol].instrument.floor_qty(part)
        yield Path(symbol, prices, volume, jumps=not done)

    def _reference(self, symbol: str, minute: int, price: Decimal) -> Reference:
        """Return a mark price near *price*, and the index price below or above it."""
        day, at = self._day(symbol, minute // DAY), minute % DAY
        tick = self.listings[symbol].instrument.tick_size
        steps, premium = float(price / tick), float(day.premium[at])
        lag = 2e-5 * (float(day.heat[at]) - 1)
        mark = max(1, round(steps * (1 - lag)))
        return Reference(symbol, mark * tick, max(1, round(steps / (1 + premium))) * tick)

    def _minutes(self, symbol: str, first: int, count: int) -> Minutes:
        parts = []
        at = first
        while at < first + count:
            day = self._day(symbol, at // DAY)
            begin, end = at % DAY, min(DAY, at % DAY + first + count - at)
            parts.append([column[begin:end] for column in day[:5]])
            at += end - begin
        return Minutes(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _day(self, symbol: str, day: int) -> Day:
        known = self._days.get((symbol, day))
        if known is not None:
            self._days.move_to_end((symbol, day))
            return known
        if day not in self._winds:
            self._winds[day] = self._market.wind(day)
            if len(self._winds) > _KEPT_DAYS:
                self._winds.popitem(last=False)
        made = self._days[symbol, day] = self._courses[symbol].day(day, self._winds[day])
        if len(self._days) > _KEPT_DAYS:
            self._days.popitem(last=False)
        return made


def _is_idle_tick(tick: int, count: int) -> bool:
    """Return whether the path of a candle turns at *tick*; symbols nobody watches move then."""
    return tick in IDLE_TICKS[count]
