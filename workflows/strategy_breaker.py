"""What follows where a preset fails: the candle is skipped, then it rests on the symbol.

Where presets rest on too many symbols the desk of the account asks for safe mode.
"""

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.account import Resting
from tradewright.domain.breaker import SymbolBreaker, failed, resting, worked
from tradewright.domain.plan import Mode
from tradewright.ports import Refusal
from workflows.strategy_record import StrategyRecord


class StrategyBreaker:
    """Counts the failures of each symbol in the strategy's status."""

    def __init__(self, record: StrategyRecord) -> None:
        self._record = record

    def without_resting(self, symbols: tuple[str, ...], at: datetime) -> tuple[str, ...]:
        """Return those of *symbols* that may be looked at; *at* is of the market clock."""
        rest = resting(self._record.status.broken, at)
        return tuple(symbol for symbol in symbols if symbol not in rest)

    async def judge(
        self,
        asked: tuple[str, ...],
        refusals: tuple[Refusal, ...],
        at: datetime,
        terms: SymbolBreaker,
    ) -> None:
        """Count what failed and what worked of the symbols that were *asked* about."""
        faults = {one.symbol: one for one in refusals if one.fault or one.rest}
        for symbol in asked:
            await self._count(symbol, faults.get(symbol), at, terms)
        await self._tell_desk(at)

    async def _count(
        self, symbol: str, fault: Refusal | None, at: datetime, terms: SymbolBreaker
    ) -> None:
        record = self._record
        before = next((one for one in record.status.broken if one.symbol == symbol), None)
        if fault is None:
            if before is None:
                return
            record.change(broken=worked(record.status.broken, symbol))
            if before.until is not None:
                record.note("symbol_works", "breaker", "", symbol)
                await record.tell_rest(symbol, "it works again", resolved=True)
            return
        broken = failed(record.status.broken, symbol, fault.reason, at, terms, fault.rest)
        record.change(broken=broken)
        now = next(one for one in broken if one.symbol == symbol)
        if now.until is None:
            return
        times = "1 failure" if now.failures == 1 else f"{now.failures} failures in a row"
        reason = f"{times}, the last {fault.code}: {fault.reason}; until {now.until} (market time)"
        record.note("symbol_rests", "breaker", reason, symbol)
        if before is None or before.until is None:
            await record.tell_rest(symbol, reason)

    async def _tell_desk(self, at: datetime) -> None:
        """Let the desk know where it rests: failures of all its presets together mean more.

        Of what does not trade it hears nothing: that may be tried out, and fails alone.
        """
        record = self._record
        status = record.status
        trades = status.mode is Mode.TRADE and status.enabled
        rest = tuple(one for one in status.broken if one.rests(at)) if trades else ()
        if rest == status.rests_told:
            return
        desk = workflow.get_external_workflow_handle(ids.account_workflow(status.account))
        try:
            await desk.signal("resting", Resting(preset=status.preset, symbols=rest, at=at))
        except ApplicationError as e:
            record.call_operator(f"the desk could not be told where it rests: {e}")
            return
        record.change(rests_told=rest)
