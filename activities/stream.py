"""The private stream: every execution of the account, told to the trade that it belongs to.

Nothing depends on the stream alone. Each connection begins with what happened before it, and a
sweep of the same list goes on beside it: what the sweep finds first shows that the stream has
gone silent.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from pydantic import AwareDatetime
from temporalio import activity
from temporalio.client import Client

from activities import parse
from activities.messenger import Messenger, heartbeats
from activities.pace import Pace, milliseconds
from activities.secrets import ExchangeKey
from activities.wire import BackOff, Wire, WireLost
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import AnswerMalformed, TradewrightError
from tradewright.domain.execution import Execution
from tradewright.domain.market import Value
from tradewright.domain.plan import Origin
from tradewright.domain.trade import EntryEnded, Executed, RecheckRequested, TradeEvent
from tradewright.ports import StreamPort, TradeView

log = structlog.get_logger(__name__)

SWEEP_EVERY = 5.0
SILENT_AFTER = 3.0
"""Seconds that the stream may lag behind the list of executions."""
ANSWER_WITHIN = 5.0
"""Seconds that a trade may hold up the executions of all others."""
OVERLAP = timedelta(seconds=5)
"""Of market time: executions of the same moment may be listed late."""
WINDOW = timedelta(days=7)
PAGE = 100
REMEMBERED = 1_000
CARRIED = 200


class KeySource(Protocol):
    async def exchange_key(self) -> ExchangeKey: ...


class ExecutionSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class StreamCursor(Value):
    """How far executions have been delivered; carried by the heartbeat."""

    at: AwareDatetime | None = None
    seen: tuple[str, ...] = ()
    fault: str = ""
    """Why nothing is heard at the moment; shown to whoever asks how the stream is doing."""


class BybitStream(StreamPort):
    def __init__(
        self, client: Client, bybit: ExecutionSource, keys: KeySource, pace: Pace, url: str
    ) -> None:
        """Listen at *url*, the venue's private WebSocket."""
        self._messenger = Messenger(client)
        self._bybit = bybit
        self._keys = keys
        self._pace = pace
        self._url = url

    @activity.defn
    async def consume_stream(self, account: str) -> None:
        carried = activity.info().heartbeat_details
        cursor = StreamCursor.model_validate(carried[0]) if carried else StreamCursor()
        post = _Post(self._messenger, account)
        follower = _Follower(self._bybit, self._pace, post, cursor)
        async with heartbeats(lambda: follower.cursor):
            await self._follow(follower)

    async def _follow(self, follower: "_Follower") -> None:
        back_off = BackOff()
        while True:
            try:
                key = await self._keys.exchange_key()
                async with await Wire.open(self._url, "private", key) as wire:
                    # Subscribed before the list is read, or what happens in between is missed
                    await wire.subscribe(["execution", "order"])
                    await follower.catch_up()
                    log.info("stream_connected", url=self._url)
                    follower.fault = ""
                    back_off.reset()
                    await follower.live(wire)
            except TradewrightError as e:
                log.warning("stream_lost", detail=str(e))
                follower.fault = str(e)
                # The list may be read although the stream cannot
                with contextlib.suppress(TradewrightError):
                    await follower.catch_up()
                await back_off.pause()


class _Follower:
    """Brings executions into order, each once, whichever way they come."""

    def __init__(
        self, bybit: ExecutionSource, pace: Pace, post: "_Post", cursor: StreamCursor
    ) -> None:
        self._bybit = bybit
        self._pace = pace
        self._post = post
        self._at = cursor.at
        self._seen = dict.fromkeys(cursor.seen)
        self.fault = cursor.fault
        self._overdue: dict[str, float] = {}
        """Executions that the list showed and the stream has not; since when."""

    @property
    def cursor(self) -> StreamCursor:
        return StreamCursor(at=self._at, seen=tuple(self._seen)[-CARRIED:], fault=self.fault)

    async def catch_up(self) -> None:
        """Deliver what the exchange lists and nobody has delivered."""
        self._overdue.clear()
        await self._deliver_all(await self._missed())

    async def live(self, wire: Wire) -> None:
        """Deliver what *wire* brings, until it is lost or silent."""
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            message = await wire.receive(within=max(0.0, swept + SWEEP_EVERY - loop.time()))
            if message is not None:
                await self._take(message)
            now = loop.time()
            if any(now - since > SILENT_AFTER for since in self._overdue.values()):
                raise WireLost(wire.url, "it is silent although executions are listed")
            if now - swept >= SWEEP_EVERY:
                missed = await self._missed()
                self._overdue |= {execution.exec_id: now for execution in missed}
                await self._deliver_all(missed)
                swept = loop.time()

    async def _take(self, message: dict[str, Any]) -> None:
        if message["topic"] == "execution":
            for row in message["data"]:
                self._overdue.pop(str(row.get("execId")), None)
            await self._deliver_all(await self._read(message["data"]))
        elif message["topic"] == "order":
            for row in message["data"]:
                await self._end_entry(row)

    async def _end_entry(self, row: dict[str, Any]) -> None:
        link = ids.parse_link(row.get("orderLinkId") or "")
        if link is None or link.leg != "e":
            return
        try:
            order = parse.placed_order(row)
        except AnswerMalformed as e:
            log.error("order_not_understood", detail=str(e))
            await self._post.recheck(row, "an order could not be read")
            return
        # What was filled to the end is told by its executions
        if order.status.is_terminal and order.status is not parse.OrderStatus.FILLED:
            event = EntryEnded(order_id=order.order_id, reason=order.reason or order.status)
            workflow_id = ids.trade_workflow(row["symbol"], link.trade)
            await self._post.report(workflow_id, event, symbol=row["symbol"])

    async def _read(self, rows: Iterable[dict[str, Any]]) -> list[Execution]:
        """Return the executions among *rows*; one that cannot be read holds no other back."""
        found = []
        for row in rows:
            try:
                execution = parse.execution(row)
            except AnswerMalformed as e:
                exec_id = str(row.get("execId"))
                if exec_id not in self._seen:
                    log.error("execution_not_understood", detail=str(e))
                    await self._post.recheck(row, "an execution could not be read")
                    self._seen[exec_id] = None
            else:
                found += [execution] if execution else []
        return found

    async def _deliver_all(self, executions: Iterable[Execution]) -> None:
        for execution in sorted(executions, key=lambda e: (e.at, e.seq)):
            if execution.exec_id in self._seen:
                continue
            await self._post.deliver(execution)
            self._seen[execution.exec_id] = None
            self._at = max(self._at or execution.at, execution.at)
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

    async def _missed(self) -> list[Execution]:
        """Return the listed executions that were not delivered."""
        if self._at is None:
            self._at = await self._post.first_trigger() or await self._pace.market_now()
        begin, now = self._at - OVERLAP, await self._pace.market_now()
        found: list[Execution] = []
        while begin <= now:
            end = begin + WINDOW - timedelta(milliseconds=1)
            found += await self._listed(begin, end)
            begin = end
        return [execution for execution in found if execution.exec_id not in self._seen]

    async def _listed(self, begin: datetime, end: datetime) -> list[Execution]:
        query: dict[str, Any] = {
            "category": "linear",
            "startTime": milliseconds(begin),
            "endTime": milliseconds(end),
            "limit": PAGE,
        }
        found: list[Execution] = []
        while True:
            result = (await self._bybit.call("get_executions", **query))["result"]
            found += await self._read(result["list"])
            query["cursor"] = result.get("nextPageCursor")
            if not query["cursor"] or not result["list"]:
                return found


class _Post:
    """Finds the trade that an execution belongs to, and tells it, however long it takes."""

    def __init__(self, messenger: Messenger, account: str) -> None:
        self._messenger = messenger
        self._account = account

    async def deliver(self, execution: Execution) -> None:
        owner = await self._owner(execution.symbol, execution.order_link_id, execution.at)
        event: TradeEvent = Executed(execution=execution)
        is_named = ids.parse_link(execution.order_link_id) is not None
        if owner is not None and not is_named and not await self._came_after(owner, execution):
            # The exchange's list, read in order, tells whose it is
            event = RecheckRequested(reason=f"execution {execution.exec_id} names no trade")
        await self.report(owner, event, exec_id=execution.exec_id, symbol=execution.symbol)

    async def _came_after(self, owner: str, execution: Execution) -> bool:
        """Return whether *execution* is known to have come after the owner's first fill.

        What closes a position without a link (its stop, a person) does. What does not may be
        the end of the trade that held the symbol before, told late.
        """
        try:
            view = await self._messenger.ask(owner, "trade", TradeView, ANSWER_WITHIN)
        except TimeoutError:
            view = None
        if view is None or view.trade.opened_at is None:
            return False
        if view.trade.plan.origin is Origin.ADOPTED:
            return execution.at >= view.trade.opened_at
        first = min((e.at, e.seq) for e in view.trade.entries)
        return (execution.at, execution.seq) > first

    async def recheck(self, row: Mapping[str, Any], reason: str) -> None:
        """Let the trade ask for an execution that could not be read."""
        symbol, link = str(row.get("symbol", "")), str(row.get("orderLinkId", ""))
        owner = await self._owner(symbol, link, None)
        await self.report(owner, RecheckRequested(reason=reason), symbol=symbol)

    async def report(self, owner: str | None, event: TradeEvent, **facts: str) -> None:
        if owner is None or not await self._messenger.tell(owner, "report", event):
            # A reconciliation sees what is held, and gives it an owner
            log.warning("event_without_trade", trade=owner, kind=event.kind, **facts)

    async def first_trigger(self) -> datetime | None:
        """Return since when the oldest of the running trades may have executions."""
        account = await self._desk()
        if account is None or not account.reservations:
            return None
        return min(reservation.plan.trigger for reservation in account.reservations)

    async def _owner(self, symbol: str, link: str, at: datetime | None) -> str | None:
        """Return the workflow of the trade; *at* None asks for the one that holds the symbol."""
        named = ids.parse_link(link)
        if named is not None:
            return ids.trade_workflow(symbol, named.trade)
        # Never an old answer: symbols change hands
        account = await self._desk()
        for reservation in account.reservations if account else ():
            plan = reservation.plan
            # One trade per symbol; what happened before it was another's
            if plan.symbol == symbol and (at is None or at >= plan.trigger):
                return ids.trade_workflow(plan.symbol, plan.trade_id)
        return None

    async def _desk(self) -> Account | None:
        return await self._messenger.ask(ids.account_workflow(self._account), "account", Account)
