"""Strategies are foreign code: each is asked apart, so that one that hangs holds up nobody else."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from tradewright.domain.errors import TradewrightError
from tradewright.plugin import Evaluation, View
from tradewright.preset import LoadedPreset

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds for one evaluation; decisions are given thirty."""


class StrategyFailed(TradewrightError):
    """A strategy raised, answered nonsense, or did not answer."""

    def __init__(self, preset: str, detail: str) -> None:
        super().__init__(f"the strategy failed: {detail}"[:500])
        self.preset = preset


class Strategist:
    """Asks strategies in threads that nothing else needs, one at a time for each version.

    A thread cannot be stopped: the version whose evaluation hangs is not asked again until it
    has answered, or the worker is started anew.
    """

    def __init__(self, within: float = ANSWER_WITHIN) -> None:
        self._within = within
        self._turns: dict[str, asyncio.Lock] = {}
        self._hanging: dict[str, Future[Evaluation]] = {}

    async def ask(self, loaded: LoadedPreset, view: View) -> Evaluation:
        """Return what the strategy says of *view*.

        Raises:
            StrategyFailed: It raised, did not answer in time, or has not since the last time.
        """
        name, version = loaded.preset.name, loaded.hash
        async with self._turns.setdefault(version, asyncio.Lock()):
            hanging = self._hanging.get(version)
            if hanging is not None and not hanging.done():
                raise StrategyFailed(
                    name, "it still computes an earlier candle; mend it and restart the worker"
                )
            thread = ThreadPoolExecutor(1, thread_name_prefix="strategy")
            asked = thread.submit(loaded.strategy.evaluate, view)
            thread.shutdown(wait=False)
            self._hanging[version] = asked
            try:
                async with asyncio.timeout(self._within):
                    answer = await asyncio.wrap_future(asked)
            except TimeoutError:
                detail = f"it did not answer within {self._within:g} s; mend it"
                raise StrategyFailed(name, detail) from None
            # Whatever it raises ends this decision and nothing else
            except Exception as e:
                log.exception("strategy_failed", preset=name)
                raise StrategyFailed(name, f"{type(e).__name__}: {e}") from e
        if not isinstance(answer, Evaluation):
            raise StrategyFailed(name, f"its answer is no Evaluation but {type(answer).__name__}")
        return answer
