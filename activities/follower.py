"""Brings executions into order, each once, whichever way they come: by stream or by list."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from activities import parse
from activities.channel import ChannelReport
from activities.happening import Happening, StreamCursor, in_order
from activities.joint import together
from activities.pace import Pace, milliseconds
from activities.parse import Payment
from activities.post import Post
from activities.silence import Orders, Silence, Source, was_placed_by_us
from activities.wire import Wire, WireLost
from tradewright import ids
from tradewright.domain.errors import AnswerMalformed, TradewrightError
from tradewright.domain.execution import Execution
from tradewright.domain.trade import EntryEnded

log = structlog.get_logger(__name__)

EXECUTION, ORDER = "execution", "order"
TOPICS = (EXECUTION, ORDER)
SWEEP_EVERY = 5.0
ORDERS_EVERY = 15.0
WAKE_EVERY = 1.0
BLIND_AFTER = 60.0
"""Seconds without a list to compare the stream with, when it is trusted no longer."""
PROBATION = 30.0
"""Seconds that a topic which had gone silent must owe nothing, or bring something at once."""
OVERLAP = timedelta(seconds=65)
"""Of market time: what happened then may be listed only now, and have been lost on the stream."""
CLOCKS_APART = timedelta(minutes=10)
"""A quiet account is asked for so much of its past at least: our clock may be ahead."""
WINDOW = timedelta(days=7)
PAGE = 100
REMEMBERED = 5_000
CARRIED = 200


class TopicSilent(WireLost):
    """The connection lives, and one of its topics tells nothing of what has happened."""

    def __init__(self, url: str, topic: str) -> None:
        super().__init__(url, f"{topic} is silent although the exchange lists what it owes")
        self.topic = topic


class Follower:
    """Delivers to the trades, and finds out what the stream does not tell."""

    def __init__(
        self, bybit: Source, pace: Pace, post: Post, cursor: StreamCursor, report: ChannelReport
    ) -> None:
        self._bybit = bybit
        self._pace = pace
        self._post = post
        self._report = report
        self._orders = Orders(bybit)
        self._silence = Silence()
        self._at = cursor.at
        self._asked_at: datetime | None = None
        self._seen = dict.fromkeys(cursor.seen)
        self._filled: dict[str, Decimal] = {}
        """What was delivered of each order."""
        self._held: list[Happening] = []
        """Came before what precedes it, and waits for that; a list that is read ends the wait."""
        self._hurry = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_taking = False
        """A message has come and is being delivered, or waits for that."""
        self._suspect = ""
        self._listed_at = 0.0

    @property
    def cursor(self) -> StreamCursor:
        return StreamCursor(
            at=self._at,
            seen=tuple(self._seen)[-CARRIED:],
            fault=self._report.fault,
            fault_since=self._report.since,
        )

    async def catch_up(self) -> None:
        """Deliver what the exchange lists and nobody has delivered."""
        self._silence.forget()
        await self._deliver_all([*self._held, *await self._missed()])
        self._held.clear()
        self._advance()

    async def begin(self) -> None:
        """Fill the gap before a connection that is subscribed already; then it may go live."""
        await self.catch_up()
        await self._orders.begin()
        # How orders ended is on no list that begins where we left off
        await self._post.recheck_entries("the stream was away")

    async def live(self, wire: Wire) -> None:
        """Deliver what *wire* brings, until it is lost or one of its topics is silent."""
        self._listed_at = asyncio.get_running_loop().time()
        if not self._suspect:
            self._healthy()
        try:
            await together(self._listen(wire), self._sweep(wire))
        except TopicSilent as e:
            self._suspect = e.topic
            raise

    async def _listen(self, wire: Wire) -> None:
        while True:
            message = await wire.receive(within=WAKE_EVERY)
            if message is None:
                continue
            self._is_taking = True
            try:
                async with self._turn:
                    await self._take(message)
            finally:
                self._is_taking = False

    async def _sweep(self, wire: Wire) -> None:
        """Compare with the exchange's lists, again and again; its absence holds up no message."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        orders_at = began + ORDERS_EVERY
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY):
                    await self._hurry.wait()
            self._hurry.clear()
            if self._post.fault:
                await self._post.ask_desk()
            try:
                await self._compare_executions()
                if loop.time() >= orders_at:
                    self._silence.owes(ORDER, await self._orders.untold())
                    orders_at = loop.time() + ORDERS_EVERY
            except TradewrightError as e:
                log.warning("stream_not_compared", detail=str(e))
                if loop.time() - self._listed_at > BLIND_AFTER:
                    self._report.degraded(f"it cannot be compared with the exchange's lists: {e}")
                await self._release()
                continue
            self._listed_at = loop.time()
            silent = self._silence.topic
            # What has come and waits for us is our delay, not the stream's
            if silent is not None and wire.is_drained and not self._is_taking:
                raise TopicSilent(wire.url, silent)
            if not self._suspect or loop.time() - began > PROBATION:
                self._suspect = ""
                self._healthy()

    def _healthy(self) -> None:
        """Report that the stream can be relied on, if what it brings reaches its owners."""
        if self._post.fault:
            self._report.degraded(self._post.fault)
        else:
            self._report.healthy()

    async def _compare_executions(self) -> None:
        missed = await self._missed()
        async with self._turn:
            held = {h.what.exec_id for h in self._held}
            # Some were delivered while the list was read
            missed = [h for h in missed if h.what.exec_id not in self._seen]
            self._silence.owes(
                EXECUTION, [h.what.exec_id for h in missed if h.what.exec_id not in held]
            )
            found = {h.what.exec_id: h for h in (*missed, *self._held)}
            self._held.clear()
            await self._deliver_all(found.values())
            self._advance()

    async def _release(self) -> None:
        """Deliver what waited for a list that cannot be read."""
        async with self._turn:
            held, self._held = self._held, []
            await self._deliver_all(held)

    async def _take(self, message: dict[str, Any]) -> None:
        topic, rows = message["topic"], message["data"]
        if topic == self._suspect:
            self._suspect = ""
            self._healthy()
        if topic == EXECUTION:
            for row in rows:
                self._silence.heard(EXECUTION, str(row.get("execId")))
                if was_placed_by_us(row) and not self._orders.knows(str(row.get("orderId"))):
                    self._silence.owes(ORDER, [str(row.get("orderId"))])
            await self._deliver_ready(await self._read(rows))
        elif topic == ORDER:
            for row in rows:
                self._silence.heard(ORDER, self._orders.hear(row))
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

    async def _read(self, rows: Iterable[dict[str, Any]]) -> list[Happening]:
        """Return what *rows* tell; one that cannot be read holds no other back."""
        found: list[Happening] = []
        for row in rows:
            try:
                what = parse.execution(row) or parse.payment(row)
                if what is None:
                    raise AnswerMalformed(
                        f"a read of executions ({row['execType']})", "nobody knows this kind"
                    )
                found.append(Happening(what, parse.filled_so_far(row)))
            except AnswerMalformed as e:
                exec_id = str(row.get("execId"))
                if exec_id not in self._seen:
                    log.error("execution_not_understood", detail=str(e))
                    await self._post.recheck(row, "an execution could not be read")
                    self._seen[exec_id] = None
        return found

    async def _deliver_ready(self, told: Iterable[Happening]) -> None:
        """Deliver what the stream told, but nothing of a symbol before what precedes it."""
        waiting: list[Happening] = []
        blocked: set[str] = set()
        for happening in in_order([*self._held, *told]):
            if happening.what.symbol in blocked or self._is_early(happening):
                blocked.add(happening.what.symbol)
                waiting.append(happening)
            else:
                await self._deliver(happening)
        self._held = waiting
        if waiting:
            self._hurry.set()

    def _is_early(self, happening: Happening) -> bool:
        """Return whether a part of the order was filled before, and has not come yet."""
        what, filled = happening
        if filled is None or isinstance(what, Payment) or what.exec_id in self._seen:
            return False
        return self._filled.get(what.order_id, Decimal(0)) + what.qty < filled

    async def _deliver_all(self, happenings: Iterable[Happening]) -> None:
        for happening in in_order(happenings):
            await self._deliver(happening)

    async def _deliver(self, happening: Happening) -> None:
        what = happening.what
        if what.exec_id in self._seen:
            return
        if isinstance(what, Payment):
            await self._post.deliver_payment(what)
        else:
            await self._post.deliver(what, await self._parent(what))
            self._filled[what.order_id] = self._filled.get(what.order_id, Decimal(0)) + what.qty
        self._seen[what.exec_id] = None
        self._at = max(self._at or what.at, what.at)
        for known in (self._seen, self._filled):
            while len(known) > REMEMBERED:
                del known[next(iter(known))]

    async def _parent(self, execution: Execution) -> str:
        """Return the link of the entry whose stop traded; executions themselves do not say."""
        if ids.is_ours(execution.order_link_id):
            return ""
        return await self._orders.parent(execution.symbol, execution.order_id)

    async def _missed(self) -> list[Happening]:
        """Return what is listed and was not delivered."""
        now = await self._pace.market_now()
        if self._at is None:
            first = await self._post.first_trigger()
            # A desk that does not answer may know of trades that have run for days
            self._at = first or (now - WINDOW if self._post.fault else now)
        begin = self._at - OVERLAP
        self._asked_at = now
        found: list[Happening] = []
        while begin <= now:
            end = begin + WINDOW - timedelta(milliseconds=1)
            found += await self._listed(begin, end)
            begin = end
        return [h for h in found if h.what.exec_id not in self._seen]

    def _advance(self) -> None:
        """Leave behind what a list was read of, so that a quiet month is not read for ever."""
        if self._at is not None and self._asked_at is not None:
            self._at = max(self._at, self._asked_at - CLOCKS_APART)

    async def _listed(self, begin: datetime, end: datetime) -> list[Happening]:
        query: dict[str, Any] = {
            "category": "linear",
            "startTime": milliseconds(begin),
            "endTime": milliseconds(end),
            "limit": PAGE,
        }
        found: list[dict[str, Any]] = []
        while True:
            result = (await self._bybit.call("get_executions", **query))["result"]
            found += result["list"]
            query["cursor"] = result.get("nextPageCursor")
            if not query["cursor"] or not result["list"]:
                # Newest first, as it is listed; what shares its moment stays in order
                return await self._read(reversed(found))
