"""The order and completeness of executions, whichever way they come; the list is scripted."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities import follower, silence
from activities.follower import Follower, TopicSilent
from activities.happening import StreamCursor
from activities.parse import Payment
from tradewright.domain.execution import Execution

START = datetime(2025, 1, 1, tzinfo=UTC)


class MuteWire:
    """A connection over which nothing comes."""

    url = "ws://mute"
    is_drained = True

    async def receive(self, within: float) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return None


class ScriptedExecutions:
    """Lists *rows*, *page* of them at a time."""

    def __init__(self, rows: list[dict[str, Any]], page: int = 100) -> None:
        self.rows = rows
        self.page = page
        self.calls: list[dict[str, Any]] = []

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        if method != "get_executions":
            return {"result": {"list": []}}
        self.calls.append(arguments)
        listed = [
            row
            for row in self.rows
            if arguments["startTime"] <= int(row["execTime"]) <= arguments["endTime"]
        ]
        listed.sort(key=lambda row: -int(row["seq"]))
        begin = int(arguments.get("cursor") or 0)
        rest = begin + self.page < len(listed)
        cursor = str(begin + self.page) if rest else ""
        return {"result": {"list": listed[begin : begin + self.page], "nextPageCursor": cursor}}


class NotingPost:
    """Keeps what is delivered."""

    fault = ""

    def __init__(self, first_trigger: datetime | None = START) -> None:
        self.delivered: list[Execution] = []
        self.payments: list[Payment] = []
        self.rechecks: list[str] = []
        self._first_trigger = first_trigger

    async def first_trigger(self) -> datetime | None:
        return self._first_trigger

    async def deliver(self, execution: Execution, parent_link: str = "") -> None:
        self.delivered.append(execution)

    async def deliver_payment(self, payment: Payment) -> None:
        self.payments.append(payment)

    async def recheck_entries(self, reason: str) -> None:
        self.rechecks.append(reason)

    async def recheck(self, row: dict[str, Any], reason: str) -> None:
        self.rechecks.append(reason)


class NotingReport:
    """Keeps what the channel was said to be worth."""

    fault = ""
    since = None

    def __init__(self) -> None:
        self.told: list[str] = []

    def healthy(self) -> None:
        if not self.told or self.told[-1]:
            self.told.append("")

    def degraded(self, fault: str) -> None:
        self.told.append(fault)


class StandingMarket:
    def __init__(self, now: datetime) -> None:
        self.now = now

    async def market_now(self) -> datetime:
        return self.now


def listed(number: int, at: datetime = START, **changes: Any) -> dict[str, Any]:
    return {
        "execId": f"exec-{number}",
        "seq": number,
        "orderId": f"order-{number}",
        "orderLinkId": "",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "execPrice": "50000",
        "execQty": "0.01",
        "execFee": "0.275",
        "execType": "Trade",
        "execTime": str(int(at.timestamp() * 1000)),
        "isMaker": False,
        "createType": "CreateByUser",
        "stopOrderType": "UNKNOWN",
    } | changes


def follower_of(
    source: ScriptedExecutions,
    post: NotingPost,
    *,
    now: datetime = START,
    cursor: StreamCursor | None = None,
) -> Any:
    pace: Any = StandingMarket(now)
    noting: Any = post
    report: Any = NotingReport()
    return Follower(source, pace, noting, cursor or StreamCursor(), report)


async def test_a_silent_stream_is_noticed_by_the_list_and_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "SWEEP_EVERY", 0.0)
    monkeypatch.setattr(silence, "SILENT_AFTER", 0.05)
    post = NotingPost()
    deaf, mute = follower_of(ScriptedExecutions([listed(1)]), post), MuteWire()

    with pytest.raises(TopicSilent, match="execution is silent although the exchange lists"):
        await deaf.live(mute)

    assert [e.exec_id for e in post.delivered] == ["exec-1"]


async def test_a_message_that_has_come_and_waits_for_us_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "SWEEP_EVERY", 0.0)
    monkeypatch.setattr(silence, "SILENT_AFTER", 0.0)
    post = NotingPost()
    busy, mute = follower_of(ScriptedExecutions([listed(1)]), post), MuteWire()
    mute.is_drained = False

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await busy.live(mute)

    assert [e.exec_id for e in post.delivered] == ["exec-1"]


async def test_a_message_that_comes_while_a_list_is_delivered_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "SWEEP_EVERY", 0.0)
    monkeypatch.setattr(silence, "SILENT_AFTER", 0.02)

    class QueuedWire:
        url = "ws://queued"

        def __init__(self) -> None:
            self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        @property
        def is_drained(self) -> bool:
            return self.messages.empty()

        async def receive(self, within: float) -> dict[str, Any] | None:
            return await self.messages.get()

    class SlowPost(NotingPost):
        async def deliver(self, execution: Execution, parent_link: str = "") -> None:
            wire.messages.put_nowait({"topic": "execution", "data": [listed(1)]})
            # The trade answers later than a topic may lag
            await asyncio.sleep(0.05)
            await super().deliver(execution, parent_link)

    wire, post = QueuedWire(), SlowPost()
    slow = follower_of(ScriptedExecutions([listed(1)]), post)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await slow.live(wire)

    assert [e.exec_id for e in post.delivered] == ["exec-1"]


async def test_a_long_absence_is_read_week_by_week_and_page_by_page() -> None:
    rows = [listed(n, START + timedelta(days=n)) for n in range(20)]
    source, post = ScriptedExecutions(rows, page=3), NotingPost()

    await follower_of(source, post, now=START + timedelta(days=20)).catch_up()

    assert [e.exec_id for e in post.delivered] == [f"exec-{n}" for n in range(20)]
    assert len({call["startTime"] for call in source.calls}) == 3
    week = timedelta(days=7) / timedelta(milliseconds=1)
    assert all(call["endTime"] - call["startTime"] < week for call in source.calls)


async def test_executions_of_one_moment_are_delivered_in_the_exchange_s_order() -> None:
    post = NotingPost()

    await follower_of(ScriptedExecutions([listed(n) for n in (3, 1, 2)]), post).catch_up()

    assert [e.seq for e in post.delivered] == [1, 2, 3]


async def test_without_trades_nothing_old_is_read() -> None:
    source = ScriptedExecutions([listed(1, START - timedelta(hours=1))])
    post = NotingPost(first_trigger=None)

    await follower_of(source, post).catch_up()

    assert not post.delivered


async def test_funding_is_no_execution_of_a_trade_and_is_told_once() -> None:
    post = NotingPost()
    paid = listed(1, execType="Funding", execFee="0.00867")
    twice = follower_of(ScriptedExecutions([paid]), post)

    await twice.catch_up()
    await twice.catch_up()

    assert (post.delivered, post.rechecks) == ([], [])
    assert [(p.exec_id, p.amount, p.at) for p in post.payments] == [
        ("exec-1", Decimal("-0.00867"), START)
    ]


async def test_an_execution_that_cannot_be_read_makes_the_trade_ask_once() -> None:
    post = NotingPost()
    source = ScriptedExecutions([listed(1, execPrice="much"), listed(2)])
    twice = follower_of(source, post)

    await twice.catch_up()
    await twice.catch_up()

    assert [e.exec_id for e in post.delivered] == ["exec-2"]
    assert post.rechecks == ["an execution could not be read"]


async def test_the_cursor_moves_only_after_delivery() -> None:
    class FailingPost(NotingPost):
        async def deliver(self, execution: Execution, parent_link: str = "") -> None:
            if execution.seq == 2:
                raise RuntimeError("the process dies here")
            await super().deliver(execution, parent_link)

    dying = follower_of(ScriptedExecutions([listed(1), listed(2)]), FailingPost())
    with pytest.raises(RuntimeError):
        await dying.catch_up()

    assert dying.cursor.seen == ("exec-1",)


async def test_the_cursor_stays_small() -> None:
    post = NotingPost()
    busy = follower_of(ScriptedExecutions([listed(n) for n in range(6000)]), post)

    await busy.catch_up()

    assert len(busy.cursor.seen) == follower.CARRIED
    assert len(busy._seen) <= follower.REMEMBERED


async def test_those_of_a_symbol_go_by_the_exchange_s_sequence_whatever_their_times_say() -> None:
    post, second = NotingPost(), timedelta(seconds=1)
    rows = [
        listed(2, START),
        listed(1, START + 2 * second),
        listed(3, START + second, symbol="ETHUSDT"),
    ]

    now = START + timedelta(minutes=1)
    await follower_of(ScriptedExecutions(rows), post, now=now).catch_up()

    assert [(e.symbol, e.seq) for e in post.delivered] == [
        ("BTCUSDT", 1),
        ("ETHUSDT", 3),
        ("BTCUSDT", 2),
    ]


async def test_what_shares_moment_and_sequence_stays_in_the_order_of_the_list() -> None:
    rows = [listed(n, seq=7) for n in (3, 2, 1)]
    post = NotingPost()

    await follower_of(ScriptedExecutions(rows), post).catch_up()

    assert [e.exec_id for e in post.delivered] == ["exec-1", "exec-2", "exec-3"]


async def test_what_is_listed_a_minute_late_and_was_lost_on_the_stream_is_delivered() -> None:
    source, post = ScriptedExecutions([listed(2)]), NotingPost(START - timedelta(hours=1))
    lagging = follower_of(source, post, now=START)
    await lagging.catch_up()

    source.rows.append(listed(1, START - timedelta(minutes=1)))
    await lagging.catch_up()

    assert [e.exec_id for e in post.delivered] == ["exec-2", "exec-1"]


async def test_an_execution_of_an_unknown_kind_makes_the_trade_ask() -> None:
    post = NotingPost()

    await follower_of(ScriptedExecutions([listed(1, execType="Gift")]), post).catch_up()

    assert (post.delivered, post.rechecks) == ([], ["an execution could not be read"])


async def test_a_new_connection_is_caught_up_before_it_goes_live_and_entries_ask() -> None:
    post = NotingPost()

    await follower_of(ScriptedExecutions([listed(1)]), post).begin()

    assert [e.exec_id for e in post.delivered] == ["exec-1"]
    assert post.rechecks == ["the stream was away"]


async def test_a_quiet_month_is_read_once() -> None:
    source, post = ScriptedExecutions([listed(1)]), NotingPost()
    quiet = follower_of(source, post, now=START + timedelta(days=30))
    await quiet.catch_up()
    asked = len(source.calls)

    await quiet.catch_up()

    assert asked > 4
    assert len(source.calls) == asked + 1
    assert quiet.cursor.at == START + timedelta(days=30) - follower.CLOCKS_APART
