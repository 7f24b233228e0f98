"""A running system as a test sees it: its processes, its market, its trades, its books."""

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

import requests
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.client import WorkflowQueryFailedError as QueryFailed
from temporalio.service import RPCError

from activities.bybit import BybitClient, http_session
from activities.pace import PaperPace
from activities.secrets import ExchangeKey, VaultSecrets
from tradewright import ids
from tradewright.app.audit import run_audit
from tradewright.app.paper_control import control
from tradewright.app.process import ChildProcess
from tradewright.app.supervisor import Supervisor
from tradewright.domain.account import (
    Account,
    Approved,
    Decision,
    Limits,
    RefusalCode,
    Refused,
)
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, FixedNotional, Proposal, TradePlan
from tradewright.domain.signal import Signal
from tradewright.domain.trade import Trade, TradeState
from tradewright.journal import Journal
from tradewright.ports import KillSwitchState, TradeView
from tradewright.settings import RUNNING_FILE, Settings
from workflows.attributes import attributes
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

T = TypeVar("T")
TradeHandle = WorkflowHandle[Any, Trade]

POLL, SELDOM = 0.02, 0.25
"""Between two looks at the beginning of a wait, and after a while: each costs others time."""
PATIENCE = 60.0
"""Seconds that anything may take on a machine that is busy with other tests."""
ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""A question to a workflow whose worker has died meanwhile is never answered."""
US = "account/test"
"""Our name among those that the lockstep waits for."""
TIGHT, WIDE = Decimal("0.0004"), Decimal("0.05")
"""Distance of a stop that the next candles reach, and of one that none does."""
MOST_STEPS = 60
LIMITS = Limits(
    max_open_trades=50,
    max_orders_per_minute=1000,
    max_leverage=Decimal(10),
    max_total_exposure=Decimal(1_000_000),
    max_heat_fraction=Decimal(1),
    loss_streak=1000,
)
AWAY = (TradewrightError, RPCError, QueryFailed, requests.ConnectionError, requests.Timeout)


async def until(is_so: Callable[[], Awaitable[T]], within: float = PATIENCE) -> T:
    """Return what *is_so* returns, once that is true; who is away meanwhile is asked again."""
    last: object = None
    began = time.monotonic()
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    if found := await is_so():
                        return found
                    last = found
                except AWAY as e:
                    last = e
                await asyncio.sleep(min(max(POLL, 0.1 * (time.monotonic() - began)), SELDOM))
    except TimeoutError:
        raise AssertionError(f"did not come true within {within:g} s; last: {last!r}") from None


@dataclass
class Answer:
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


async def command(*arguments: object, env: dict[str, str] | None = None) -> Answer:
    """Run `tradewright` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewright", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    out, err = await process.communicate()
    return Answer(process.returncode or 0, out.decode(), err.decode())


class LiveSystem:
    """A running system: its processes, its market, its trades, and both sides of its books."""

    def __init__(
        self, settings: Settings, supervisor: Supervisor, client: Client, journal: Journal
    ) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.client = client
        self.journal = journal
        self.pace = PaperPace(settings.paper_url)
        self.bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
        self._numbers = itertools.count(1)
        self._web = requests.Session()
        self._web.trust_env = False

    def close(self) -> None:
        self.pace.close()
        self.bybit.close()
        self._web.close()

    @property
    def running_file(self) -> Path:
        return self.settings.home / RUNNING_FILE

    @property
    def key(self) -> ExchangeKey:
        key, secret = self.settings.paper_api_key, self.settings.paper_api_secret
        assert key is not None
        assert secret is not None
        return ExchangeKey(api_key=key, api_secret=secret)

    async def command(self, *arguments: object) -> Answer:
        return await command("--settings", self.running_file, *arguments)

    # --- processes ----------------------------------------------------------------------------

    def child(self, name: str) -> ChildProcess:
        return self.supervisor.child(name)

    async def kill(self, name: str) -> None:
        """Kill the process as `kill -9` does, and wait until it is dead."""
        child = self.child(name)
        child.send(signal.SIGKILL)
        await child.wait()

    async def restarted(self, name: str, dead: int) -> None:
        """Wait until another process than *dead* runs under *name*."""

        async def is_so() -> bool:
            return self.child(name).pid != dead

        await until(is_so)

    async def kill_and_restart(self, name: str) -> None:
        dead = self.child(name).pid
        await self.kill(name)
        await self.restarted(name, dead)

    async def kill_worker_unanswered(self, links: list[str]) -> None:
        """Kill the worker when the exchange has taken the orders *links*, which it must `stall`."""

        async def accepted() -> bool:
            return set(links) <= {o["orderLinkId"] for o in await self.orders()}

        dead = self.child("worker").pid
        await until(accepted)
        await self.kill("worker")
        await self.restarted("worker", dead)

    async def stall(self, link: str) -> None:
        """Let the exchange take the order *link* and never answer, that once."""
        await self.fault("stall", link, when={"order_link": link, "times": 1})

    async def fault(self, kind: str, name: str, **terms: Any) -> None:
        """Let the exchange go wrong; *name* is how it is mended."""
        body = json.dumps({"kind": kind, "name": name, **terms})
        await asyncio.to_thread(control, self.settings.paper_url, "POST", "faults", body=body)

    async def mend(self, name: str) -> None:
        await asyncio.to_thread(
            control, self.settings.paper_url, "DELETE", "faults", query={"name": name}
        )

    async def struck(self, name: str, times: int = 1) -> None:
        """Wait until the fault has struck so often."""

        async def is_so() -> bool:
            told = await asyncio.to_thread(control, self.settings.paper_url, "GET", "faults")
            found: list[dict[str, Any]] = told["strikes"]
            return len([s for s in found if s["fault"] == name]) >= times

        await until(is_so)

    async def told(self, handle: WorkflowHandle[Any, Any], query: str, kind: type[T]) -> T:
        """Return what the workflow answers, as soon as somebody answers for it."""
        last: object = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        found: T = await handle.query(
                            query, result_type=kind, rpc_timeout=ASKED_AGAIN_AFTER
                        )
                        return found
                    except (RPCError, QueryFailed) as e:
                        last = e
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise AssertionError(f"nobody answered {query} of {handle.id}: {last!r}") from None

    async def failure_of(self, handle: WorkflowHandle[Any, Any], activity: str) -> str:
        """Return what the last attempt of the workflow's activity failed with."""
        found = (await handle.describe()).raw_description.pending_activities
        told = [a.last_failure.message for a in found if a.activity_type.name == activity]
        return str(told[0]) if told else ""

    async def attempts_of(self, handle: WorkflowHandle[Any, Any], activity: str) -> list[int]:
        """Return how many attempts each of the workflow's ended activities of that name took."""
        scheduled: dict[int, str] = {}
        found: list[int] = []
        async for event in handle.fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                name = event.activity_task_scheduled_event_attributes.activity_type.name
                scheduled[event.event_id] = name
            elif event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                if scheduled[started.scheduled_event_id] == activity:
                    found.append(started.attempt)
        return found

    # --- market -------------------------------------------------------------------------------

    async def begin(self) -> None:
        await self.pace.subscribe(US, "account", (), None)
        await self.pace.start()

    async def step(self) -> None:
        """Let the market play one candle."""
        before = (await self.pace.turn(US, -1)).step
        while (turn := await self.pace.turn(US, -1)).step == before:
            await self.pace.pass_barrier(US, turn.barrier)

    async def step_until_flat(self, symbol: str) -> None:
        for _ in range(MOST_STEPS):
            if await self.position(symbol) is None:
                return
            await self.step()
        raise AssertionError(f"no stop of {symbol} was reached in {MOST_STEPS} candles")

    async def price(self, symbol: str) -> Decimal:
        answer = await self.bybit.call("get_tickers", category="linear", symbol=symbol)
        return Decimal(answer["result"]["list"][0]["lastPrice"])

    # --- exchange -----------------------------------------------------------------------------

    async def by_hand(self, method: str, **arguments: Any) -> Any:
        """Call pybit with the desk's own key, as a person with another program would."""

        def call() -> Any:
            session = http_session(
                self.settings.paper_url, self.key, recv_window_ms=30_000, timeout_s=10
            )
            with session.client:
                return getattr(session, method)(category="linear", **arguments)[0]["result"]

        return await asyncio.to_thread(call)

    async def orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Return every order that the exchange ever had."""

        def get() -> list[dict[str, Any]]:
            answer = self._web.get(f"{self.settings.paper_url}/paper/orders", timeout=PATIENCE)
            found: list[dict[str, Any]] = answer.json()["list"]
            return found

        return [o for o in await asyncio.to_thread(get) if symbol in (None, o["symbol"])]

    async def orders_with(self, prefix: str) -> list[dict[str, Any]]:
        return [o for o in await self.orders() if o["orderLinkId"].startswith(prefix)]

    async def position(self, symbol: str) -> dict[str, Any] | None:
        found = (await self.by_hand("get_positions", symbol=symbol))["list"]
        return next((p for p in found if Decimal(p["size"] or 0)), None)

    # --- trades -------------------------------------------------------------------------------

    async def desk(self) -> Account:
        handle = self.client.get_workflow_handle(ids.account_workflow(self.settings.account))
        return await self.told(handle, "account", Account)

    async def refresh(self) -> None:
        """Let the desk look at the exchange."""
        handle = self.client.get_workflow_handle(ids.account_workflow(self.settings.account))
        await handle.execute_update("refresh")

    async def switch(self) -> KillSwitchState:
        handle = self.client.get_workflow_handle(ids.kill_switch_workflow(self.settings.account))
        return await self.told(handle, "state", KillSwitchState)

    async def reserve(
        self,
        symbol: str,
        side: Side = Side.BUY,
        *,
        stop: Decimal = WIDE,
        notional: int = 1000,
        expires_after: timedelta = timedelta(seconds=120),
    ) -> Decision:
        """Ask the desk for a trade, as a strategy does."""
        instrument, price = await self.bybit.instrument(symbol), await self.price(symbol)
        trigger = await self.pace.market_now()
        preset = f"test-{next(self._numbers)}"
        proposal = Proposal(
            trade_id=ids.trade_id(self.settings.account, preset, symbol, trigger),
            account=self.settings.account,
            preset=preset,
            preset_hash="0" * 64,
            symbol=symbol,
            signal=Signal(side=side, reason="a test wants it"),
            trigger=trigger,
            price=price,
            stop_loss=instrument.protective_price(price * (1 - side.sign * stop), side),
            exits=ExitRules(timeframe=Timeframe.M1),
            sizing=FixedNotional(notional=Decimal(notional)),
            leverage=Decimal(5),
            max_open_trades=1,
            expires_after=expires_after,
            instrument=instrument,
            window="test",
        )
        handle = self.client.get_workflow_handle(ids.account_workflow(self.settings.account))
        decision: Decision = await handle.execute_update(
            "reserve",
            proposal,
            id=proposal.trade_id,
            result_type=cast(type, Decision),
        )
        return decision

    def trade(self, plan: TradePlan) -> TradeHandle:
        return self.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))

    async def approved(self, symbol: str, side: Side = Side.BUY, **wishes: Any) -> TradePlan:
        async def decided() -> Decision | None:
            decision = await self.reserve(symbol, side, **wishes)
            # After a kill the streams take a moment to come back
            is_deaf = isinstance(decision, Refused) and decision.code is RefusalCode.STALE_DATA
            return None if is_deaf else decision

        decision = await until(decided)
        assert isinstance(decision, Approved), decision
        return decision.plan

    async def refused(self, symbol: str) -> Refused:
        decision = await self.reserve(symbol)
        assert isinstance(decision, Refused), decision
        return decision

    async def start(self, plan: TradePlan) -> TradeHandle:
        """Start the trade of *plan*, as a strategy does."""
        return await self.client.start_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=ids.QUEUE_TRADING,
            search_attributes=attributes(*plan_attributes(plan)),
        )

    async def open(self, symbol: str, side: Side = Side.BUY, **wishes: Any) -> TradeHandle:
        """Return a trade that is in the market, its stop confirmed."""
        handle = await self.start(await self.approved(symbol, side, **wishes))
        await self.is_open(handle)
        return handle

    async def is_open(self, handle: TradeHandle) -> Trade:
        """Wait until the trade is in the market, with its stop, and has nothing left to do."""

        async def is_so() -> Trade | None:
            view = await self.view(handle)
            trade = view.trade
            assert not trade.is_final, trade
            is_open = trade.state is TradeState.OPEN and trade.open_qty == trade.plan.qty
            return trade if is_open and trade.stop is not None and not view.busy else None

        found = await until(is_so)
        assert found is not None
        return found

    async def view(self, handle: TradeHandle) -> TradeView:
        return await self.told(handle, "trade", TradeView)

    async def status(self, handle: TradeHandle) -> WorkflowExecutionStatus | None:
        return (await handle.describe()).status

    async def ended(self, handle: TradeHandle) -> Trade:
        """Wait until the workflow has ended, and return the trade as it stood then."""

        async def is_so() -> bool:
            return await self.status(handle) is not WorkflowExecutionStatus.RUNNING

        await until(is_so)
        return (await self.view(handle)).trade

    async def leave(self, handle: TradeHandle) -> Trade:
        """Have the trade leave, and return it when it has ended."""
        await handle.signal("exit", {"note": "the test is over", "by": "test"})
        return await self.ended(handle)

    # --- books --------------------------------------------------------------------------------

    async def differences(self, *trades: Trade) -> list[str]:
        """Return every difference between the three books that concerns *trades*."""
        audit = await run_audit(
            self.client, self.journal, self.bybit, self.pace, self.settings.account
        )
        own = {t.plan.trade_id for t in trades}
        executions = {e.exec_id for t in trades for e in t.executions}
        found = [
            f"{d.kind} in {d.where}: {d.id}: {d.detail}"
            for d in audit.report.differences
            if d.id in own | executions or d.id.partition("-")[0] in own
        ]
        return found + [str(fault) for fault in audit.chain_faults]
