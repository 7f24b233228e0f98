"""From a closed candle or an order book to what comes of it: trades, virtual trades, a notice."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import Approved, LeaveWish, Released
from tradewright.domain.plan import Mode, Proposal, TradePlan
from tradewright.ports import (
    AccountPort,
    Applied,
    BookTrigger,
    Evaluation,
    MarketPort,
    Proposals,
    StrategyStatus,
)
from workflows.strategy_breaker import StrategyBreaker
from workflows.strategy_record import StrategyRecord
from workflows.strategy_shadow import StrategyShadows
from workflows.trade_start import start_trade

ENTRY_LATER = Priority(priority_key=3)
DECISION_TIME = timedelta(seconds=30)
"""A decision that takes longer is dropped: a late entry is worse than none."""


class StrategyDecision:
    """Asks what the preset wishes, and brings it about as its mode allows."""

    def __init__(self, record: StrategyRecord, shadows: StrategyShadows) -> None:
        self._record = record
        self._shadows = shadows
        self._breaker = StrategyBreaker(record)

    async def on_candle(self, symbols: tuple[str, ...], close: datetime, applied: Applied) -> None:
        """Decide on candles of *symbols* that closed at *close*, market clock."""
        asked = self._breaker.without_resting(symbols, close)
        # Where the order book says when to enter, candles say when to leave
        only_exits = not self._record.status.takes_entries or applied.book_depth is not None
        evaluation = self._evaluation(asked, close, exits_only=only_exits)
        resting = tuple(symbol for symbol in symbols if symbol not in asked)
        evaluation = evaluation.model_copy(update={"resting": resting})
        summary = f"candle closed {close:%H:%M} UTC"
        await self._decide(evaluation, applied, f"candle {close:%H:%M}", summary)

    async def on_book(self, trigger: BookTrigger, applied: Applied) -> None:
        """Decide on the order book of one symbol."""
        asked = self._breaker.without_resting((trigger.symbol,), trigger.at)
        if not asked:
            return
        only_exits = not self._record.status.takes_entries
        evaluation = self._evaluation(asked, trigger.at, exits_only=only_exits)
        evaluation = evaluation.model_copy(update={"book": trigger})
        summary = f"order book of {trigger.symbol} at {trigger.at:%H:%M:%S} UTC"
        await self._decide(evaluation, applied, f"order book of {trigger.symbol}", summary)

    def _evaluation(
        self, symbols: tuple[str, ...], at: datetime, *, exits_only: bool
    ) -> Evaluation:
        status = self._record.status
        return Evaluation(
            account=status.account,
            preset=status.preset,
            preset_hash=status.preset_hash,
            symbols=symbols,
            close_time=at,
            # What is held is left by its rules, paused or not
            exits_only=exits_only,
            earlier=status.earlier,
            shadows=status.shadows,
        )

    async def _decide(
        self, evaluation: Evaluation, applied: Applied, what: str, summary: str
    ) -> None:
        record, at = self._record, evaluation.close_time
        try:
            wishes: Proposals = await workflow.execute_activity_method(
                MarketPort.evaluate,
                evaluation,
                task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET),
                start_to_close_timeout=DECISION_TIME,
                schedule_to_close_timeout=DECISION_TIME,
                priority=ENTRY_LATER,
                summary=summary,
            )
        except ActivityError as e:
            record.remark(f"{what} was not evaluated: {e.cause}")
            # Nor was it asked what is to be left: nobody else says so
            record.hear_of_evaluation(record.status.note)
            return
        # Where it only rests, what it rests for stands
        if evaluation.symbols or wishes.fault:
            record.remark(wishes.note)
            record.hear_of_evaluation(wishes.fault)
        record.refusals(wishes.refusals, evaluation.symbols, at)
        await self._breaker.judge(evaluation.symbols, wishes.refusals, at, applied.breaker)
        for leave in wishes.exits:
            await self._leave(leave, at)
        for proposal in wishes.proposals:
            # While it was evaluated somebody may have paused the preset
            if not record.status.takes_entries:
                record.remark(f"{proposal.symbol} not entered: {_stopped(record.status)}")
                return
            await self._take(proposal)

    async def _leave(self, wish: LeaveWish, at: datetime) -> None:
        await self._shadows.leave(wish, at)
        account = ids.account_workflow(self._record.status.account)
        try:
            await workflow.get_external_workflow_handle(account).signal("leave", wish)
        except ApplicationError as e:
            self._record.remark(f"{wish.symbol} not left: the desk could not be told: {e}")

    async def _take(self, proposal: Proposal) -> None:
        """Bring about what the mode allows: nothing but `trade` ever asks for risk."""
        status = self._record.status
        if proposal.symbol in status.kept:
            return
        proposal = proposal.model_copy(update={"mode": status.mode})
        match status.mode:
            case Mode.TRADE:
                await self._trade(proposal)
            case Mode.SHADOW:
                await self._shadows.take(proposal)
            case Mode.ALERT:
                await self._record.alert(proposal)

    async def _trade(self, proposal: Proposal) -> None:
        record = self._record
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
            record.remark(f"{proposal.symbol}: the desk did not decide: {e.cause}")
            return
        if isinstance(decision, Approved):
            # While the desk decided somebody may have taken back that it trades
            if not record.status.takes_entries or record.status.mode is not Mode.TRADE:
                await self._give_back(decision.plan)
                return
            await start_trade(decision.plan)
            record.approved(decision.plan.preset_hash)
        else:
            record.remark(f"{proposal.symbol} refused, {decision.code}: {decision.reason}")
            record.change(refused=record.status.refused + 1)
            await record.tell_refusal(proposal.symbol, decision.code, decision.reason)

    async def _give_back(self, plan: TradePlan) -> None:
        """Let the desk have the risk of a trade that is not begun."""
        status = self._record.status
        why = f"in mode {status.mode} by now" if status.takes_entries else _stopped(status)
        self._record.remark(f"{plan.symbol} not entered: {why}")
        desk = workflow.get_external_workflow_handle(ids.account_workflow(plan.account))
        try:
            await desk.signal("release", Released(trade_id=plan.trade_id, at=plan.trigger))
        except ApplicationError as e:
            # The next reconciliation gives the risk back
            workflow.logger.warning("desk_not_told", extra={"about": "release", "error": str(e)})


def _stopped(status: StrategyStatus) -> str:
    return "paused" if status.paused else "disabled"
