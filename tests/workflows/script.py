"""The ports, each played by a class that answers plainly unless a test has put something else in.

An answer is a value, an exception, or a coroutine function of the argument.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio import activity

from tradewright.domain.account import Account, Decision, Limits, Snapshot, decide
from tradewright.domain.event import JournalEvent
from tradewright.domain.gate import Gate
from tradewright.domain.notification import Delivery, Message
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.reconciliation import Discrepancy
from tradewright.domain.shadow import rehearsed_desk
from tradewright.ports import (
    AccountPort,
    Adoption,
    CandlesDone,
    Comparison,
    Evaluation,
    ExitsWish,
    ExitTerms,
    Exposure,
    Fundings,
    FundingWish,
    GateWish,
    JournalBatch,
    JournalPort,
    KillPort,
    MarketPort,
    MarketView,
    NotifyPort,
    PresetsPort,
    Proposals,
    ReconciliationPort,
    Rehearsal,
    SnapshotWish,
    StreamPort,
    TripOrder,
    Universe,
    UniverseWish,
    Watchlist,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""Market clock of every script."""


class Script:
    """What is asked of a port, in order; the answers that a test has laid down come first."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._answers: dict[str, deque[Any]] = defaultdict(deque)
        self._changed = asyncio.Condition()

    def answer(self, name: str, *answers: Any) -> None:
        """Let the next calls of *name* be answered so."""
        self._answers[name].extend(answers)

    def hold(self, name: str) -> "Held":
        """Let the next call of *name* hang until it is let go."""
        held = Held()
        self.answer(name, held)
        return held

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    def of(self, name: str) -> list[Any]:
        return [argument for called, argument in self.calls if called == name]

    async def called(self, name: str, times: int = 1) -> Any:
        """Wait for call number *times* of *name* and return its argument."""
        async with self._changed, asyncio.timeout(60):
            await self._changed.wait_for(lambda: self.count(name) >= times)
        return self.of(name)[times - 1]

    async def play(self, name: str, argument: Any, plain: Callable[[], Any]) -> Any:
        async with self._changed:
            self.calls.append((name, argument))
            self._changed.notify_all()
        answer = self._answers[name].popleft() if self._answers[name] else None
        if isinstance(answer, Held):
            answer = await answer.wait()
        if callable(answer):
            answer = await answer(argument)
        if isinstance(answer, BaseException):
            raise answer
        return plain() if answer is None else answer


class Held:
    """A call that hangs."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._answer: Any = None

    def let_go(self, answer: Any = None) -> None:
        self._answer = answer
        self._free.set()

    async def wait(self) -> Any:
        while not self._free.is_set():
            activity.heartbeat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._free.wait(), 0.5)
        return self._answer


class ScriptedJournal(JournalPort):
    def __init__(self) -> None:
        self.script = Script()
        self.batches: list[JournalBatch] = []

    @property
    def events(self) -> list[JournalEvent]:
        return [event for batch in self.batches for event in batch.events]

    @activity.defn
    async def record(self, batch: JournalBatch) -> None:
        await self.script.play("record", batch, lambda: None)
        self.batches.append(batch)


class ScriptedMarket(MarketPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        found: Proposals = await self.script.play("evaluate", evaluation, Proposals)
        return found

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        found: MarketView = await self.script.play(
            "observe", plan, lambda: MarketView(price=plan.price)
        )
        return found

    @activity.defn
    async def reckon_exits(self, wish: ExitsWish) -> ExitTerms:
        found: ExitTerms = await self.script.play(
            "reckon_exits", wish, lambda: ExitTerms(fault="no version runs")
        )
        return found

    @activity.defn
    async def read_fundings(self, wish: FundingWish) -> Fundings:
        found: Fundings = await self.script.play("read_fundings", wish, Fundings)
        return found

    @activity.defn
    async def universe(self, wish: UniverseWish) -> Universe:
        found: Universe = await self.script.play(
            "universe", wish, lambda: Universe(symbols=wish.symbols)
        )
        return found

    @activity.defn
    async def done(self, candles: CandlesDone) -> None:
        await self.script.play("done", candles, lambda: None)

    @activity.defn
    async def consume_market(self, watchlist: Watchlist) -> None:
        await self.script.play("consume_market", watchlist, lambda: None)


class ScriptedStream(StreamPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def consume_stream(self, account: str) -> None:
        await self.script.play("consume_stream", account, lambda: None)


class ScriptedFolder(PresetsPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def watch_presets(self, account: str) -> None:
        await self.script.play("watch_presets", account, lambda: None)


class ScriptedReceivers(NotifyPort):
    """Take every message, unless the script says otherwise."""

    def __init__(self) -> None:
        self.script = Script()

    @property
    def titles(self) -> list[str]:
        return [message.title for message in self.script.of("send")]

    @activity.defn
    async def send(self, message: Message) -> Delivery:
        found: Delivery = await self.script.play(
            "send", message, lambda: Delivery(delivered=("log",))
        )
        return found


class ScriptedDesk(AccountPort):
    """Decides by the pure rules, for a desk that is always open."""

    def __init__(self, account: str) -> None:
        self.script = Script()
        self.equity = Decimal(10_000)
        self.account = account

    def snapshot(self) -> Snapshot:
        now = datetime.now(UTC)
        return Snapshot(at=now, market_at=NOON, equity=self.equity, wallet=self.equity)

    @activity.defn
    async def read_snapshot(self, wish: SnapshotWish) -> Snapshot:
        found: Snapshot = await self.script.play("read_snapshot", wish, self.snapshot)
        return found

    @activity.defn
    async def rehearse(self, rehearsal: Rehearsal) -> Decision:
        now = datetime.now(UTC)
        real = Account(name=self.account, started_at=now, snapshot=self.snapshot())
        desk = rehearsed_desk(rehearsal.desk, real, now)
        found: Decision = await self.script.play(
            "rehearse", rehearsal, lambda: decide(rehearsal.proposal, desk, Limits(), now)
        )
        return found

    @activity.defn
    async def reserve(self, proposal: Proposal) -> Decision:
        now = datetime.now(UTC)
        desk = Account(
            name=self.account, started_at=now, reconciled_at=now, snapshot=self.snapshot()
        )
        found: Decision = await self.script.play(
            "reserve", proposal, lambda: decide(proposal, desk, Limits(), now)
        )
        return found


class ScriptedKillSwitch(KillPort):
    """Keeps the gate's row by its rules; flat unless the script says otherwise."""

    def __init__(self, account: str) -> None:
        self.script = Script()
        self.row = Gate(account=account, at=datetime.now(UTC) - timedelta(days=1))

    @activity.defn
    async def read_gate(self, account: str) -> Gate:
        found: Gate = await self.script.play("read_gate", account, lambda: self.row)
        return found

    @activity.defn
    async def write_gate(self, wish: GateWish) -> Gate:
        def write() -> Gate:
            self.row = self.row.after(wish.gate, rearm=wish.rearm)
            return self.row

        found: Gate = await self.script.play("write_gate", wish, write)
        return found

    @activity.defn
    async def cancel_entries(self, order: TripOrder) -> int:
        found: int = await self.script.play("cancel_entries", order, lambda: 1)
        return found

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        found: Exposure = await self.script.play(
            "flatten_all", order, lambda: Exposure(at=datetime.now(UTC))
        )
        return found

    @activity.defn
    async def read_exposure(self, order: TripOrder) -> Exposure:
        found: Exposure = await self.script.play(
            "read_exposure", order, lambda: Exposure(at=datetime.now(UTC))
        )
        return found


class ScriptedReconciliation(ReconciliationPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def compare(self, account: str) -> Comparison:
        found: Comparison = await self.script.play(
            "compare", account, lambda: Comparison(at=datetime.now(UTC))
        )
        return found

    @activity.defn
    async def plan_adoption(self, orphan: Discrepancy) -> Adoption | None:
        found: Adoption | None = await self.script.play("plan_adoption", orphan, lambda: None)
        return found

    @activity.defn
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        await self.script.play("cancel_unknown", unknown, lambda: None)

    @activity.defn
    async def look_again(self, account: str) -> None:
        await self.script.play("look_again", account, lambda: None)
