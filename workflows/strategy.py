"""One preset at work: candles in, decisions out; the trades live on without it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import Approved, LeaveWish, Refused
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Value
from tradewright.domain.notice import refusal_of_note, strategy_needs_operator
from tradewright.domain.plan import Proposal
from tradewright.ports import (
    AccountPort,
    Applied,
    ApplyWish,
    CandleClosed,
    CandlesDone,
    Evaluation,
    MarketPort,
    PauseWish,
    StrategyStatus,
    Watch,
)
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, PRESET, PRESET_HASH, show
from workflows.message import Unreadable, read, refused
from workflows.notice import tell
from workflows.outbox import Outbox
from workflows.page import strategy_page
from workflows.trade_start import start_trade

ENTRY_LATER = Priority(priority_key=3)
DECISION_TIME = timedelta(seconds=30)
"""A decision that takes longer is dropped: a late entry is worse than none."""
EARLIER_VERSIONS = 5
"""Whose exit rules are asked for the trades that they opened."""
REFUSAL_EVERY = timedelta(hours=1)
"""A person is told so often of the same kind of refusal."""


class StrategyStart(Value):
    """Input of `StrategyWorkflow`; `carried` is what an earlier run of it hands over."""

    applied: Applied
    carried: "StrategyCarried | None" = None


class StrategyCarried(Value):
    status: StrategyStatus
    inbox: tuple[CandleClosed, ...]
    noted: int
    unwritten: tuple[JournalEvent, ...] = ()


@workflow.defn
class StrategyWorkflow:
    """Evaluates closed candles and starts the trades that the desk approves."""

    @workflow.init
    def __init__(self, start: StrategyStart) -> None:
        applied, carried = start.applied, start.carried
        self._status = (
            carried.status
            if carried
            else StrategyStatus(
                preset=applied.preset,
                preset_hash=applied.preset_hash,
                account=applied.account,
                symbols=applied.symbols,
                timeframe=applied.timeframe,
            )
        )
        self._inbox: deque[CandleClosed] = deque(carried.inbox if carried else ())
        self._journal = Outbox(
            applied.account,
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
            tell=self._hear_of_journal,
        )
        self._newest = self._inbox[-1].close_time if self._inbox else self._status.last_candle
        self._stopping = False
        self._unwatched = True
        self._told_operator = self._status.needs_operator
        """What a person was told last."""
        self._told_refusals: dict[str, datetime] = {}
        if carried is None:
            self._note("applied", applied.by, applied.preset_hash)

    @workflow.run
    async def run(self, start: StrategyStart) -> None:
        writing = asyncio.create_task(self._journal.keep_writing())
        # A cancel interrupts only this wait: a decision once begun is brought to its end
        work = asyncio.create_task(self._work())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopping = True
            await work
            self._note("stopped", "temporal", workflow.cancellation_reason() or "")
            self._status = self._status.model_copy(update={"needs_operator": ""})
            self._show()
            await asyncio.shield(asyncio.ensure_future(self._tell_operator()))
            await asyncio.shield(asyncio.ensure_future(self._tell_market("unwatch")))
            self._journal.close()
            await asyncio.shield(writing)
            raise
        status = self._status
        workflow.continue_as_new(
            StrategyStart(
                applied=start.applied.model_copy(update={"preset_hash": status.preset_hash}),
                carried=StrategyCarried(
                    status=status,
                    inbox=tuple(self._inbox),
                    noted=self._journal.noted,
                    unwritten=self._journal.unwritten,
                ),
            )
        )

    async def _work(self) -> None:
        while not (self._stopping or workflow.info().is_continue_as_new_suggested()):
            if self._unwatched:
                self._unwatched = False
                await self._tell_market("watch")
            self._show()
            await self._tell_operator()
            await workflow.wait_condition(
                lambda: (
                    bool(self._inbox)
                    or self._unwatched
                    or self._stopping
                    or self._told_operator != self._status.needs_operator
                )
            )
            if self._inbox and not self._stopping:
                await self._on_candle(self._inbox.popleft())

    async def _on_candle(self, candle: CandleClosed) -> None:
        symbols = tuple(s for s in candle.symbols if s in self._status.symbols)
        if symbols:
            await self._decide(symbols, candle)
        self._status = self._status.model_copy(
            update={"last_candle": candle.close_time, "candles": self._status.candles + 1}
        )
        if candle.acknowledge:
            await self._acknowledge(candle)

    async def _acknowledge(self, candle: CandleClosed) -> None:
        try:
            await workflow.execute_activity_method(
                MarketPort.done,
                CandlesDone(preset=self._status.preset, close_time=candle.close_time),
                task_queue=self._market_queue(),
                start_to_close_timeout=timedelta(seconds=10),
            )
        except ActivityError as e:
            self._call_operator(f"candle {candle.close_time:%H:%M} not acknowledged: {e.cause}")

    async def _decide(self, symbols: tuple[str, ...], candle: CandleClosed) -> None:
        status = self._status
        try:
            wishes = await workflow.execute_activity_method(
                MarketPort.evaluate,
                Evaluation(
                    account=status.account,
                    preset=status.preset,
                    preset_hash=status.preset_hash,
                    symbols=symbols,
                    close_time=candle.close_time,
                    # What is held is left by its rules, paused or not
                    exits_only=status.paused,
                    earlier=status.earlier,
                ),
                task_queue=self._market_queue(),
                start_to_close_timeout=DECISION_TIME,
                schedule_to_close_timeout=DECISION_TIME,
                priority=ENTRY_LATER,
                summary=f"candle closed {candle.close_time:%H:%M} UTC",
            )
        except ActivityError as e:
            self._put_note(f"candle {candle.close_time:%H:%M} was not evaluated: {e.cause}")
            return
        self._put_note(wishes.note)
        self._hear_of_evaluation(wishes.fault)
        for leave in wishes.exits:
            await self._leave(leave)
        for proposal in wishes.proposals:
            # While it was evaluated somebody may have paused the preset
            if self._status.paused:
                self._put_note(f"{proposal.symbol} not entered: paused")
                return
            await self._take(proposal)

    async def _leave(self, wish: LeaveWish) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(self._status.account))
        try:
            await desk.signal("leave", wish)
        except ApplicationError as e:
            self._put_note(f"{wish.symbol} not left: the desk could not be told: {e}")

    async def _take(self, proposal: Proposal) -> None:
        try:
            decision = await workflow.execute_activity_method(
                AccountPort.reserve,
                proposal,
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=DECISION_TIME,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500)),
                priority=ENTRY_LATER,
                summary=f"{proposal.signal.side} {proposal.symbol}",
            )
        except ActivityError as e:
            self._put_note(f"{proposal.symbol}: the desk did not decide: {e.cause}")
            return
        if isinstance(decision, Approved):
            await start_trade(decision.plan)
            self._count(approved=self._status.approved + 1)
        else:
            self._put_note(f"{proposal.symbol} refused, {decision.code}: {decision.reason}")
            self._count(refused=self._status.refused + 1)
            await self._tell_refusal(proposal.symbol, decision)

    def _count(self, **counts: int) -> None:
        self._status = self._status.model_copy(update=counts)

    async def _tell_operator(self) -> None:
        status = self._status
        if self._told_operator != status.needs_operator:
            self._told_operator = status.needs_operator
            await tell(
                strategy_needs_operator(status.account, status.preset, status.needs_operator)
            )

    async def _tell_refusal(self, symbol: str, refusal: Refused) -> None:
        status, now = self._status, workflow.now()
        told_at = self._told_refusals.get(refusal.code)
        if told_at is not None and now - told_at < REFUSAL_EVERY:
            return
        notice = refusal_of_note(
            status.account, status.preset, symbol, refusal.code, refusal.reason
        )
        if notice is not None:
            self._told_refusals[refusal.code] = now
            await tell(notice)

    async def _tell_market(self, wish: str) -> None:
        status = self._status
        market = workflow.get_external_workflow_handle(ids.market_workflow(status.account))
        watch = Watch(preset=status.preset, symbols=status.symbols, timeframe=status.timeframe)
        try:
            await market.signal(wish, watch)
        except ApplicationError as e:
            self._put_note(f"the market could not be told to {wish}: {e}")

    def _market_queue(self) -> str:
        return ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET)

    @workflow.signal(description="Candles have closed")
    def candle(self, *args: RawValue) -> None:
        try:
            candle: CandleClosed
            candle, remark = read(CandleClosed, args)
        except Unreadable as e:
            self._call_operator(refused("candle", e))
            return
        if remark:
            self._call_operator(f"signal candle was taken, but {remark}")
        # The stream and its fallback may both tell; one of them is enough
        if self._newest is None or candle.close_time > self._newest:
            self._newest = candle.close_time
            self._inbox.append(candle)

    @workflow.signal(name="pause", description='{"reason": "…", "by": "ann"}: no new entries')
    def pause_by_signal(self, *args: RawValue) -> None:
        self._hear("pause", args, paused=True)

    @workflow.update(name="pause", description="No new entries; open trades go on")
    def pause_by_update(self, wish: PauseWish) -> StrategyStatus:
        return self._set_paused(wish, paused=True)

    @workflow.signal(name="resume", description="New entries again")
    def resume_by_signal(self, *args: RawValue) -> None:
        self._hear("resume", args, paused=False)

    @workflow.update(name="resume", description="New entries again")
    def resume_by_update(self, wish: PauseWish) -> StrategyStatus:
        return self._set_paused(wish, paused=False)

    @workflow.update(description="Trade another version from the next candle on")
    def apply(self, wish: ApplyWish) -> StrategyStatus:
        applied, status = wish.applied, self._status
        earlier = (*status.earlier, status.preset_hash)
        self._status = status.model_copy(
            update={
                "preset_hash": applied.preset_hash,
                "earlier": tuple(
                    dict.fromkeys(h for h in reversed(earlier) if h != applied.preset_hash)
                )[:EARLIER_VERSIONS][::-1],
                "symbols": applied.symbols,
                "timeframe": applied.timeframe,
            }
        )
        self._unwatched = True
        self._note("applied", applied.by, applied.preset_hash)
        self._show()
        return self._status

    @apply.validator
    def _may_apply(self, wish: ApplyWish) -> None:
        status, expected = self._status, wish.expected_hash
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
        if expected and expected != status.preset_hash:
            raise ApplicationError(
                f"preset {status.preset} runs version {status.preset_hash[:12]}, not "
                f"{expected[:12]}; look at it and apply again",
                type="OtherVersionRuns",
            )

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; this workflow takes pause and resume")
        )

    @workflow.query(description="The strategy as it stands")
    def status(self) -> StrategyStatus:
        return self._status

    def _hear(self, name: str, args: Sequence[RawValue], *, paused: bool) -> None:
        try:
            wish: PauseWish
            wish, remark = read(PauseWish, args)
        except Unreadable as e:
            self._call_operator(refused(name, e))
            return
        self._set_paused(wish, paused=paused)
        if remark:
            self._call_operator(f"signal {name} was taken, but {remark}")

    def _set_paused(self, wish: PauseWish, *, paused: bool) -> StrategyStatus:
        self._status = self._status.model_copy(
            update={"paused": paused, "pause_reason": wish.reason if paused else ""}
        )
        self._note("paused" if paused else "resumed", wish.by, wish.reason)
        if self._status.needs_operator.startswith("signal "):
            self._status = self._status.model_copy(update={"needs_operator": ""})
        self._show()
        return self._status

    def _note(self, change: str, by: str, reason: str) -> None:
        self._journal.note(
            EventKind.STRATEGY_CHANGED,
            {"change": change, "by": by, "reason": reason},
            preset=self._status.preset,
        )

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._status.needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _hear_of_evaluation(self, fault: str) -> None:
        told = "it cannot decide: "
        if fault:
            self._call_operator(told + fault)
        elif self._status.needs_operator.startswith(told):
            self._call_operator("")

    def _put_note(self, note: str) -> None:
        note_at = workflow.now() if note else None
        self._status = self._status.model_copy(update={"note": note, "note_at": note_at})

    def _call_operator(self, why: str) -> None:
        self._status = self._status.model_copy(update={"needs_operator": why})
        self._show()

    def _show(self) -> None:
        status = self._status
        show(
            [
                (ACCOUNT, status.account),
                (PRESET, status.preset),
                (PRESET_HASH, status.preset_hash),
                (NEEDS_OPERATOR, bool(status.needs_operator)),
            ]
        )
        workflow.set_current_details(strategy_page(status, cancelled=self._stopping))
