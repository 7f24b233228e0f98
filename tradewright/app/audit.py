"""The audit: journal, exchange and Temporal read whole and compared."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.bybit import BybitClient
from activities.ledger import fetch_cash, fetch_ledger
from activities.pace import Pace
from activities.secrets import VaultSecrets
from tradewright import ids
from tradewright.app.connect import connect, opened_journal, pace_of
from tradewright.app.wish import ask
from tradewright.domain.audit import AuditReport, WorkflowTrade, audit
from tradewright.domain.cash import CashReport, cash_report
from tradewright.domain.market import Value
from tradewright.domain.trade import Trade
from tradewright.journal import ChainFault, Journal
from tradewright.ports import TradeView
from tradewright.settings import Settings

MARGIN = timedelta(minutes=1)
READS_OF_CASH = 3


class Audit(Value):
    """What the three books say; whether the cash adds up and the journal's chains are whole."""

    report: AuditReport
    cash: CashReport
    chain_faults: tuple[ChainFault, ...] = ()

    @property
    def ok(self) -> bool:
        return self.report.ok and self.cash.ok and not self.chain_faults


async def run_audit(
    client: Client, journal: Journal, bybit: BybitClient, pace: Pace, account: str
) -> Audit:
    """Compare everything that *account* ever traded.

    Raises:
        TradewrightError: One of the three books cannot be read.
    """
    trades = await journal.trades(account, limit=None)
    now = await pace.market_now()
    since = min((t.trigger for t in trades), default=now) - MARGIN
    exchange = await fetch_ledger(bybit, since, now + MARGIN)
    books = await journal.books(account)
    temporal = await read_workflow_trades(client, account, [(t.symbol, t.trade_id) for t in trades])
    return Audit(
        report=audit(exchange, books, temporal),
        cash=await read_cash(bybit, since, pace),
        chain_faults=await journal.verify(),
    )


async def read_cash(bybit: BybitClient, since: datetime, pace: Pace) -> CashReport:
    """Return how the account's cash adds up since *since*.

    Log and wallet are two reads, and what happens between them looks like a fault: it is read
    again, and what stays is one.
    """
    for _ in range(READS_OF_CASH):
        report = cash_report(await fetch_cash(bybit, since, await pace.market_now() + MARGIN))
        if report.ok:
            break
    return report


async def audit_of(settings: Settings) -> Audit:
    """Compare the books of the system that *settings* describe."""
    client = await connect(settings)
    bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
    pace = pace_of(settings)
    async with opened_journal(settings) as journal:
        return await run_audit(client, journal, bybit, pace, settings.account)


async def read_workflow_trades(
    client: Client, account: str, known: Sequence[tuple[str, str]]
) -> tuple[WorkflowTrade, ...]:
    """Return every trade of *account* as its workflow has it: those *known*, and those found."""
    names = {ids.trade_workflow(symbol, trade_id) for symbol, trade_id in known}
    query = f'WorkflowType="TradeWorkflow" AND Account="{account}"'
    async for found in client.list_workflows(query):
        names.add(found.id)
    trades = [await _read(client, name) for name in sorted(names)]
    return tuple(trade for trade in trades if trade is not None)


async def _read(client: Client, workflow_id: str) -> WorkflowTrade | None:
    handle = client.get_workflow_handle(workflow_id, result_type=Trade)
    try:
        status = (await handle.describe()).status
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    if status is WorkflowExecutionStatus.COMPLETED:
        return WorkflowTrade(trade=await handle.result(), ended=True)
    view = await ask(client, workflow_id, "trade", TradeView)
    return WorkflowTrade(trade=view.trade, ended=status is not WorkflowExecutionStatus.RUNNING)
