"""Strategies are asked apart, so that one that fails, hangs or leaks harms nobody else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from activities.host import GuestFailed, Host, RemoteStrategy
from tradewright import plugin
from tradewright.book import Book
from tradewright.domain.errors import TradewrightError
from tradewright.plugin import Evaluation, Follower, View
from tradewright.preset import LoadedPreset, loads, outlined

ANSWER_WITHIN = 10.0
"""Seconds for one evaluation; decisions are given thirty."""
NEAR = 4
"""Candles that a follower takes in at once for so little that it needs no thread."""

MOST_RUNS = 2_000
"""Followers that are kept, one for each version and symbol."""

log = structlog.get_logger(__name__)


class StrategyFailed(TradewrightError):
    """A strategy raised, answered nonsense, or did not answer."""

    def __init__(self, preset: str, detail: str) -> None:
        super().__init__(f"the strategy failed: {detail}"[:500])
        self.preset = preset


@dataclass
class _Run:
    """How far a follower has come on one symbol."""

    follower: Follower
    first: int = -1
    rows: int = 0


class Strategist:
    """Asks strategies, each version one question at a time.

    Those that ship with tradewright are asked here: by followers that take one candle more, or
    else in threads that nothing else needs. A thread cannot be stopped: the version whose
    evaluation hangs is not asked again until it has answered. All others are asked in a process
    of their own, and never imported here.
    """

    def __init__(self, within: float = ANSWER_WITHIN, host: Host | None = None) -> None:
        self._within = within
        self._host = host or Host()
        self._turns: dict[str, asyncio.Lock] = {}
        self._hanging: dict[str, Future[Evaluation]] = {}
        self._runs: dict[tuple[str, str], _Run] = {}
        self._told: dict[str, str] = {}
        """What was logged last of a version's failures."""

    async def load(self, document: str) -> LoadedPreset:
        """Return the checked preset of *document*.

        Raises:
            PresetInvalid: It has mistakes.
            StrategyFailed: Its foreign strategy cannot be loaded in its process.
        """
        preset = await asyncio.to_thread(outlined, document)
        try:
            is_foreign = plugin.is_foreign(preset.strategy.plugin)
        except plugin.PluginUnknown:
            is_foreign = False
        if not is_foreign:
            return await asyncio.to_thread(loads, document)
        try:
            return await self._host.load(preset, document)
        except GuestFailed as e:
            raise StrategyFailed(preset.name, str(e)) from None

    async def ask(self, loaded: LoadedPreset, view: View) -> Evaluation:
        """Return what the strategy says of *view*.

        Raises:
            StrategyFailed: It raised, did not answer in time, or has not since the last time.
        """
        if isinstance(loaded.strategy, RemoteStrategy):
            return await self._ask_host(loaded, self._host.evaluate(loaded, view))
        async with self._turns.setdefault(loaded.hash, asyncio.Lock()):
            self._raise_if_hanging(loaded)
            run = self._run(loaded, view)
            if run is None:
                return await self._in_thread(loaded, lambda: loaded.strategy.evaluate(view))
            first, rows = _extent(view)
            is_near = first == run.first and 0 <= rows - run.rows <= NEAR
            run.first, run.rows = first, rows
            if is_near:
                return self._at_once(loaded, lambda: run.follower.evaluate(view))
            return await self._in_thread(loaded, lambda: run.follower.evaluate(view))

    async def ask_book(self, loaded: LoadedPreset, view: View, book: Book) -> Evaluation:
        """Return what the strategy says of *book*, and *view* of the last closed candle.

        Raises:
            StrategyFailed: As `ask`.
        """
        if isinstance(loaded.strategy, RemoteStrategy):
            return await self._ask_host(loaded, self._host.on_book(loaded, view, book))
        self._raise_if_hanging(loaded)
        reading: Any = loaded.strategy
        return self._at_once(loaded, lambda: reading.on_book(view, book))

    async def close(self) -> None:
        await self._host.close()

    def _run(self, loaded: LoadedPreset, view: View) -> _Run | None:
        """Return the follower of the version on the symbol; None if it is not to be followed."""
        follow = getattr(loaded.strategy, "follow", None)
        if follow is None or view.degraded or not len(view.candles):
            return None
        key = loaded.hash, view.symbol
        # The last in the row was asked last
        run = self._runs.pop(key) if key in self._runs else _Run(follow())
        self._runs[key] = run
        if len(self._runs) > MOST_RUNS:
            del self._runs[next(iter(self._runs))]
        return run

    def _raise_if_hanging(self, loaded: LoadedPreset) -> None:
        hanging = self._hanging.get(loaded.hash)
        if hanging is not None and not hanging.done():
            raise StrategyFailed(
                loaded.preset.name,
                "it still computes an earlier candle; mend it and restart the worker",
            )

    def _at_once(self, loaded: LoadedPreset, deed: Callable[[], Evaluation]) -> Evaluation:
        try:
            answer = deed()
        # Whatever it raises ends this decision and nothing else
        except Exception as e:
            raise self._failed(loaded, e) from e
        return _checked(loaded, answer)

    async def _in_thread(self, loaded: LoadedPreset, deed: Callable[[], Evaluation]) -> Evaluation:
        thread = ThreadPoolExecutor(1, thread_name_prefix="strategy")
        asked = thread.submit(deed)
        thread.shutdown(wait=False)
        self._hanging[loaded.hash] = asked
        try:
            async with asyncio.timeout(self._within):
                answer = await asyncio.wrap_future(asked)
        except TimeoutError:
            detail = f"it did not answer within {self._within:g} s; mend it"
            raise StrategyFailed(loaded.preset.name, detail) from None
        except Exception as e:
            raise self._failed(loaded, e) from e
        return _checked(loaded, answer)

    def _failed(self, loaded: LoadedPreset, error: Exception) -> StrategyFailed:
        # A follower that failed half way follows nothing any more
        for key in [key for key in self._runs if key[0] == loaded.hash]:
            del self._runs[key]
        told = f"{type(error).__name__}: {error}"
        if self._told.get(loaded.hash) != told:
            # Order books may fail many times a second, all alike
            self._told[loaded.hash] = told
            log.error("strategy_failed", preset=loaded.preset.name, exc_info=error)
        return StrategyFailed(loaded.preset.name, told)

    async def _ask_host(self, loaded: LoadedPreset, asked: Any) -> Evaluation:
        try:
            answer: Evaluation = await asked
        except GuestFailed as e:
            raise StrategyFailed(loaded.preset.name, str(e)) from None
        return answer


def _extent(view: View) -> tuple[int, int]:
    return int(view.candles.open_time[0]), len(view.candles)


def _checked(loaded: LoadedPreset, answer: object) -> Evaluation:
    if not isinstance(answer, Evaluation):
        detail = f"its answer is no Evaluation but {type(answer).__name__}"
        raise StrategyFailed(loaded.preset.name, detail)
    return answer
