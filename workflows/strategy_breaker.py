"""What follows where a preset fails: the candle is skipped, the symbol rests, then safe mode."""

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.breaker import SymbolBreaker, failed, resting, worked
from tradewright.ports import Refusal
from workflows.kill_wish import SafeModeWish
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
        await self._guard(at, terms)

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

    async def _guard(self, at: datetime, terms: SymbolBreaker) -> None:
        """Ask for safe mode once so many symbols rest that it cannot be their own fault."""
        record = self._record
        rest = resting(record.status.broken, at)
        too_many = bool(terms.safe_mode_after) and len(rest) >= terms.safe_mode_after
        if too_many is record.status.safe_mode_wished:
            return
        record.change(safe_mode_wished=too_many)
        if not too_many:
            return
        status = record.status
        reason = f"{status.preset} fails on {len(rest)} symbols: {', '.join(rest)}"
        record.note("safe_mode_wished", "breaker", reason)
        switch = workflow.get_external_workflow_handle(ids.kill_switch_workflow(status.account))
        wish = SafeModeWish(on=True, reason=reason, by=f"strategy {status.preset}")
        try:
            await switch.signal("safe_mode", wish)
        except ApplicationError as e:
            record.call_operator(f"safe mode could not be asked for: {e}")
