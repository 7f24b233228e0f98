"""What the exchange shows, beside what the trades believe and the journal holds."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeVar

import structlog
from temporalio import activity
from temporalio.client import Client, ScheduleOverlapPolicy
from temporalio.service import RPCError

from activities import lookup
from activities.bybit import BybitClient
from activities.ownership import ANSWER_WITHIN, Owner, Ownership
from activities.pace import Pace, milliseconds
from activities.parse import Row
from activities.pulse import beating
from activities.recent import fetch_recent_cash, fetch_recent_executions
from tradewright import ids
from tradewright.domain.account import Account, Position, Reservation
from tradewright.domain.case import Case
from tradewright.domain.errors import AnswerMalformed, TradewrightError
from tradewright.domain.execution import Execution
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, Origin, TradePlan, TrailedBy
from tradewright.domain.reconciliation import (
    Believed,
    Discrepancy,
    Kind,
    Policies,
    Shown,
    balance_drift,
    discrepancies,
)
from tradewright.domain.ruling import Key
from tradewright.domain.trade import Adopted, TradeState
from tradewright.journal import Altered, Beat, Journal
from tradewright.ports import Adoption, Comparison, ReconciliationPort, TradeView

log = structlog.get_logger(__name__)

T = TypeVar("T")

ADOPT_STOP_FRACTION = Decimal("0.02")
RELEASE_AFTER = timedelta(seconds=60)


class _Look(NamedTuple):
    """What was seen at once, as far as several reads see at once."""

    shown: Shown
    desk: Account | None
    reserved: Mapping[Owner, Reservation]
    views: Mapping[Owner, TradeView | None]
    believed: Sequence[Believed]
    unread: set[str]
    found: tuple[Discrepancy, ...]


class BybitReconciliation(ReconciliationPort):
    def __init__(
        self,
        client: BybitClient,
        pace: Pace,
        temporal: Client,
        account: str,
        adopt_stop_fraction: Decimal = ADOPT_STOP_FRACTION,
        ensure: Callable[[], Awaitable[None]] | None = None,
        *,
        journal: Journal | None = None,
        policies: Policies | None = None,
    ) -> None:
        """Let every pass begin with *ensure*, which starts again what must always run."""
        self._client = client
        self._pace = pace
        self._temporal = temporal
        self._account = account
        self._adopt_stop_fraction = adopt_stop_fraction
        self._ensure = ensure
        self._journal = journal
        self._policies = policies or Policies()
        self._ownership = Ownership(temporal, account)
        self._beat = Beat()

    @activity.defn
    @beating
    async def compare(self, account: str) -> Comparison:
        """Compare every symbol whose position can be read.

        Of one that cannot, nothing is believed: its trade is left alone and its risk held. What
        the desk may still enter is not decided here; its snapshot of the exposure fails. What
        cannot be looked for beside the positions and orders does not hold these up.
        """
        del account
        await self._start_again()
        unlooked: list[Kind] = []
        seen, drift = await asyncio.gather(
            self._look(unlooked),
            _try_to_look(Kind.BALANCE_DRIFT, self._drift(), None, unlooked),
        )
        if seen.found:
            # What is read one after the other may have moved between: a trade that has just left
            # is no orphan. What a look at once does not see again is none; what grows meanwhile is
            before = {Key(d.symbol, d.kind) for d in seen.found}
            seen = await self._look(unlooked)
            again = tuple(d for d in seen.found if Key(d.symbol, d.kind) in before)
            seen = seen._replace(found=again)
        found = [*seen.found, *([drift] if drift else [])]
        cases = await self._ownership.cases(Key(d.symbol, d.kind) for d in found)
        found += await _try_to_look(Kind.ALTERED_JOURNAL, self._altered(cases), [], unlooked)
        held = {p.symbol for p in seen.shown.positions} | seen.unread
        reserved = seen.reserved
        return Comparison(
            at=seen.shown.at,
            discrepancies=tuple(found),
            trades=len(seen.views),
            positions=len(seen.shown.positions),
            released=tuple(
                owner.trade_id
                for owner, reservation in reserved.items()
                if owner not in seen.views
                and owner.symbol not in held
                and seen.shown.at - reservation.at > RELEASE_AFTER
            ),
            unreserved=tuple(
                view.trade.plan
                for owner, view in seen.views.items()
                if view is not None and owner not in reserved and not view.trade.is_final
            ),
            policies=self._policies,
            cases=cases,
            ended=await self._ended(cases),
            uncompared=tuple(sorted(seen.unread | {b.symbol for b in seen.believed if b.busy})),
            unlooked=tuple(dict.fromkeys(unlooked)),
            halted=seen.desk is not None and seen.desk.gate is GateState.HALTED,
        )

    async def _look(self, unlooked: list[Kind]) -> _Look:
        now, market_now = datetime.now(UTC), await self._pace.market_now()
        unreadable: list[Row] = []
        unreadable_orders: list[Row] = []
        executions = fetch_recent_executions(self._client, market_now)
        positions, orders, recent, listed, desk = await asyncio.gather(
            lookup.fetch_positions(self._client, unreadable),
            lookup.fetch_open_orders(self._client, unreadable=unreadable_orders),
            _try_to_look(Kind.MISSING_EXECUTION, executions, (), unlooked),
            self._ownership.listed_trades(),
            self._ownership.desk(),
        )
        if unreadable_orders:
            # Nobody can say that one of them is gone
            unlooked += [Kind.UNKNOWN_ORDER, Kind.FOREIGN_ORDER]
        shown = Shown(
            at=now, market_at=market_now, positions=positions, orders=orders, executions=recent
        )
        unread = _symbols(unreadable)
        reserved = {Owner(r.plan.symbol, r.plan.trade_id): r for r in _reservations(desk)}
        views = await self._owners(shown, {*reserved, *listed})
        believed = [_believed(o, view, reserved.get(o), unread) for o, view in views.items()]
        found = discrepancies(shown, believed)
        return _Look(shown, desk, reserved, views, believed, unread, found)

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
        trade_id = self._adopted_id(position, recent)
        plan = TradePlan(
            trade_id=trade_id,
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
        adopted = Adopted(
            qty=position.qty,
            price=position.entry_price,
            at=market_now,
            legs=_legs(trade_id, recent),
        )
        return Adoption(plan=plan, adopted=adopted)

    @activity.defn
    @beating
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        owner = Owner(unknown.symbol, unknown.trade_id)
        if unknown.trade_id and await self._ownership.running([owner]):
            return
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

    async def _start_again(self) -> None:
        if self._ensure is None:
            return
        try:
            await self._ensure()
        except RPCError as e:
            log.warning("not_started_again", detail=str(e))

    async def _owners(self, shown: Shown, known: set[Owner]) -> dict[Owner, TradeView | None]:
        """Return the trades that run: those *known*, linked, or named by what was traded."""
        views = await self._ownership.running({*known, *_linked(shown)})
        owned = {o.symbol for o, view in views.items() if view is None or not view.trade.is_final}
        orphans = [p for p in shown.positions if p.symbol not in owned]
        possible = await asyncio.gather(*map(self._possible_owners, orphans))
        return views | await self._ownership.running(set().union(*possible))

    async def _drift(self) -> Discrepancy | None:
        market_now = await self._pace.market_now()
        return balance_drift(await fetch_recent_cash(self._client, market_now))

    async def _altered(self, cases: Iterable[Case]) -> list[Discrepancy]:
        """Look at the next part of the journal, and at what was found altered before.

        Cases remember what this process has not seen yet.
        """
        if self._journal is None:
            return []
        marked = {
            subject.mark
            for case in cases
            for subject in case.opening.subjects
            if subject.kind is Kind.ALTERED_JOURNAL
        }
        suspects = tuple(sorted({*self._beat.suspects, *marked}))
        patrolled = await self._journal.patrol(self._beat.model_copy(update={"suspects": suspects}))
        self._beat = patrolled.beat
        return [_of_journal(altered) for altered in patrolled.altered]

    async def _ended(self, cases: Iterable[Case]) -> tuple[str, ...]:
        """Return the trades that have asked a person themselves, and run no more."""
        asked = {
            Owner(*owner)
            for case in cases
            if case.opening.is_of_trade
            and (owner := ids.parse_trade_workflow(case.opening.workflow_id)) is not None
        }
        running = await self._ownership.running(asked)
        return tuple(ids.trade_workflow(*owner) for owner in sorted(asked - running.keys()))

    async def _possible_owners(self, position: Position) -> set[Owner]:
        """Return the trades that may hold *position*, read from what was traded."""
        found = await self._recent(position)
        owners = {
            Owner(e.symbol, link.trade)
            for e in found
            if (link := ids.parse_link(e.order_link_id)) is not None
        }
        return {*owners, Owner(position.symbol, self._adopted_id(position, found))}

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


async def _try_to_look(kind: Kind, read: Awaitable[T], nothing: T, unlooked: list[Kind]) -> T:
    """Return what *read* returns, or *nothing*, and note what could not be looked for."""
    try:
        return await read
    except (TradewrightError, ValueError) as e:
        log.warning("not_looked_for", kind=kind, detail=str(e))
        unlooked.append(kind)
        return nothing


def _symbols(unreadable: Iterable[Row]) -> set[str]:
    """Return whose positions could not be read; who cannot be named could be anybody."""
    symbols = {row.get("symbol") for row in unreadable}
    if not all(isinstance(symbol, str) and symbol for symbol in symbols):
        raise AnswerMalformed("get_positions", "a row that cannot be read has no symbol")
    return {str(symbol) for symbol in symbols}


def _legs(trade_id: str, recent: Iterable[Execution]) -> int:
    """Return the highest number of an order of the trade; Bybit takes none of them again."""
    links = (ids.parse_link(execution.order_link_id) for execution in recent)
    return max((link.number for link in links if link and link.trade == trade_id), default=1)


def _reservations(desk: Account | None) -> tuple[Reservation, ...]:
    return desk.reservations if desk else ()


def _linked(shown: Shown) -> set[Owner]:
    return {
        Owner(order.symbol, link.trade)
        for order in shown.orders
        if (link := ids.parse_link(order.order_link_id)) is not None
    }


def _of_journal(altered: Altered) -> Discrepancy:
    return Discrepancy(
        kind=Kind.ALTERED_JOURNAL,
        trade_id=altered.trade_id,
        detail=f"event {altered.chain_seq} of {altered.chain}: {altered.detail}",
        mark=altered.place,
    )


def _believed(
    owner: Owner, view: TradeView | None, held: Reservation | None, unread: set[str]
) -> Believed:
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
            answers=False,
        )
    trade = view.trade
    return Believed(
        workflow_id=workflow_id,
        trade_id=trade_id,
        symbol=owner.symbol,
        side=trade.plan.side,
        state=trade.state,
        open_qty=trade.open_qty,
        stop=trade.wanted_stop,
        trailed=trade.trailed_by is TrailedBy.EXCHANGE,
        since=trade.opened_at,
        exec_ids=frozenset(e.exec_id for e in trade.executions),
        busy=view.busy or trade.state is not TradeState.OPEN or owner.symbol in unread,
    )
