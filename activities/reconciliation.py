"""What the exchange shows, beside what the trades believe."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    ScheduleOverlapPolicy,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities import lookup
from activities.bybit import BybitClient
from activities.pace import Pace, milliseconds
from activities.parse import Row
from activities.pulse import beating
from tradewright import ids
from tradewright.domain.account import Account, Position, Reservation
from tradewright.domain.errors import AnswerMalformed, DeskUnreachable
from tradewright.domain.execution import Execution
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, Origin, TradePlan
from tradewright.domain.reconciliation import Believed, Discrepancy, Shown, discrepancies
from tradewright.domain.trade import Adopted, TradeState
from tradewright.ports import Adoption, Comparison, ReconciliationPort, TradeView

log = structlog.get_logger(__name__)

ADOPT_STOP_FRACTION = Decimal("0.02")
RELEASE_AFTER = timedelta(seconds=60)
ANSWER_WITHIN = timedelta(seconds=5)


class _Owner(NamedTuple):
    """A trade that may own something: what it would be called."""

    symbol: str
    trade_id: str


class BybitReconciliation(ReconciliationPort):
    def __init__(
        self,
        client: BybitClient,
        pace: Pace,
        temporal: Client,
        account: str,
        adopt_stop_fraction: Decimal = ADOPT_STOP_FRACTION,
        ensure: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Let every pass begin with *ensure*, which starts again what must always run."""
        self._client = client
        self._pace = pace
        self._temporal = temporal
        self._account = account
        self._adopt_stop_fraction = adopt_stop_fraction
        self._ensure = ensure

    @activity.defn
    @beating
    async def compare(self, account: str) -> Comparison:
        """Compare every symbol whose position can be read.

        Of one that cannot, nothing is believed: its trade is left alone and its risk held. What
        the desk may still enter is not decided here; its snapshot of the exposure fails.
        """
        await self._start_again()
        now, market_now = datetime.now(UTC), await self._pace.market_now()
        unreadable: list[Row] = []
        shown = Shown(
            at=now,
            market_at=market_now,
            positions=await lookup.fetch_positions(self._client, unreadable),
            orders=await lookup.fetch_open_orders(self._client, unreadable=[]),
        )
        unread = _symbols(unreadable)
        reserved = {
            _Owner(r.plan.symbol, r.plan.trade_id): r for r in await self._reservations(account)
        }
        views = await self._running({*reserved, *_linked(shown), *await self._listed(account)})
        owned = {owner.symbol for owner in views}
        for position in shown.positions:
            if position.symbol not in owned:
                views |= await self._running(await self._possible_owners(position))
        held = {p.symbol for p in shown.positions} | unread
        believed = [_believed(o, view, reserved.get(o)) for o, view in views.items()]
        return Comparison(
            at=now,
            discrepancies=discrepancies(
                shown,
                [b.model_copy(update={"busy": b.busy or b.symbol in unread}) for b in believed],
            ),
            trades=len(views),
            positions=len(shown.positions),
            released=tuple(
                owner.trade_id
                for owner, reservation in reserved.items()
                if owner not in views
                and owner.symbol not in held
                and now - reservation.at > RELEASE_AFTER
            ),
            unreserved=tuple(
                view.trade.plan
                for owner, view in views.items()
                if view is not None and owner not in reserved and not view.trade.is_final
            ),
        )

    @activity.defn
    @beating
    async def plan_adoption(self, orphan: Discrepancy) -> Adoption | None:
        """Return the trade that adopts the position; None if it is gone.

        Its executions count from before the position is read, so that none is missed that
        closes it meanwhile.

        Raises:
            ReadsDisagree: It traded while it was read: what was read may be in it or not.
        """
        now, market_now = datetime.now(UTC), await self._pace.market_now()
        position = await lookup.fetch_position(self._client, orphan.symbol)
        if position is None or orphan.position is None or position.side is not orphan.position.side:
            return None
        recent = await self._recent(position)
        if any(execution.at > market_now for execution in recent):
            raise lookup.ReadsDisagree(position.symbol, f"it traded after {market_now}")
        instrument = await self._client.instrument(position.symbol)
        stop_loss = position.stop_loss
        if stop_loss is None:
            # On the losing side of both prices, or the exchange would not take it
            sign = position.side.sign
            prices = (position.entry_price, position.mark_price)
            worse = min(prices) if sign > 0 else max(prices)
            distance = worse * self._adopt_stop_fraction
            stop_loss = instrument.protective_price(worse - sign * distance, position.side)
        plan = TradePlan(
            trade_id=self._adopted_id(position, recent),
            account=self._account,
            preset="adopted",
            preset_hash="",
            symbol=position.symbol,
            side=position.side,
            qty=position.qty,
            price=position.entry_price,
            stop_loss=stop_loss,
            take_profit=position.take_profit,
            exits=ExitRules(timeframe=Timeframe.M1),
            leverage=max(position.leverage, Decimal(1)),
            instrument=instrument,
            origin=Origin.ADOPTED,
            reason=orphan.detail[:200],
            trigger=market_now,
            decided_at=now,
            expires_at=now,
        )
        adopted = Adopted(qty=position.qty, price=position.entry_price, at=market_now)
        return Adoption(plan=plan, adopted=adopted)

    @activity.defn
    @beating
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        owner = _Owner(unknown.symbol, unknown.trade_id)
        if not await self._running([owner]):
            await lookup.cancel(self._client, unknown.symbol, orderId=unknown.order_id)

    @activity.defn
    @beating
    async def look_again(self, account: str) -> None:
        schedule = self._temporal.get_schedule_handle(ids.reconciliation_workflow(account))
        try:
            await schedule.trigger(
                overlap=ScheduleOverlapPolicy.BUFFER_ONE, rpc_timeout=ANSWER_WITHIN
            )
        except RPCError as e:
            # The next worker that starts makes it again
            log.warning("not_looked_again", detail=str(e))

    async def _reservations(self, account: str) -> tuple[Reservation, ...]:
        desk = ids.account_workflow(account)
        try:
            told: Account = await self._temporal.get_workflow_handle(desk).query(
                "account", result_type=Account, rpc_timeout=ANSWER_WITHIN
            )
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return ()
            raise DeskUnreachable(desk, str(e)) from e
        except WorkflowQueryFailedError as e:
            raise DeskUnreachable(desk, str(e)) from e
        return told.reservations

    async def _start_again(self) -> None:
        if self._ensure is None:
            return
        try:
            await self._ensure()
        except RPCError as e:
            log.warning("not_started_again", detail=str(e))

    async def _listed(self, account: str) -> set[_Owner]:
        """Return the trades that Temporal lists as running, for a desk that has forgotten them.

        The list lags: each is asked itself before anything is believed of it.
        """
        query = (
            f"WorkflowType='TradeWorkflow' AND ExecutionStatus='Running' AND Account='{account}'"
        )
        found = [
            ids.parse_trade_workflow(listed.id)
            async for listed in self._temporal.list_workflows(query)
        ]
        return {_Owner(*owner) for owner in found if owner is not None}

    async def _running(self, owners: Iterable[_Owner]) -> dict[_Owner, TradeView | None]:
        """Return what those trades say that run; None of one that runs and does not answer.

        Asked by id: lists of workflows lag behind, and say only whom to ask.
        """
        wanted = sorted(set(owners))
        told = await asyncio.gather(*(self._ask(owner) for owner in wanted))
        return {o: view for o, (runs, view) in zip(wanted, told, strict=True) if runs}

    async def _ask(self, owner: _Owner) -> tuple[bool, TradeView | None]:
        """Return whether the trade runs, and what it says."""
        workflow_id = ids.trade_workflow(*owner)
        handle = self._temporal.get_workflow_handle(workflow_id)
        try:
            description = await handle.describe(rpc_timeout=ANSWER_WITHIN)
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return False, None
            raise DeskUnreachable(workflow_id, str(e)) from e
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return False, None
        try:
            view: TradeView = await handle.query(
                "trade", result_type=TradeView, rpc_timeout=ANSWER_WITHIN
            )
        except (RPCError, WorkflowQueryFailedError):
            # Its worker may be restarting; that it runs is enough to own what it owns
            return True, None
        return True, view

    async def _possible_owners(self, position: Position) -> set[_Owner]:
        """Return the trades that may hold *position*, read from what was traded."""
        found = await self._recent(position)
        owners = {
            _Owner(e.symbol, link.trade)
            for e in found
            if (link := ids.parse_link(e.order_link_id)) is not None
        }
        return {*owners, _Owner(position.symbol, self._adopted_id(position, found))}

    def _adopted_id(self, position: Position, found: Sequence[Execution]) -> str:
        first = lookup.first_of_position(position, found)
        if first is not None:
            return ids.adopted_trade_id(self._account, position.symbol, first.exec_id)
        # Older than the executions that are read: named by its birth
        born = milliseconds(position.created_at) if position.created_at else 0
        return ids.adopted_trade_id(self._account, position.symbol, f"position-{born}")

    async def _recent(self, position: Position) -> tuple[Execution, ...]:
        now = await self._pace.market_now()
        since = now - lookup.EXECUTION_WINDOW + timedelta(minutes=1)
        return await lookup.fetch_executions(self._client, position.symbol, since, now)


def _symbols(unreadable: Iterable[Row]) -> set[str]:
    """Return whose positions could not be read; who cannot be named could be anybody."""
    symbols = {row.get("symbol") for row in unreadable}
    if not all(isinstance(symbol, str) and symbol for symbol in symbols):
        raise AnswerMalformed("get_positions", "a row that cannot be read has no symbol")
    return {str(symbol) for symbol in symbols}


def _linked(shown: Shown) -> set[_Owner]:
    return {
        _Owner(order.symbol, link.trade)
        for order in shown.orders
        if (link := ids.parse_link(order.order_link_id)) is not None
    }


def _believed(owner: _Owner, view: TradeView | None, held: Reservation | None) -> Believed:
    workflow_id, trade_id = ids.trade_workflow(*owner), owner.trade_id
    if view is None:
        return Believed(
            workflow_id=workflow_id,
            trade_id=trade_id,
            symbol=owner.symbol,
            side=held.plan.side if held else Side.BUY,
            state=TradeState.OPEN,
            open_qty=Decimal(0),
            # Nothing is compared with what it did not say
            busy=True,
        )
    trade = view.trade
    return Believed(
        workflow_id=workflow_id,
        trade_id=trade_id,
        symbol=owner.symbol,
        side=trade.plan.side,
        state=trade.state,
        open_qty=trade.open_qty,
        busy=view.busy or trade.state is not TradeState.OPEN,
    )
