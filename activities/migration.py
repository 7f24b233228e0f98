"""What exits a trade would have, had the version of its preset opened it that runs now."""

from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.evaluation import reckon_exits
from activities.library import Library, PresetUnusable
from activities.lookout import Lookout
from activities.messenger import Messenger
from activities.strategist import Strategist, StrategyFailed
from tradewright import ids
from tradewright.domain.errors import TradewrightError
from tradewright.domain.plan import TradePlan
from tradewright.ports import ExitsWish, ExitTerms, StrategyStatus
from tradewright.preset import LoadedPreset
from tradewright.preset.section import ByIndicator

WITHIN: Final = 4.0
"""Seconds for the strategy to say what runs."""


class Migrations:
    def __init__(
        self, client: Client, library: Library, strategist: Strategist, lookout: Lookout
    ) -> None:
        self._client = client
        self._messenger = Messenger(client)
        self._library = library
        self._strategist = strategist
        self._lookout = lookout

    async def terms(self, wish: ExitsWish) -> ExitTerms:
        """Return the exits by the version that runs, or why the trade cannot be moved to it."""
        plan = wish.plan
        if not await self._runs(plan.preset):
            return ExitTerms(
                fault=f"preset {plan.preset} does not run; apply it, then move the trade"
            )
        status = await self._messenger.ask_in_time(
            ids.strategy_workflow(plan.preset), "status", StrategyStatus, WITHIN
        )
        if status is None:
            return ExitTerms(fault=f"preset {plan.preset} does not answer; ask again")
        if fault := _mismatch(wish, status):
            return ExitTerms(fault=fault)
        try:
            loaded = await self._library.preset(status.preset_hash)
            factors = await self._factors(loaded, plan)
        except (PresetUnusable, StrategyFailed) as e:
            return ExitTerms(fault=str(e))
        found = reckon_exits(loaded.preset, plan, factors)
        if isinstance(found, str):
            return ExitTerms(fault=f"version {loaded.hash} has no exits for it: {found}")
        exits, targets, take_profit = found
        return ExitTerms(
            preset_hash=loaded.hash, exits=exits, targets=targets, take_profit=take_profit
        )

    async def _runs(self, preset: str) -> bool:
        """Return whether *preset* runs: a workflow that has ended answers questions, too."""
        handle = self._client.get_workflow_handle(ids.strategy_workflow(preset))
        try:
            found = await handle.describe()
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return found.close_time is None

    async def _factors(self, loaded: LoadedPreset, plan: TradePlan) -> dict[str, float]:
        """Return the version's indicators at the candle that the trade was decided on.

        Nothing if its exits need none.
        """
        if not isinstance(loaded.preset.exits.trailing, ByIndicator):
            return {}
        try:
            sight = await self._lookout.sight(loaded, plan.symbol, plan.trigger)
        except TradewrightError as e:
            raise PresetUnusable(loaded.hash, str(e)) from None
        answer = await self._strategist.ask(loaded, sight.view)
        return answer.factors | (answer.signal.factors if answer.signal else {})


def _mismatch(wish: ExitsWish, status: StrategyStatus) -> str:
    plan = wish.plan
    if status.account != plan.account:
        return f"preset {plan.preset} trades account {status.account}, not {plan.account}"
    if wish.expected_hash and not status.preset_hash.startswith(wish.expected_hash):
        return f"preset {plan.preset} runs version {status.preset_hash}, not {wish.expected_hash}"
    if plan.symbol not in status.watched:
        return f"version {status.preset_hash} does not watch {plan.symbol}"
    return ""
