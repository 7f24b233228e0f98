"""A preset that trades in a running system, as a test follows it."""

from dataclasses import dataclass
from pathlib import Path

from tests.system.live_system import MOST_STEPS, Answer, LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.trade import Trade
from tradewright.ports import StrategyStatus

PRESET = """\
version: 1
name: {name}
mode: {mode}
market: {{category: linear, symbols: [{symbol}]}}
trigger: {{on: candle, timeframe: 1m}}
strategy: {{plugin: rules, params: {{{rules}}}}}
entry: {{{entry}}}
exits: {{{exits}}}
risk: {{sizing: fixed_notional, notional: 500, leverage: 2}}
"""
STOP, MARKET = "stop: {fraction: 0.05}", "type: market, expires_after: 60s"

SOON = 15.0
"""Seconds in which a candle that was heard has been decided on."""


@dataclass
class PresetAtWork:
    live: LiveSystem
    name: str
    symbol: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def text(
        self, rules: str, exits: str = STOP, entry: str = MARKET, *, mode: str = "trade"
    ) -> str:
        terms = {"rules": rules, "exits": exits, "entry": entry, "mode": mode}
        return PRESET.format(name=self.name, symbol=self.symbol, **terms)

    async def apply(
        self, rules: str, exits: str = STOP, entry: str = MARKET, *, mode: str = "trade"
    ) -> Answer:
        """Apply a version of the preset with the command."""
        self.path.write_text(self.text(rules, exits, entry, mode=mode))
        return await self.live.command("apply", self.path)

    async def applied(
        self, rules: str, exits: str = STOP, entry: str = MARKET, *, mode: str = "trade"
    ) -> str:
        """Apply a version that is right, and return its hash."""
        answer = await self.apply(rules, exits, entry, mode=mode)
        assert answer.code == 0, answer
        return (await self.status()).preset_hash

    async def status(self) -> StrategyStatus:
        handle = self.live.client.get_workflow_handle(ids.strategy_workflow(self.name))
        told: StrategyStatus = await handle.query("status", result_type=StrategyStatus)
        return told

    async def trade(self, *, but: str = "") -> TradeHandle:
        """Let the market go on until the preset has a trade in it, other than *but*."""
        for _ in range(MOST_STEPS):
            for plan in [r.plan for r in (await self.live.desk()).reservations]:
                if plan.preset == self.name and plan.trade_id != but:
                    handle = self.live.trade(plan)
                    await self.live.is_open(handle)
                    return handle
            await self.live.step()
        raise AssertionError(f"{self.name} did not trade in {MOST_STEPS} candles")

    async def decided(self, candles: int = 1) -> StrategyStatus:
        """Let the market go on until so many more candles were decided on.

        A strategy that has only just begun may not be heard by the market before its next candle.
        """
        wanted = (await self.status()).candles + candles

        async def is_so() -> StrategyStatus | None:
            status = await self.status()
            return status if status.candles >= wanted else None

        for step in range(MOST_STEPS):
            await self.live.step()
            if step + 1 < candles:
                continue
            try:
                found = await until(is_so, within=SOON)
            except AssertionError:
                continue
            assert found is not None
            return found
        raise AssertionError(f"{self.name} did not decide on {candles} in {MOST_STEPS} candles")

    async def ended(self, handle: TradeHandle) -> Trade:
        """Let the market go on until the trade has ended."""
        for _ in range(MOST_STEPS):
            trade = (await self.live.view(handle)).trade
            if trade.is_final:
                return await self.live.ended(handle)
            await self.live.step()
        raise AssertionError(f"{handle.id} did not end in {MOST_STEPS} candles")

    async def stop(self) -> None:
        await self.live.client.get_workflow_handle(ids.strategy_workflow(self.name)).cancel()
