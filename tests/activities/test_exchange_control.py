"""What a process tells of its way to the exchange, asked by a person or by itself."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.breaker import FAILURES
from activities.exchange_control import BybitControl
from tests.activities.conftest import Bench
from tradewright import ids
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.notice import Notice, Priority
from tradewright.ports import ResetWish, activities_of


@workflow.defn
class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._told: list[Notice] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def tell(self, notice: Notice) -> None:
        self._told.append(notice)

    @workflow.query
    def told(self) -> list[Notice]:
        return self._told


@pytest.fixture
async def account(temporal_env: WorkflowEnvironment) -> AsyncIterator[str]:
    """An account whose notifier listens."""
    client, account = temporal_env.client, f"control-{uuid.uuid4().hex}"
    worker = Worker(
        client,
        task_queue=account,
        workflows=[Listener],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(0),
    )
    async with worker:
        with temporal_env.with_time_skipping_disabled():
            handle = await client.start_workflow(
                Listener.run, id=ids.notifier_workflow(account), task_queue=account
            )
        yield account
        await handle.terminate()


async def break_wallet(bench: Bench) -> None:
    bench.line.always["get_wallet_balance"] = bench.faults.http_status(502)
    for _ in range(FAILURES):
        with pytest.raises(ExchangeUnreachable):
            await bench.client.call("get_wallet_balance", accountType="UNIFIED")


async def told(client: Client, account: str, count: int) -> list[Notice]:
    """Return what the notifier was told, as soon as it is *count* things."""
    handle = client.get_workflow_handle(ids.notifier_workflow(account))
    async with asyncio.timeout(30):
        while len(found := await handle.query(Listener.told)) < count:  # noqa: ASYNC110 the workflow tells nobody
            await asyncio.sleep(0.02)
    return found


async def test_a_person_is_told_once_of_a_breaker_that_opens_and_that_it_is_over(
    bench: Bench, temporal_env: WorkflowEnvironment, account: str
) -> None:
    control = BybitControl(bench.client, temporal_env.client, account, "trading@host")
    await break_wallet(bench)
    await told(temporal_env.client, account, 1)

    await control.reset_exchange(ResetWish(by="ann"))
    opened, closed = await told(temporal_env.client, account, 2)

    assert (opened.key, closed.key) == ("breaker/trading@host/account",) * 2
    assert (opened.priority, opened.resolved, closed.resolved) == (Priority.WARNING, False, True)
    assert opened.title == "Bybit does not answer account requests"
    assert "HTTP 502" in opened.text
    assert "exits, stops and cancels are still sent" in opened.text


async def test_a_status_shows_what_was_asked_and_a_reset_begins_anew(
    bench: Bench, temporal: Client
) -> None:
    control = BybitControl(bench.client, temporal, "nobody", "trading@host")
    await bench.client.call("get_account_info")
    await break_wallet(bench)

    before = await control.exchange_status()
    after = await control.reset_exchange(ResetWish(name="account", by="ann"))

    assert [(b.group, b.state, b.failures) for b in before.breakers] == [("account", "open", 5)]
    assert {b.name for b in before.buckets} == {
        *("account/info", "account/wallet-balance", "address")
    }
    assert before.clock_skew_ms is not None
    assert before.was_reset == ()
    assert [(b.group, b.state, b.failures) for b in after.breakers] == [("account", "closed", 0)]
    assert after.was_reset == ("account", "account/info", "account/wallet-balance")


def test_its_activities_are_those_of_the_port(bench: Any, temporal: Client) -> None:
    control = BybitControl(bench.client, temporal, "nobody", "trading@host")

    names = [activity.__name__ for activity in activities_of(control)]

    assert names == ["exchange_status", "reset_exchange"]
