"""Whose an execution is, when the desk that knows it is stuck; the workflows are scripted."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from activities import follower, post
from activities.follower import Follower
from activities.happening import StreamCursor
from activities.post import Post
from tests.activities.noting import START, eventually, holds, plan_of
from tests.activities.test_follower import (
    MuteWire,
    NotingReport,
    ScriptedExecutions,
    StandingMarket,
    listed,
)
from tradewright import ids
from tradewright.domain.account import Account, Reservation
from tradewright.domain.trade import Adopted, Executed, Trade
from tradewright.ports import TradeView

PLAN = plan_of(origin="adopted")
OWNER = ids.trade_workflow(PLAN.symbol, PLAN.trade_id)
LINKED = listed(1, orderLinkId=ids.order_link(PLAN.trade_id, "x", 2))
UNLINKED = listed(2, side="Sell")


class Town:
    """A trade, and a desk that answers only while it is well."""

    def __init__(self, *, is_well: bool) -> None:
        self.is_well = is_well
        self.asked = 0
        self.told: list[tuple[str, str]] = []

    async def ask(
        self, workflow_id: str, query: str, answer: type, within: float | None = None
    ) -> Any:
        if workflow_id == OWNER:
            adopted = Adopted(qty=PLAN.qty, price=PLAN.price, at=START)
            return TradeView(trade=Trade(plan=PLAN).after(adopted), busy=False)
        self.asked += 1
        if not self.is_well:
            async with asyncio.timeout(within):
                await asyncio.Event().wait()
        return Account(
            name="main", started_at=START, reservations=(Reservation(plan=PLAN, at=START),)
        )

    ask_in_time = ask

    async def tell(self, workflow_id: str, signal: str, message: Any) -> bool:
        if isinstance(message, Executed):
            self.told.append((workflow_id, message.execution.exec_id))
        return True


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "ANSWER_WITHIN", 0.05)
    monkeypatch.setattr(follower, "SWEEP_EVERY", 0.0)


def follower_of(town: Any, *rows: dict[str, Any], now: timedelta = timedelta()) -> tuple[Any, Any]:
    pace: Any = StandingMarket(START + now)
    report: Any = NotingReport()
    source = ScriptedExecutions(list(rows))
    return Follower(source, pace, Post(town, "main"), StreamCursor(), report), report


async def test_a_desk_that_is_stuck_keeps_no_execution_from_its_owner() -> None:
    """Its last answer stands for it: while it is stuck it grants no symbol to another."""
    town = Town(is_well=True)
    stuck, _ = follower_of(town, LINKED, UNLINKED)
    await stuck._post.ask_desk()
    town.is_well = False

    async with asyncio.timeout(4):
        await stuck.begin()

    assert town.told == [(OWNER, "exec-1"), (OWNER, "exec-2")]


async def test_a_desk_that_never_answered_holds_up_nothing_that_names_its_owner() -> None:
    town = Town(is_well=False)
    stuck, _ = follower_of(town, LINKED, UNLINKED, now=timedelta(hours=1))

    async with asyncio.timeout(4):
        await stuck.begin()

    assert town.told == [(OWNER, "exec-1")]
    assert town.asked == 1


async def test_a_stream_whose_desk_is_stuck_is_no_healthy_one_until_it_answers() -> None:
    town = Town(is_well=False)
    stuck, report = follower_of(town)

    async with asyncio.timeout(20):
        await stuck.begin()
        following = asyncio.create_task(stuck.live(MuteWire()))
        await eventually(lambda: holds(lambda: bool(report.told)))
        town.is_well = True
        await eventually(lambda: holds(lambda: not report.told[-1]))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert "workflow account/main does not answer" in report.told[0]
    assert report.told[-1] == ""
