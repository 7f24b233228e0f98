"""The command, called as a person calls it, and the real workflows on scripted activities."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from typer.testing import CliRunner

from tests.cli.scripted import NOW, ScriptedDesk, execution
from tradewright import ids
from tradewright.app import wish
from tradewright.cli import app
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Executed
from tradewright.journal import Journal
from tradewright.ports import activities_of
from workflows.account import AccountStart, AccountWorkflow
from workflows.attributes import attributes
from workflows.case_life import CaseWorkflow
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow
from workflows.market import MarketStart, MarketWorkflow
from workflows.notifier import NotifierStart, NotifierWorkflow
from workflows.presets import PresetsWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.shadow import ShadowWorkflow
from workflows.strategy import StrategyWorkflow
from workflows.stream import StreamStart, StreamWorkflow
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

WORKFLOWS = (
    AccountWorkflow,
    CaseWorkflow,
    KillSwitchWorkflow,
    MarketWorkflow,
    NotifierWorkflow,
    PresetsWorkflow,
    ReconciliationWorkflow,
    ShadowWorkflow,
    StrategyWorkflow,
    StreamWorkflow,
    TradeWorkflow,
)

PRESET = """\
version: 1
name: {name}
account: {account}
mode: trade
market: {{category: linear, symbols: [{symbols}]}}
trigger: {{on: candle, timeframe: {timeframe}}}
strategy: {{plugin: donchian_breakout, params: {{period: 20}}}}
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 2}}}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005}}
"""


@dataclass
class Answer:
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        assert found["schema"] == "tradewright/v1"
        return found


T = TypeVar("T")
Call = Callable[..., Answer]
WritePreset = Callable[..., Path]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRADEWRIGHT_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TRADEWRIGHT_TEMPORAL__ADDRESS", "127.0.0.1:1")

    def invoke(*arguments: object) -> Answer:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Answer(int(done.exit_code), done.stdout, done.stderr)

    return invoke


class System:
    """A running system of one account of its own, and the command that is pointed at it."""

    def __init__(
        self,
        env: WorkflowEnvironment,
        call: Call,
        account: str,
        desk: ScriptedDesk,
        journal: Journal,
    ) -> None:
        self.env = env
        self.account = account
        self.desk = desk
        self.journal = journal
        self._call = call

    @property
    def client(self) -> Client:
        return self.env.client

    async def call(self, *arguments: object) -> Answer:
        return await self.thread(self._call, *arguments)

    async def thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Do *work* beside the loop, in which the workers go on."""
        return await asyncio.to_thread(work, *arguments)

    @asynccontextmanager
    async def workers(self, *queues: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for queue in queues:
                worker = Worker(
                    self.client,
                    task_queue=queue,
                    workflows=WORKFLOWS,
                    activities=activities_of(self.desk),
                    workflow_runner=UnsandboxedWorkflowRunner(),
                    # Each poll is a request of its own, which the server has to keep and to end
                    max_concurrent_workflow_task_polls=2,
                    max_concurrent_activity_task_polls=1,
                    graceful_shutdown_timeout=timedelta(0),
                )
                await stack.enter_async_context(worker)
            yield

    async def start_singletons(self) -> None:
        start, account = self.client.start_workflow, self.account
        # Its waits are what a trip is made of; the desk's would never end
        await start(
            KillSwitchWorkflow.run,
            KillSwitchStart(account=account),
            id=ids.kill_switch_workflow(account),
            task_queue=ids.QUEUE_KILL,
        )
        with self.env.with_time_skipping_disabled():
            await start(
                AccountWorkflow.run,
                AccountStart(account=account),
                id=ids.account_workflow(account),
                task_queue=ids.QUEUE_TRADING,
            )
            await start(
                NotifierWorkflow.run,
                NotifierStart(account=account),
                id=ids.notifier_workflow(account),
                task_queue=ids.QUEUE_TRADING,
            )
            await start(
                StreamWorkflow.run,
                StreamStart(account=account),
                id=ids.stream_workflow(account),
                task_queue=ids.stream_queue(account),
            )
            await start(
                MarketWorkflow.run,
                MarketStart(account=account),
                id=ids.market_workflow(account),
                task_queue=ids.QUEUE_MARKET,
            )

    async def start_trade(self, preset: str = "ema", *, filled: bool = True) -> str:
        """Start a trade, let it fill unless it is not to, and return its workflow's id."""
        plan = make_plan(self.account, preset)
        workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
        with self.env.with_time_skipping_disabled():
            handle = await self.client.start_workflow(
                TradeWorkflow.run,
                TradeStart(plan=plan),
                id=workflow_id,
                task_queue=ids.QUEUE_TRADING,
                search_attributes=attributes(*plan_attributes(plan)),
            )
        if not filled:
            return workflow_id
        link = ids.order_link(plan.trade_id, "e", 1)
        fill = execution("entry", plan.side, Decimal(100), link=link)
        await handle.signal("report", Executed(execution=fill))
        return workflow_id

    async def written(self, trade_id: str, state: str) -> None:
        """Return once the journal has what the trade writes beside its work."""
        async with asyncio.timeout(30):
            while (row := await self.journal.trade(trade_id)) is None or row.state != state:  # noqa: ASYNC110 the file tells nobody
                await asyncio.sleep(0.05)

    async def noted(self, chain: str, count: int) -> None:
        """Return once the journal has so many events of a workflow."""
        async with asyncio.timeout(30):
            while len(await self.journal.events(chain=chain)) < count:  # noqa: ASYNC110 the file tells nobody
                await asyncio.sleep(0.05)

    async def listed(self, query: str, count: int = 1) -> None:
        """Return once Temporal's list shows what it lags behind with."""
        async with asyncio.timeout(30):
            while (await self.client.count_workflows(query)).count < count:  # noqa: ASYNC110 the server tells nobody
                await asyncio.sleep(0.05)


def make_plan(account: str, preset: str = "ema") -> TradePlan:
    return TradePlan(
        trade_id=ids.trade_id(account, preset, "BTCUSDT", NOW),
        account=account,
        preset=preset,
        preset_hash="0123456789abcdef",
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.5"),
        price=Decimal(100),
        stop_loss=Decimal(99),
        take_profit=Decimal(102),
        exits=ExitRules(timeframe=Timeframe.M1),
        leverage=Decimal(3),
        instrument=Instrument(
            symbol="BTCUSDT",
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
        ),
        reason="fast crossed slow",
        factors={"fast": 100.5, "slow": 99.5},
        trigger=NOW,
        decided_at=NOW,
        expires_at=NOW + timedelta(days=3650),
    )


class _Instruments(BaseHTTPRequestHandler):
    """Answers Bybit's `instruments-info` for two symbols."""

    listed = ("BTCUSDT", "ETHUSDT")

    def do_GET(self) -> None:
        symbols = [
            s for s in self.listed if f"symbol={s}" in self.path or "symbol=" not in self.path
        ]
        found = {"retCode": 0, "retMsg": "OK", "result": {"list": [_row(s) for s in symbols]}}
        if not symbols:
            found = {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}}
        body = json.dumps({**found, "retExtInfo": {}, "time": 1}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None


def _row(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "priceFilter": {"tickSize": "0.1"},
        "lotSizeFilter": {
            "qtyStep": "0.001",
            "minOrderQty": "0.001",
            "maxOrderQty": "100",
            "maxMktOrderQty": "50",
            "minNotionalValue": "5",
        },
        "leverageFilter": {"maxLeverage": "100"},
    }


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An exchange that lists BTCUSDT and ETHUSDT; the command's settings name it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Instruments)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TRADEWRIGHT_PAPER_URL", url)
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def system(
    temporal_env: WorkflowEnvironment,
    call: Call,
    exchange: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[System]:
    """The system without workers, its workflows started; `working` adds the workers."""
    account = f"cli-{uuid.uuid4().hex[:12]}"
    address = temporal_env.client.service_client.config.target_host
    monkeypatch.setenv("TRADEWRIGHT_TEMPORAL__ADDRESS", address.replace("localhost", "127.0.0.1"))
    monkeypatch.setenv("TRADEWRIGHT_ACCOUNT", account)
    path = tmp_path / "state" / "paper" / "journal.db"
    journal = await Journal.open(f"sqlite:///{path}", venue="paper")
    found = System(temporal_env, call, account, ScriptedDesk(journal), journal)
    yield found
    async for left in temporal_env.client.list_workflows("ExecutionStatus = 'Running'"):
        await temporal_env.client.get_workflow_handle(left.id).terminate()
    await journal.close()


@pytest.fixture
async def working(system: System) -> AsyncIterator[System]:
    """The system with its workers and singletons."""
    queues = (ids.QUEUE_TRADING, ids.QUEUE_KILL, ids.QUEUE_MARKET)
    async with system.workers(*queues, ids.stream_queue(system.account)):
        await system.start_singletons()
        yield system


@pytest.fixture
def write_preset(tmp_path: Path) -> WritePreset:
    """Write a valid preset, changed as asked, and return its file."""

    def write(
        name: str = "trend",
        *,
        account: str = "main",
        symbols: str = "BTCUSDT",
        timeframe: str = "1m",
        folder: str = "strategies",
        replace: tuple[str, str] = ("", ""),
    ) -> Path:
        text = PRESET.format(name=name, account=account, symbols=symbols, timeframe=timeframe)
        path = tmp_path / folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(*replace) if replace[0] else text)
        return path

    return write


@pytest.fixture
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wish, "ANSWER_WITHIN", timedelta(seconds=1))
