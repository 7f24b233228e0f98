"""Differences, comparisons that show them, cases about them, and a run that is told of them."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio.service import RPCError

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.case import Case, CaseState, Choice, Decision
from tradewright.domain.market import Side
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.ruling import opening_of
from tradewright.ports import Comparison


def comparison(*discrepancies: Discrepancy, **changes: Any) -> Comparison:
    return Comparison(at=datetime.now(UTC), discrepancies=discrepancies, **changes)


def orphan(qty: str = "0.1") -> Discrepancy:
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )
    return Discrepancy(
        kind=Kind.ORPHAN_POSITION, symbol="BTCUSDT", detail="nobody owns it", position=position
    )


def about_trade(stage: Any, kind: Kind) -> Discrepancy:
    plan = stage.plan()
    return Discrepancy(
        kind=kind,
        symbol=plan.symbol,
        detail="they differ",
        trade_id=plan.trade_id,
        workflow_id=ids.trade_workflow(plan.symbol, plan.trade_id),
    )


def unknown_order(number: int = 1) -> Discrepancy:
    return Discrepancy(
        kind=Kind.UNKNOWN_ORDER, symbol="BTCUSDT", detail="unknown", order_id=f"o{number}"
    )


async def reconciled(stage: Any) -> tuple[dict[str, Any], Any]:
    """Run one reconciliation; return its report and what the desk was told."""
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    run = await stage.reconcile()
    report = await run.result()
    heard = [message for name, message in await desk.query("heard") if name == "reconciled"]
    return report.model_dump(), heard[-1]


def foreign_order(number: int = 1) -> Discrepancy:
    return Discrepancy(
        kind=Kind.FOREIGN_ORDER, symbol="BTCUSDT", detail="not ours", order_id=f"o{number}"
    )


def case_about(
    stage: Any, *subjects: Discrepancy, state: CaseState = CaseState.OPEN, **changes: Any
) -> Case:
    now = datetime.now(UTC) - timedelta(minutes=1)
    opening = opening_of(stage.account, subjects or (foreign_order(),), now)
    decision = Decision(choice=Choice.IGNORE, by="ann")
    fields = {
        "opening": opening,
        "state": state,
        "since": now,
        "asked_at": now,
        "decision": None if state is CaseState.OPEN else decision,
        "acted_at": None if state is CaseState.OPEN else now,
    }
    return Case.model_validate(fields | changes)


def case_of(stage: Any, kind: Kind, symbol: str = "BTCUSDT") -> Any:
    handle = stage.client.get_workflow_handle(ids.case_workflow(stage.account, symbol, kind))
    stage.keep(handle)
    return handle


async def is_there(handle: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RPCError):
                await handle.describe()
                return
