"""One virtual trade, to its end: the same life as a trade's, answered by the prices alone.

Nothing of it can reach the exchange: the only activities here are the market's look at the price
and the journal's record.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import AwareDatetime, Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import Released
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.shadow import (
    Change,
    FundingRate,
    Quote,
    followed,
    funded,
    funding_since,
    lived,
    too_late,
)
from tradewright.domain.trade import ExitRequested, Started, Trade, TradeState
from tradewright.ports import (
    Fundings,
    FundingWish,
    MarketPort,
    MarketView,
    ShadowCandles,
    ShadowExit,
    TradeView,
)
from workflows.attributes import show
from workflows.message import hear, refused
from workflows.outbox import Outbox, dump
from workflows.trade_page import standing_attributes, trade_details

INSTANT = timedelta(microseconds=1)
LOOK_WITHIN = timedelta(seconds=20)
"""Then what was known last has to do for a price."""


class ShadowCarried(Value):
    trade: Trade
    inbox: tuple[ShadowCandles | ShadowExit, ...] = ()
    noted: int = 0
    unwritten: tuple[JournalEvent, ...] = ()
    needs_operator: str = ""
    followed: AwareDatetime | None = Field(default=None, description="Market clock.")
    funded: AwareDatetime | None = Field(default=None, description="Market clock.")


class ShadowStart(Value):
    """Input of `ShadowWorkflow`; `carried` is what an earlier run of it hands over."""

    plan: TradePlan
    carried: ShadowCarried | None = None


@workflow.defn
class ShadowWorkflow:
    """Follows a virtual trade, and tells its strategy what it came to."""

    @workflow.init
    def __init__(self, start: ShadowStart) -> None:
        carried = start.carried
        self._plan = start.plan
        self._trade = carried.trade if carried else Trade(plan=start.plan)
        self._inbox: deque[ShadowCandles | ShadowExit] = deque(carried.inbox if carried else ())
        self._needs_operator = carried.needs_operator if carried else ""
        self._followed = carried.followed if carried else None
        """Close of the last candle that counts."""
        self._funded = carried.funded if carried else None
        """When funding was due that was counted last."""
        self._journal = Outbox(
            start.plan.account,
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
            tell=self._hear_of_journal,
        )

    @workflow.run
    async def run(self, start: ShadowStart) -> Trade:
        self._show()
        # A cancel interrupts only this wait: the trade is left first, and journaled
        life = asyncio.create_task(self._life())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                note = workflow.cancellation_reason() or ""
                self._inbox.append(
                    ShadowExit(reason=ExitReason.CANCELLED, note=note, by="temporal")
                )
        life.result()
        if not self._trade.is_final:
            workflow.continue_as_new(
                start.model_copy(
                    update={
                        "carried": ShadowCarried(
                            trade=self._trade,
                            inbox=tuple(self._inbox),
                            noted=self._journal.noted,
                            unwritten=self._journal.unwritten,
                            needs_operator=self._needs_operator,
                            followed=self._followed,
                            funded=self._funded,
                        )
                    }
                )
            )
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError("left and journaled after a cancel")
        return self._trade

    @workflow.signal(description="Candles in which something happens to the trade")
    def candles(self, *args: RawValue) -> None:
        hear("candles", ShadowCandles, args, self._inbox.append, self._call_operator)

    @workflow.signal(name="exit", description='Leave: {"note": "why", "by": "ann"}')
    def exit_by_signal(self, *args: RawValue) -> None:
        hear("exit", ShadowExit, args, self._inbox.append, self._call_operator)

    @workflow.update(name="exit", description="Leave, and say that it was understood")
    def exit_by_update(self, wish: ShadowExit) -> TradeView:
        self._inbox.append(wish)
        return self.trade()

    @exit_by_update.validator
    def _exit_possible(self, wish: ShadowExit) -> None:
        if self._trade.is_final:
            raise ApplicationError(f"the trade is {self._trade.state} already", type="TradeEnded")

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; this workflow takes candles and exit")
        )

    @workflow.query(description="The virtual trade as it stands")
    def trade(self) -> TradeView:
        return TradeView(
            trade=self._trade, busy=bool(self._inbox), needs_operator=self._needs_operator
        )

    async def _life(self) -> None:
        writing = asyncio.create_task(self._journal.keep_writing())
        await self._tell(ids.market_workflow(self._plan.account), "follow", self._plan)
        if self._trade.state is TradeState.PENDING:
            quote = await self._quote()
            late = too_late(self._plan, workflow.now(), quote.at)
            # Told before the entry is answered, which it then does not need to be
            self._take(lived(self._trade, [Started(), *([late] if late else [])], quote))
        while not self._trade.is_final:
            if workflow.info().is_continue_as_new_suggested() and self._journal.fits:
                return
            await workflow.wait_condition(lambda: bool(self._inbox))
            await self._on(self._inbox.popleft())
        await self._tell(ids.market_workflow(self._plan.account), "unfollow", self._plan)
        ended = Released(
            trade_id=self._plan.trade_id,
            at=self._trade.closed_at or self._plan.trigger,
            pnl=self._trade.pnl,
            cooldown=self._plan.cooldown if self._trade.was_open else timedelta(0),
        )
        await self._tell(ids.strategy_workflow(self._plan.preset), "shadow_ended", ended)
        self._journal.close()
        await writing

    async def _on(self, told: ShadowCandles | ShadowExit) -> None:
        if isinstance(told, ShadowExit):
            leave = ExitRequested(reason=told.reason, note=told.note, by=told.by)
            quote = await self._quote()
            if told.at is not None:
                quote = quote.model_copy(update={"at": told.at})
            self._pay(await self._fundings(quote.at), quote.at)
            self._take(lived(self._trade, [leave], quote))
            return
        last = told.closed[-1].close if told.closed else None
        due_then = await self._fundings(last) if last else deque()
        for closed in told.closed:
            self._pay(due_then, closed.close)
            # Told twice it would meet the stop that it has moved itself
            if self._followed is None or closed.close > self._followed:
                self._followed = closed.close
                self._take(followed(self._trade, closed.candle, closed.close))
        if last:
            # What is due at its close is due to who still holds then
            self._pay(due_then, last + INSTANT)

    def _pay(self, due_then: deque[FundingRate], until: datetime) -> None:
        """Count what was due before *until* for what is held now."""
        while due_then and due_then[0].at < until:
            rate = due_then.popleft()
            self._funded = rate.at
            quote = Quote(bid=rate.price, ask=rate.price, at=rate.at)
            event = funded(self._trade, rate)
            self._take(lived(self._trade, [event] if event else [], quote))

    async def _fundings(self, until: datetime) -> deque[FundingRate]:
        """Return what was due since it was counted last; what cannot be read is asked again."""
        since = funding_since(self._trade, self._funded, until)
        if since is None:
            return deque()
        try:
            found: Fundings = await workflow.execute_activity_method(
                MarketPort.read_fundings,
                FundingWish(symbol=self._plan.symbol, since=since, until=until),
                task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET),
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=LOOK_WITHIN,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500)),
                summary="the funding of a virtual trade",
            )
        except ActivityError as e:
            workflow.logger.warning("funding_unknown", extra={"error": str(e.cause)})
            return deque()
        return deque(found.rates)

    def _take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._trade = change.after
            self._journal.note(
                EventKind.SHADOW_CHANGED,
                {"event": dump(change.event), "trade": dump(change.after)},
                trade_id=self._plan.trade_id,
                symbol=self._plan.symbol,
                preset=self._plan.preset,
            )
        self._show()

    async def _quote(self) -> Quote:
        """Return what one may buy and sell at now; by the plan where the market says nothing."""
        plan = self._plan
        try:
            view: MarketView = await workflow.execute_activity_method(
                MarketPort.observe,
                plan,
                task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET),
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=LOOK_WITHIN,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500)),
                summary="the price of a virtual trade",
            )
        except ActivityError as e:
            workflow.logger.warning("price_unknown", extra={"error": str(e.cause)})
            price = self._trade.entry_price or plan.price
            return Quote(bid=price, ask=price, at=plan.trigger)
        bid, ask = view.market.get("bid") or view.price, view.market.get("ask") or view.price
        return Quote(bid=Decimal(bid), ask=Decimal(ask), at=view.at or plan.trigger)

    async def _tell(self, workflow_id: str, name: str, message: Value) -> None:
        try:
            await workflow.get_external_workflow_handle(workflow_id).signal(name, message)
        except ApplicationError as e:
            workflow.logger.warning("not_told", extra={"workflow": workflow_id, "error": str(e)})

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        show(standing_attributes(self._trade, bool(self._needs_operator)))
        details = trade_details(self._trade, self._needs_operator)
        workflow.set_current_details(f"*Virtual: nothing of it is at the exchange.*\n\n{details}")
