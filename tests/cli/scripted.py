"""The activities of a test: an exchange that holds what the test says, and a real journal."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from temporalio import activity

from tradewright import ids
from tradewright.domain.account import Decision, Past, Snapshot
from tradewright.domain.case import Case
from tradewright.domain.execution import Execution
from tradewright.domain.gate import Gate
from tradewright.domain.market import Side
from tradewright.domain.notification import Delivery, Failure, Message
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.reconciliation import Discrepancy
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopKept,
    StopMissing,
    StopRefused,
    TargetsPlaced,
    TrailingSet,
)
from tradewright.journal import Journal
from tradewright.ports import (
    AccountPort,
    Adoption,
    CandlesDone,
    Comparison,
    Evaluation,
    ExchangePort,
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
    Proposals,
    ReconciliationPort,
    Rehearsal,
    SnapshotWish,
    StreamPort,
    TradeEvents,
    TradeOrder,
    TripOrder,
    Universe,
    UniverseWish,
    Watchlist,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEARTBEAT_EVERY = 0.5


class ScriptedDesk(
    AccountPort,
    ExchangePort,
    JournalPort,
    KillPort,
    MarketPort,
    NotifyPort,
    ReconciliationPort,
    StreamPort,
):
    """Answers every activity; the exchange of it holds what a test says."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.equity = Decimal(10_000)
        self.past: Past | None = None
        """What the journal tells a desk that does not know it yet."""
        self.exit_price = Decimal(101)
        self.entry_fault: Exception | None = None
        self.terms = ExitTerms(fault="preset drift does not run; apply it, then move the trade")
        """Of the version that runs."""
        self.passes: list[tuple[Discrepancy, ...]] = []
        """What the next passes of a reconciliation find."""
        self.cases: tuple[Case, ...] = ()
        """Those that a reconciliation reads."""
        self.deaf: set[str] = set()
        """Receivers that take nothing."""

    @activity.defn
    async def read_snapshot(self, wish: SnapshotWish) -> Snapshot:
        return Snapshot(
            at=datetime.now(UTC),
            market_at=NOW,
            equity=self.equity,
            wallet=self.equity,
            past=self.past if wish.baseline is None else None,
        )

    @activity.defn
    async def send(self, message: Message) -> Delivery:
        return Delivery(
            delivered=tuple(sorted({"chat", "mail"} - self.deaf)),
            failed=tuple(Failure(receiver=r, reason="it is away") for r in sorted(self.deaf)),
        )

    @activity.defn
    async def reserve(self, proposal: Proposal) -> Decision:
        raise AssertionError

    @activity.defn
    async def rehearse(self, rehearsal: Rehearsal) -> Decision:
        raise AssertionError

    @activity.defn
    async def reckon_exits(self, wish: ExitsWish) -> ExitTerms:
        return self.terms

    @activity.defn
    async def read_fundings(self, wish: FundingWish) -> Fundings:
        return Fundings()

    @activity.defn
    async def universe(self, wish: UniverseWish) -> Universe:
        raise AssertionError

    @activity.defn
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        if self.entry_fault is not None:
            raise self.entry_fault
        return EntryPlaced(order_id="order-1")

    @activity.defn
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        return StopConfirmed(price=order.plan.stop_loss)

    @activity.defn
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        return TradeEvents()

    @activity.defn
    async def set_trailing(self, order: TradeOrder) -> TrailingSet:
        return TrailingSet()

    @activity.defn
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced:
        return TargetsPlaced(orders=order.targets)

    @activity.defn
    async def set_stop(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        return StopConfirmed(price=order.price or order.plan.stop_loss)

    @activity.defn
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        return TradeEvents()

    @activity.defn
    async def flatten(self, order: TradeOrder) -> ExitSent:
        link = ids.order_link(order.plan.trade_id, "x", order.number)
        return ExitSent(order_link_id=link, order_id="order-2", qty=order.plan.qty)

    @activity.defn
    async def settle(self, order: TradeOrder) -> TradeEvents:
        link = ids.order_link(order.plan.trade_id, "x", 2)
        fill = execution("exit", order.plan.side.opposite, self.exit_price, link=link)
        flat = PositionRead(qty=Decimal(0), at=NOW + timedelta(minutes=2), settled=True)
        return TradeEvents(events=(Executed(execution=fill), flat))

    @activity.defn
    async def record(self, batch: JournalBatch) -> None:
        await self.journal.append(batch.events)

    @activity.defn
    async def read_gate(self, account: str) -> Gate:
        return await self.journal.gate(account) or Gate(account=account, at=datetime.now(UTC))

    @activity.defn
    async def write_gate(self, wish: GateWish) -> Gate:
        return await self.journal.set_gate(wish.gate, rearm=wish.rearm)

    @activity.defn
    async def cancel_entries(self, order: TripOrder) -> int:
        return 0

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        return Exposure(at=datetime.now(UTC))

    @activity.defn
    async def read_exposure(self, order: TripOrder) -> Exposure:
        return Exposure(at=datetime.now(UTC))

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        return Proposals()

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        return MarketView(price=self.exit_price, factors={"atr": 1.5}, market={"bid": "100.9"})

    @activity.defn
    async def done(self, candles: CandlesDone) -> None:
        return None

    @activity.defn
    async def consume_market(self, watchlist: Watchlist) -> None:
        await _follow()

    @activity.defn
    async def consume_stream(self, account: str) -> None:
        await _follow()

    @activity.defn
    async def compare(self, account: str) -> Comparison:
        found = self.passes.pop(0) if self.passes else ()
        return Comparison(at=datetime.now(UTC), discrepancies=found, cases=self.cases)

    @activity.defn
    async def look_again(self, account: str) -> None:
        return None

    @activity.defn
    async def plan_adoption(self, orphan: Discrepancy) -> Adoption | None:
        return None

    @activity.defn
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        return None


async def _follow() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_EVERY)


def execution(
    exec_id: str, side: Side, price: Decimal, *, link: str = "", qty: Decimal = Decimal("0.5")
) -> Execution:
    return Execution(
        exec_id=exec_id,
        seq=1,
        order_id=f"order-{exec_id}",
        order_link_id=link,
        symbol="BTCUSDT",
        side=side,
        price=price,
        qty=qty,
        fee=Decimal("0.03"),
        at=NOW + timedelta(minutes=1),
    )
