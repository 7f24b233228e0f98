"""Whom Temporal knows: which trades and cases run, and what they say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.case import Case
from tradewright.domain.errors import DeskUnreachable
from tradewright.domain.ruling import Key
from tradewright.ports import TradeView

T = TypeVar("T")
K = TypeVar("K")

ANSWER_WITHIN = timedelta(seconds=5)
AT_ONCE = 32
"""Questions that are under way together: a worker answers each with a workflow task."""


class Owner(NamedTuple):
    """A trade that may own something: what it would be called."""

    symbol: str
    trade_id: str


class Ownership:
    """Asks workflows by id: lists of them lag behind, and say only whom to ask."""

    def __init__(self, temporal: Client, account: str) -> None:
        self._temporal = temporal
        self._account = account

    async def desk(self) -> Account | None:
        """Return the desk as it stands; None if it does not run."""
        desk = ids.account_workflow(self._account)
        try:
            told: Account = await self._temporal.get_workflow_handle(desk).query(
                "account", result_type=Account, rpc_timeout=ANSWER_WITHIN
            )
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return None
            raise DeskUnreachable(desk, str(e)) from e
        except WorkflowQueryFailedError as e:
            raise DeskUnreachable(desk, str(e)) from e
        return told

    async def running(self, owners: Iterable[Owner]) -> dict[Owner, TradeView | None]:
        """Return what those trades say that run; None of one that runs and does not answer."""

        async def ask(owner: Owner) -> tuple[bool, TradeView | None]:
            return await self._ask(ids.trade_workflow(*owner), "trade", TradeView)

        told = await _each(sorted(set(owners)), ask)
        return {owner: view for owner, (runs, view) in told.items() if runs}

    async def cases(self, keys: Iterable[Key]) -> tuple[Case, ...]:
        """Return the cases that run and answer: those of *keys*, and those that are listed."""
        named = {ids.case_workflow(self._account, key.symbol or "-", key.kind) for key in keys}

        async def ask(name: str) -> Case | None:
            return (await self._ask(name, "case", Case))[1]

        told = await _each(sorted(named | {*await self._listed("CaseWorkflow")}), ask)
        return tuple(case for case in told.values() if case is not None)

    async def listed_trades(self) -> set[Owner]:
        """Return the trades that Temporal lists as running, for a desk that has forgotten them."""
        found = map(ids.parse_trade_workflow, await self._listed("TradeWorkflow"))
        return {Owner(*owner) for owner in found if owner is not None}

    async def _listed(self, kind: str) -> list[str]:
        query = f"WorkflowType='{kind}' AND ExecutionStatus='Running' AND Account='{self._account}'"
        return [listed.id async for listed in self._temporal.list_workflows(query)]

    async def _ask(self, workflow_id: str, query: str, answer: type[T]) -> tuple[bool, T | None]:
        """Return whether the workflow runs, and what it says; in one request if it answers."""
        handle = self._temporal.get_workflow_handle(workflow_id)
        try:
            told: T = await handle.query(
                query,
                result_type=answer,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=ANSWER_WITHIN,
            )
        except WorkflowQueryRejectedError:
            return False, None
        except (RPCError, WorkflowQueryFailedError) as e:
            if isinstance(e, RPCError) and e.status is RPCStatusCode.NOT_FOUND:
                return False, None
            # Its worker may be restarting; that it runs is enough to own what it owns
            return await self._runs(handle), None
        return True, told

    async def _runs(self, handle: Any) -> bool:
        try:
            description = await handle.describe(rpc_timeout=ANSWER_WITHIN)
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return False
            raise DeskUnreachable(handle.id, str(e)) from e
        return bool(description.status is WorkflowExecutionStatus.RUNNING)


async def _each(wanted: Iterable[K], ask: Callable[[K], Awaitable[T]]) -> dict[K, T]:
    """Return each answer, asked for together, but not all at once."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(key: K) -> T:
        async with turn:
            return await ask(key)

    keys = list(wanted)
    return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))
