"""A market that plays a script, and what is put in while it goes."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tradewright.domain.market import Instrument
from tradewright.paper.clock import ms
from tradewright.paper.market.act import (
    Act,
    Gap,
    Go,
    LevelDepth,
    Pin,
    Rate,
    Spread,
    Stand,
    Wave,
)
from tradewright.paper.market.candle import HISTORY, MINUTE_MS, Bar, Series
from tradewright.paper.market.listing import Listing, listing_of
from tradewright.paper.market.move import (
    Beat,
    Close,
    Floor,
    Funding,
    Halt,
    Move,
    Nowhere,
    Path,
    Played,
    Reference,
    Width,
)
from tradewright.paper.market.script import Item, Scene, Script, scenes
from tradewright.paper.settings import PaperSettings

Course = Callable[[int], Decimal]
"""The price after so many milliseconds."""

log = logging.getLogger(__name__)

_LOCKSTEP_START = datetime(2025, 1, 1, tzinfo=UTC)
_SECOND_MS = 1000
_BEAT_USDT = Decimal(1000)
"""What trades at a beat."""
_DIGITS = 5


class ScriptSource:
    base_minutes = 1
    waits = False

    def __init__(self, script: Script, settings: PaperSettings, born: datetime) -> None:
        start = settings.start or (_LOCKSTEP_START if settings.is_lockstep else born)
        self.begins_ms = ms(start)
        self.start_ms = self.begins_ms // MINUTE_MS * MINUTE_MS
        self.listings: dict[str, Listing] = {
            s: listing_of(s, Decimal(1).scaleb(price.adjusted() - _DIGITS + 1), price)
            for s, price in script.symbols.items()
        }
        lasts_ms = script.duration_ms() if script.ends else None
        self.steps_total = settings.steps
        if lasts_ms is not None:
            ends_ms = self.begins_ms + lasts_ms
            self.steps_total = max(1, math.ceil((ends_ms - self.start_ms) / MINUTE_MS))
        prices = ",".join(f"{s}={price}" for s, price in script.symbols.items())
        self.identity = f"script {prices}"
        self._script, self._settings = script, settings
        self._put_in: deque[Scene] = deque()
        self._rates: dict[str, Decimal] = {}

    @property
    def instruments(self) -> dict[str, Instrument]:
        return {s: listing.instrument for s, listing in self.listings.items()}

    def put_in(self, items: Sequence[Item], symbol: str) -> None:
        """Let *items* happen next; what is under way is broken off, then the script goes on."""
        self._put_in.extend(scenes(items, symbol))

    def series(self, steps: int) -> dict[str, Series]:
        made = {s: Series(1) for s in self.listings}
        for symbol, series in made.items():
            price = self._script.symbols[symbol]
            first_ms = self.start_ms - (self._settings.history or HISTORY) * MINUTE_MS
            for open_ms in range(first_ms, self.start_ms, MINUTE_MS):
                series.add(Bar(open_ms, price, price, price, price, Decimal(1), price))
        for beat in self._past(steps):
            for series in made.values():
                forming = series.forming("1")
                if forming is not None and beat.at_ms >= forming.open_ms + MINUTE_MS:
                    series.seal(beat.at_ms)
            for move in beat.moves:
                if isinstance(move, Path):
                    made[move.symbol].trade(beat.at_ms, move.prices[-1], move.volume)
        if steps:
            for series in made.values():
                series.seal(self.start_ms + steps * MINUTE_MS)
        return made

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        prices = dict(self._script.symbols)
        for beat in self._past(steps):
            prices |= {m.symbol: m.prices[-1] for m in beat.moves if isinstance(m, Path)}
        return prices

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        open_ms = self.start_ms + first * MINUTE_MS
        begin_ms = max(self.begins_ms, open_ms)
        player = self._player(self._put_in, self._rates)
        dry = player.floor
        ends_ms = None
        if self.steps_total is not None:
            ends_ms = self.start_ms + self.steps_total * MINUTE_MS
        for beat in player.beats(self.begins_ms):
            if ends_ms is not None and beat.at_ms >= ends_ms:
                break
            if beat.at_ms < begin_ms:
                continue
            if player.floor is dry:
                player.floor = floor
                if first:
                    player.prices = {s: floor.last(s) for s in self.listings}
            while beat.at_ms >= open_ms + MINUTE_MS:
                yield Close(open_ms, open_ms + MINUTE_MS)
                open_ms += MINUTE_MS
            yield beat
        while ends_ms is not None and open_ms < ends_ms:
            yield Close(open_ms, open_ms + MINUTE_MS)
            open_ms += MINUTE_MS

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        return self._rates.get(symbol, self._settings.funding_rate or None)

    def _player(self, put_in: deque[Scene], rates: dict[str, Decimal]) -> "Player":
        return Player(self._script, self._settings, self.listings, put_in, rates)

    def _past(self, steps: int) -> Iterator[Beat]:
        if not steps:
            return
        end_ms = self.start_ms + steps * MINUTE_MS
        for beat in self._player(deque(), {}).beats(self.begins_ms):
            if beat.at_ms >= end_ms:
                return
            yield beat


class Player:
    """Turns scenes into beats; each second has one, so that every candle has trades."""

    def __init__(
        self,
        script: Script,
        settings: PaperSettings,
        listings: Mapping[str, Listing],
        put_in: deque[Scene],
        rates: dict[str, Decimal],
    ) -> None:
        self.floor: Floor = Nowhere()
        self.prices = dict(script.symbols)
        self._script, self._listings = script, listings
        self._put_in, self._rates = put_in, rates
        self.halted: set[str] = set()
        self.pins: dict[str, dict[str, Pin]] = {s: {} for s in listings}
        self._widths = {s: Width(s, settings.spread_ticks, settings.depth) for s in listings}

    def beats(self, begin_ms: int) -> Iterator[Beat]:
        at_ms = begin_ms
        script = self._script.scenes()
        yield Beat(at_ms, [move for s, price in self.prices.items() for move in self._to(s, price)])
        while True:
            scene = self._put_in.popleft() if self._put_in else next(script, None)
            if scene is None and self._script.ends:
                return
            if moves := [m for s, act in (scene or {}).items() for m in self._begin(s, act)]:
                yield Beat(at_ms, moves)
            courses = {s: self._course(s, act) for s, act in (scene or {}).items()}
            ends_ms = (
                at_ms + max((a.duration_ms for a in scene.values()), default=0) if scene else None
            )
            began_ms = at_ms
            while (next_ms := self._next(at_ms, ends_ms, scene)) is not None:
                at_ms = next_ms
                yield Beat(at_ms, self._moves(at_ms, at_ms - began_ms, courses))
                if self._put_in:
                    break

    def _next(self, at_ms: int, ends_ms: int | None, scene: Scene | None) -> int | None:
        """Return when the next beat is; None when the scene is over."""
        if ends_ms is not None and at_ms >= ends_ms:
            return None
        moves = scene is not None and any(isinstance(a, Go | Wave) for a in scene.values())
        every = self._script.beat_ms if moves else _SECOND_MS
        due = at_ms - at_ms % every + every
        return due if ends_ms is None else min(due, ends_ms)

    def _moves(self, at_ms: int, passed_ms: int, courses: Mapping[str, Course]) -> list[Move]:
        moves: list[Move] = []
        is_second = at_ms % _SECOND_MS == 0
        for symbol, listing in self._listings.items():
            if symbol in self.halted:
                continue
            price = self.prices[symbol]
            if symbol in courses:
                aim = courses[symbol](passed_ms)
                price = max(listing.instrument.tick_size, listing.instrument.floor_price(aim))
            if price != self.prices[symbol] or is_second:
                moves += self._to(symbol, price)
        return moves

    def _to(self, symbol: str, price: Decimal, *, jumps: bool = False) -> Iterator[Move]:
        self.prices[symbol] = price
        instrument = self._listings[symbol].instrument
        volume = max(instrument.qty_step, instrument.floor_qty(_BEAT_USDT / price))
        yield Path(symbol, (price,), volume, jumps)
        if self.pins[symbol]:
            yield self.reference(symbol)

    def reference(self, symbol: str) -> Reference:
        found = {}
        for which, pin in self.pins[symbol].items():
            beside = self.prices[symbol] * (1 + pin.part)
            found[which] = self._listings[symbol].instrument.floor_price(pin.to or beside)
        return Reference(symbol, found.get("mark"), found.get("index"))

    def _course(self, symbol: str, act: Act) -> Course:
        begin = self.prices[symbol]
        match act:
            case Go(duration_ms, to, part):
                end = to or begin * (1 + part)
                return lambda passed_ms: (
                    begin + (end - begin) * min(passed_ms, duration_ms) / duration_ms
                )
            case Wave(duration_ms, part, period_ms):

                def swing(passed_ms: int) -> Decimal:
                    if passed_ms >= duration_ms:
                        return begin
                    turn = math.sin(2 * math.pi * passed_ms / period_ms)
                    return begin * (1 + part * Decimal(str(round(turn, 6))))

                return swing
            case _:
                return lambda _: begin

    def _begin(self, symbol: str, act: Act) -> Iterator[Move]:
        match act:
            case Gap():
                yield from self._gap(symbol, act)
            case Spread(ticks):
                yield self._widen(symbol, ticks, self._width(symbol).depth)
            case LevelDepth(usdt):
                yield self._widen(symbol, self._width(symbol).spread_ticks, usdt)
            case Pin():
                self.pins[symbol][act.which] = act
                yield self.reference(symbol)
            case Rate(rate, now):
                if now:
                    yield Funding(symbol, rate)
                else:
                    self._rates[symbol] = rate
                    yield Reference(symbol, funding_rate=rate)
            case Stand(halted):
                (self.halted.add if halted else self.halted.discard)(symbol)
                yield Halt(symbol, halted)

    def _gap(self, symbol: str, gap: Gap) -> Iterator[Move]:
        last, instrument = self.prices[symbol], self._listings[symbol].instrument
        price = gap.to or last * (1 + gap.part)
        if gap.through_stop:
            stops = self.floor.triggers(symbol)
            if not stops:
                log.warning("script finds no stop to gap through: symbol=%s", symbol)
                return
            stop = min(stops, key=lambda trigger: abs(trigger - last))
            price = stop * (1 - gap.part) if stop < last else stop * (1 + gap.part)
        yield from self._to(symbol, instrument.floor_price(price), jumps=True)

    def _width(self, symbol: str) -> Width:
        return self._widths[symbol]

    def _widen(self, symbol: str, spread_ticks: int, depth: Decimal | None) -> Width:
        width = self._widths[symbol] = Width(symbol, spread_ticks, depth)
        return width
