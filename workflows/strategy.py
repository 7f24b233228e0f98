"""One preset at work: candles in, decisions out; the trades live on without it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import Released
from tradewright.domain.plan import Mode
from tradewright.ports import (
    Applied,
    ApplyWish,
    BookTrigger,
    CandleClosed,
    CandlesDone,
    MarketPort,
    ModeWish,
    PauseWish,
    StrategyStatus,
    Universe,
    UniverseWish,
    Watch,
)
from workflows.message import hear, refused
from workflows.strategy_decision import StrategyDecision
from workflows.strategy_message import StrategyCarried, StrategyStart
from workflows.strategy_record import StrategyRecord
from workflows.strategy_shadow import StrategyShadows

__all__ = ["StrategyStart", "StrategyWorkflow"]

EARLIER_VERSIONS = 5
"""Whose exit rules are asked in any case for the trades that they opened."""
UNIVERSE_TIME = timedelta(minutes=2)


@workflow.defn
class StrategyWorkflow:
    """Hears of closed candles and of order books, and of what people want."""

    @workflow.init
    def __init__(self, start: StrategyStart) -> None:
        applied, carried = start.applied, start.carried
        self._applied = applied
        self._record = StrategyRecord(
            carried.status if carried else _first_status(applied),
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
        )
        self._shadows = StrategyShadows(self._record, carried.shadow_desk if carried else None)
        self._decision = StrategyDecision(self._record, self._shadows)
        self._inbox: deque[CandleClosed] = deque(carried.inbox if carried else ())
        self._books: deque[BookTrigger] = deque(carried.books if carried else ())
        self._newest = (
            self._inbox[-1].close_time if self._inbox else self._record.status.last_candle
        )
        self._stopping = False
        self._unwatched = True
        if carried is None:
            self._record.note_version(applied)

    @workflow.run
    async def run(self, start: StrategyStart) -> None:
        journal = self._record.journal
        writing = asyncio.create_task(journal.keep_writing())
        # A cancel interrupts only this wait: a decision once begun is brought to its end
        work = asyncio.create_task(self._work())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopping = True
            await work
            self._record.note("stopped", "temporal", workflow.cancellation_reason() or "")
            self._record.stopped = True
            self._record.call_operator("")
            await asyncio.shield(asyncio.ensure_future(self._record.tell_operator()))
            await asyncio.shield(asyncio.ensure_future(self._tell_market("unwatch")))
            journal.close()
            await asyncio.shield(writing)
            raise
        workflow.continue_as_new(
            StrategyStart(
                applied=self._applied,
                carried=StrategyCarried(
                    status=self._record.status,
                    inbox=tuple(self._inbox),
                    noted=journal.noted,
                    unwritten=journal.unwritten,
                    books=tuple(self._books),
                    shadow_desk=self._shadows.desk,
                ),
            )
        )

    async def _work(self) -> None:
        record = self._record
        while not (self._stopping or workflow.info().is_continue_as_new_suggested()):
            if self._is_universe_due():
                await self._choose_universe()
            if self._unwatched:
                self._unwatched = False
                await self._tell_market("watch")
            record.show()
            await record.tell_operator()
            await self._wait()
            if self._stopping:
                return
            # What a candle brings may be an exit, which goes before any entry
            if self._inbox:
                await self._on_candle(self._inbox.popleft())
            elif self._books:
                await self._on_book(self._books.popleft())

    async def _wait(self) -> None:
        due = self._universe_due_at()
        timeout = None if due is None else max(due - workflow.now(), timedelta(0))
        try:
            await workflow.wait_condition(
                lambda: (
                    bool(self._inbox or self._books)
                    or self._unwatched
                    or self._stopping
                    or self._record.is_operator_untold
                ),
                timeout=timeout,
                timeout_summary="until the symbols are chosen anew",
            )
        except TimeoutError:
            return

    # --- what comes from the market ---------------------------------------------------------------

    async def _on_candle(self, candle: CandleClosed) -> None:
        record = self._record
        wanted = {*record.status.symbols, *record.status.kept}
        symbols = tuple(s for s in candle.symbols if s in wanted)
        if symbols:
            await self._decision.on_candle(symbols, candle.close_time, self._applied)
        record.change(last_candle=candle.close_time, candles=record.status.candles + 1)
        if candle.acknowledge:
            # A market in lockstep goes on at once: what the book called for would come too late
            while self._books and self._books[0].at <= candle.close_time and not self._stopping:
                await self._on_book(self._books.popleft())
            await self._acknowledge(candle)

    async def _acknowledge(self, candle: CandleClosed) -> None:
        try:
            await workflow.execute_activity_method(
                MarketPort.done,
                CandlesDone(preset=self._record.status.preset, close_time=candle.close_time),
                task_queue=self._market_queue(),
                start_to_close_timeout=timedelta(seconds=10),
            )
        except ActivityError as e:
            self._record.call_operator(
                f"candle {candle.close_time:%H:%M} not acknowledged: {e.cause}"
            )

    async def _on_book(self, trigger: BookTrigger) -> None:
        watched = self._record.status.watched
        if self._applied.book_depth is None or trigger.symbol not in watched:
            return
        await self._decision.on_book(trigger, self._applied)

    # --- what is traded ---------------------------------------------------------------------------

    def _universe_due_at(self) -> datetime | None:
        """Return when the symbols are to be chosen anew; None where they are named."""
        every, status = self._applied.universe_every, self._record.status
        if every is None or status.universe_at is None:
            return None if every is None else workflow.now()
        # With nothing to trade it is not waited for long
        return status.universe_at + (every if status.symbols else min(every, UNIVERSE_TIME))

    def _is_universe_due(self) -> bool:
        due = self._universe_due_at()
        return due is not None and due <= workflow.now()

    async def _choose_universe(self) -> None:
        """Let the document's filter choose; what was chosen before stands while it cannot."""
        record = self._record
        before = record.status
        record.change(universe_at=workflow.now())
        try:
            universe: Universe = await workflow.execute_activity_method(
                MarketPort.universe,
                UniverseWish(
                    account=before.account,
                    preset=before.preset,
                    preset_hash=before.preset_hash,
                    symbols=before.symbols,
                ),
                task_queue=self._market_queue(),
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=UNIVERSE_TIME,
                summary="choose the symbols",
            )
        except ActivityError as e:
            record.remark(f"the symbols could not be chosen: {e.cause}")
            return
        # One that was applied meanwhile chooses for itself
        if record.status.preset_hash != before.preset_hash or record.status.universe_at is None:
            return
        # A virtual trade needs its symbol's exit rules as a real one does
        virtual = {name.split("/")[1] for name in record.status.shadows}
        kept = tuple(sorted({*universe.kept, *virtual} - {*universe.symbols}))
        if (universe.symbols, kept) == (before.symbols, before.kept):
            return
        record.change(symbols=universe.symbols, kept=kept)
        self._unwatched = True
        came = sorted({*universe.symbols} - {*before.symbols})
        went = sorted({*before.symbols} - {*universe.symbols})
        if came or went:
            told = ", ".join([*(f"+{s}" for s in came), *(f"-{s}" for s in went)])
            record.note("symbols", "filter", f"{told}; {universe.note}".rstrip("; "))

    async def _tell_market(self, wish: str) -> None:
        status = self._record.status
        market = workflow.get_external_workflow_handle(ids.market_workflow(status.account))
        watch = Watch(
            preset=status.preset,
            symbols=status.watched,
            timeframe=status.timeframe,
            preset_hash=status.preset_hash,
            book_depth=self._applied.book_depth,
        )
        try:
            await market.signal(wish, watch)
        except ApplicationError as e:
            self._record.remark(f"the market could not be told to {wish}: {e}")

    def _market_queue(self) -> str:
        return ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET)

    # --- messages ---------------------------------------------------------------------------------

    @workflow.signal(description="Candles have closed")
    def candle(self, *args: RawValue) -> None:
        hear("candle", CandleClosed, args, self._take_candle, self._record.call_operator)

    def _take_candle(self, candle: CandleClosed) -> None:
        # The stream and its fallback may both tell; one of them is enough
        if self._newest is None or candle.close_time > self._newest:
            self._newest = candle.close_time
            self._inbox.append(candle)

    @workflow.signal(description="The order book of a symbol calls for a decision")
    def book_trigger(self, *args: RawValue) -> None:
        hear("book_trigger", BookTrigger, args, self._take_trigger, self._record.call_operator)

    def _take_trigger(self, trigger: BookTrigger) -> None:
        last = self._record.status.last_book
        if trigger.number <= last.get(trigger.symbol, -1):
            return
        self._record.change(last_book=last | {trigger.symbol: trigger.number})
        # Of two that wait for one symbol only the newer one is still true
        waiting = [one for one in self._books if one.symbol != trigger.symbol]
        self._books = deque([*waiting, trigger])

    @workflow.signal(description="A virtual trade has ended")
    def shadow_ended(self, *args: RawValue) -> None:
        hear("shadow_ended", Released, args, self._shadows.ended, self._record.call_operator)

    @workflow.signal(name="pause", description='{"reason": "…", "by": "ann"}: no new entries')
    def pause_by_signal(self, *args: RawValue) -> None:
        take = partial(self._set_paused, paused=True)
        hear("pause", PauseWish, args, take, self._record.call_operator)

    @workflow.update(name="pause", description="No new entries; open trades go on")
    def pause_by_update(self, wish: PauseWish) -> StrategyStatus:
        return self._set_paused(wish, paused=True)

    @workflow.signal(name="resume", description="New entries again")
    def resume_by_signal(self, *args: RawValue) -> None:
        take = partial(self._set_paused, paused=False)
        hear("resume", PauseWish, args, take, self._record.call_operator)

    @workflow.update(name="resume", description="New entries again")
    def resume_by_update(self, wish: PauseWish) -> StrategyStatus:
        return self._set_paused(wish, paused=False)

    @workflow.update(description="A named person lets it trade, follow in the shadow, or alert")
    def set_mode(self, wish: ModeWish) -> StrategyStatus:
        record = self._record
        before = record.status.mode
        record.change(mode=wish.mode)
        self._applied = self._applied.model_copy(update={"mode": wish.mode})
        record.note(
            "mode", wish.by, f"{before} -> {wish.mode}: {wish.reason}", mode=wish.mode.value
        )
        record.show()
        return record.status

    @set_mode.validator
    def _may_set_mode(self, wish: ModeWish) -> None:
        status = self._record.status
        if wish.mode is status.mode:
            raise ApplicationError(
                f"preset {status.preset} is in mode {wish.mode} already", type="ModeUnchanged"
            )
        self._insist(wish.expected_hash)

    @workflow.update(description="Trade another version from the next candle on")
    def apply(self, wish: ApplyWish) -> StrategyStatus:
        applied, record = wish.applied, self._record
        status = record.status
        if applied.mode is Mode.TRADE or applied.preset_hash == status.preset_hash:
            # Only `set_mode`, which names a person, lets one trade that did not; and what is
            # said once more takes nothing back
            applied = applied.model_copy(update={"mode": status.mode})
        kept, self._applied = self._kept(applied), applied
        is_other = applied.preset_hash != status.preset_hash
        record.change(
            preset_hash=applied.preset_hash,
            earlier=_earlier(status, applied.preset_hash),
            symbols=applied.symbols,
            timeframe=applied.timeframe,
            book_depth=applied.book_depth,
            enabled=applied.enabled,
            mode=applied.mode,
            kept=kept,
            universe_at=None if is_other else status.universe_at,
            # What was broken may be mended
            broken=() if is_other else status.broken,
            refusals=() if is_other else status.refusals,
        )
        self._unwatched = True
        record.note_version(applied)
        record.show()
        return record.status

    def _kept(self, applied: Applied) -> tuple[str, ...]:
        """Return what is left and not entered: nothing else tells what a filter had chosen."""
        status = self._record.status
        chosen = status.symbols if self._applied.universe_every else ()
        return tuple(sorted({*status.kept, *chosen} - {*applied.symbols}))

    @apply.validator
    def _may_apply(self, wish: ApplyWish) -> None:
        status = self._record.status
        if wish.applied.preset != status.preset:
            raise ApplicationError(
                f"preset {wish.applied.preset} is not {status.preset}; it has a strategy of its "
                "own",
                type="OtherPreset",
            )
        if wish.applied.account != status.account:
            raise ApplicationError(
                f"preset {status.preset} trades account {status.account}; cancel the strategy "
                "first to move it to another",
                type="AccountChanged",
            )
        self._insist(wish.expected_hash)

    def _insist(self, expected: str) -> None:
        status = self._record.status
        if self._stopping:
            raise ApplicationError(
                f"preset {status.preset} is being stopped; once it has ended, apply it again",
                type="Stopping",
            )
        if expected and expected != status.preset_hash:
            raise ApplicationError(
                f"preset {status.preset} runs version {status.preset_hash[:12]}, not "
                f"{expected[:12]}; look at it and apply again",
                type="OtherVersionRuns",
            )

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._record.call_operator(
            refused(name, "there is no such signal; this workflow takes pause and resume")
        )

    @workflow.query(description="The strategy as it stands")
    def status(self) -> StrategyStatus:
        return self._record.status

    def _set_paused(self, wish: PauseWish, *, paused: bool) -> StrategyStatus:
        record = self._record
        record.change(paused=paused, pause_reason=wish.reason if paused else "")
        record.note("paused" if paused else "resumed", wish.by, wish.reason)
        if record.status.needs_operator.startswith("signal "):
            record.change(needs_operator="")
        record.show()
        return record.status


def _earlier(status: StrategyStatus, now: str) -> tuple[str, ...]:
    """Return the versions before *now*, oldest first: the last ones, and those that have traded."""
    known = [h for h in dict.fromkeys((status.preset_hash, *reversed(status.earlier))) if h != now]
    traded = [h for h in known[EARLIER_VERSIONS:] if h in status.traded]
    return tuple(reversed([*known[:EARLIER_VERSIONS], *traded]))


def _first_status(applied: Applied) -> StrategyStatus:
    return StrategyStatus(
        preset=applied.preset,
        preset_hash=applied.preset_hash,
        account=applied.account,
        symbols=applied.symbols,
        timeframe=applied.timeframe,
        book_depth=applied.book_depth,
        enabled=applied.enabled,
        mode=applied.mode,
    )
