"""One life of a trade: the real workflow and the real activities, and what must hold of them."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from temporalio.workflow import _Runtime

from activities.exchange import BybitExchange
from tests.simulation.conditions import Conditions
from tests.simulation.exchange import Exchange
from tests.simulation.loop import NOON, VirtualLoop, virtual_time
from tests.simulation.plan import drawn_plan, trailed_plan
from tests.simulation.runtime import ContinuedAsNew, Runtime
from tests.simulation.surroundings import Surroundings
from tradewright import ids
from tradewright.domain.account import Unresolved
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate
from tradewright.domain.plan import TrailedBy
from tradewright.domain.trade import Trade, TradeState
from workflows.trade import TradeStart, TradeWorkflow

AFTERWARDS = 120.0
"""Seconds for which the market goes on after the end: nothing of the trade's may happen then."""
CANCELS_TAKE = 1.0
"""Seconds from the answer to a cancel until the order has ended."""
NOTICED_WITHIN = 30.0
"""Seconds for which a stop may differ from what the trade believes."""
CENT = Decimal("0.0001")


@dataclass
class Trace:
    loop: VirtualLoop
    lines: list[str] = field(default_factory=list)

    def __call__(self, *what: Any) -> None:
        at = self.loop.elapsed
        if what and isinstance(what[0], datetime):
            at, what = (what[0] - NOON).total_seconds(), what[1:]
        self.lines.append(f"{at:9.2f} " + " ".join(map(str, what)))


@dataclass(frozen=True)
class Outcome:
    violations: tuple[str, ...]
    state: TradeState
    trace: tuple[str, ...]


class _Journal:
    """Takes every intent, once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    async def append(self, incoming: Sequence[JournalEvent]) -> int:
        await asyncio.sleep(0.01)
        new = {event.event_id for event in incoming} - self._known
        self._known |= new
        return len(new)

    async def gate(self, account: str) -> Gate | None:
        return None


class _Pace:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    async def market_now(self) -> datetime:
        return self._loop.now()


class Life:
    def __init__(self, loop: VirtualLoop, seed: int, conditions: Conditions) -> None:
        chance = random.Random(seed)
        self._loop = loop
        self._conditions = conditions
        self._plan = (trailed_plan if conditions.is_trailed else drawn_plan)(chance)
        self.trace = Trace(loop)
        self._exchange = Exchange(loop, chance, conditions, self.trace)
        adapter = BybitExchange(cast(Any, self._exchange), _Journal(), cast(Any, _Pace(loop)))
        workflow_id = ids.trade_workflow(self._plan.symbol, self._plan.trade_id)
        self._runtime = Runtime(loop, chance, conditions, adapter, workflow_id, self.trace)
        self._around = Surroundings(
            loop, chance, conditions, self._exchange, self._cancel, self.trace
        )
        self._around.watch = self._watch
        self._run: asyncio.Future[Trade] | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._looser_for = 0.0
        self._untrailed_for = 0.0
        self._violations: list[str] = []
        _Runtime.set_on_loop(loop, cast(Any, self._runtime))

    async def lived(self) -> Outcome:
        """Return how it ended, and every sentence about it that does not hold."""
        around, is_over = self._around, False
        start = TradeStart(plan=self._plan)
        around.workflow = TradeWorkflow(start)
        self._beside = [
            asyncio.create_task(each())
            for each in (around.market, around.candles, around.watchman, around.people)
        ]
        try:
            async with asyncio.timeout(self._conditions.ends_within):
                await self._run_to_the_end(start)
                is_over = True
        except TimeoutError:
            if self._conditions.is_timely:
                self._violate("it ends", f"needs: {self._view_needs() or 'nothing'}")
        if is_over:
            await self._look_at_the_end()
        for task in self._beside:
            if task.done():
                task.result()
        self._look_back()
        trade = self._trade
        plan = f"{trade.plan.side} {trade.plan.qty} at {trade.plan.price}, {trade.plan.entry}"
        exits = f"stop {trade.plan.stop_loss}, {trade.plan.targets}, {trade.plan.exits}"
        return Outcome(tuple(self._violations), trade.state, (plan, exits, *self.trace.lines))

    async def _run_to_the_end(self, start: TradeStart) -> None:
        while True:
            assert self._around.workflow is not None
            self._run = asyncio.ensure_future(self._around.workflow.run(start))
            try:
                await asyncio.shield(self._run)
            except ContinuedAsNew as again:
                # As JSON, the way the server hands it over
                start = TradeStart.model_validate_json(again.start.model_dump_json())
                self._runtime.cancel_reason = None
                self._end_what_was_begun()
                self._around.workflow = TradeWorkflow(start)
                self.trace("continued as new")
                continue
            except asyncio.CancelledError:
                # Flattened after a cancel; else it is the time that is over
                if not (self._run.done() and self._trade.is_final):
                    raise
            return

    def _end_what_was_begun(self) -> None:
        """End what a run that is over has left beside itself, as its worker does."""
        stays = {asyncio.current_task(), *self._beside}
        for task in asyncio.all_tasks() - stays:
            task.cancel()

    def _cancel(self) -> None:
        if self._run is not None and not self._run.done():
            self._runtime.cancel_reason = "a person cancelled it"
            self._run.cancel()

    @property
    def _trade(self) -> Trade:
        assert self._around.workflow is not None
        return self._around.workflow.trade().trade

    def _view_needs(self) -> str:
        assert self._around.workflow is not None
        return self._around.workflow.trade().needs_operator

    def _violate(self, sentence: str, detail: object) -> None:
        if not any(violation.startswith(sentence) for violation in self._violations):
            self._violations.append(f"{sentence}: {detail}")
            self.trace("VIOLATED", sentence, detail)

    # --- what must hold -------------------------------------------------------------------------

    def _watch(self, trade: Trade, seconds: float) -> None:
        """Compare what the trade believes with what is, while it is open."""
        held = self._exchange.book.holding
        is_open = trade.state is TradeState.OPEN and bool(held.qty)
        is_looser = (
            trade.stop is not None
            and held.stop is not None
            and ((held.stop - trade.stop) * trade.plan.side.sign < 0)
        )
        self._looser_for = self._looser_for + seconds if is_open and is_looser else 0.0
        if self._looser_for > NOTICED_WITHIN:
            self._violate("no stop is looser than believed", f"{held.stop}, not {trade.stop}")
        is_untrailed = trade.trailed_by is TrailedBy.EXCHANGE and held.trailing is None
        self._untrailed_for = self._untrailed_for + seconds if is_open and is_untrailed else 0.0
        if self._untrailed_for > NOTICED_WITHIN:
            self._violate("what is believed to be trailed is trailed", trade.trailing_from)

    async def _look_at_the_end(self) -> None:
        """Hold the books against the exchange's, and see that nothing happens afterwards."""
        trade, book = self._trade, self._exchange.book
        traded = len(book.executions)
        if not trade.is_final:
            self._violate("a trade that ends is final", trade.state)
        if book.holding.qty:
            self._violate("nothing is final while something is held", book.holding.qty)
        elif trade.pnl.quantize(CENT) != book.cash.quantize(CENT):
            self._violate("its profit is the exchange's", f"{trade.pnl} is not {book.cash}")
        if not trade.was_open and traded:
            self._violate("what has traded was open", f"{traded} executions")
        if needs := self._view_needs():
            self._violate("nobody is called for a trade that ended", needs)
        await asyncio.sleep(CANCELS_TAKE)
        if resting := [order.link for order in book.orders if order.works and order.price]:
            self._violate("no order outlives the trade", resting)
        await asyncio.sleep(AFTERWARDS)
        if later := [row["execId"] for _, row in book.executions[traded:]]:
            self._violate("nothing trades after the end", later)

    def _look_back(self) -> None:
        exchange, runtime = self._exchange, self._runtime
        book = exchange.book
        if exchange.entries_sent > 1:
            self._violate("an entry is never sent twice", exchange.entries_sent)
        if book.turned:
            self._violate("no exit opens the other side", book.holding)
        if exchange.loosened:
            self._violate("no stop is loosened", exchange.loosened)
        naked = self._conditions.naked_within
        if naked is not None and book.longest_naked > naked:
            self._violate("nothing is held for long without its stop", book.longest_naked)
        refused = [e.data for e in runtime.journal if e.kind is EventKind.MESSAGE_REFUSED]
        if runtime.cases or refused:
            self._violate("no event is illegal", [*runtime.cases, *refused])
        doubts = [m for name, m in runtime.signals if name == "unresolved"]
        if doubts and self._trade.is_final:
            assert isinstance(doubts[-1], Unresolved)
            if not doubts[-1].over:
                self._violate("no doubt outlives the trade", doubts[-1].order_link_id)


def live(seed: int, conditions: Conditions) -> Outcome:
    with virtual_time() as loop:
        return loop.run_until_complete(Life(loop, seed, conditions).lived())
