"""All six strategies in lockstep on the paper exchange, edited while they run, and its faults.

The market stands still at each barrier until all that it caused is done. Whatever this module
does between two barriers, it does to the system as a person or an exchange would.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.proof.author import Author
from tests.system.live_system import LIMITS, LiveSystem
from tests.system.second_look import hasten
from tradewright.app.conductor import Conductor
from tradewright.app.connect import connect
from tradewright.app.paper_control import control
from tradewright.app.replay import NO_TIMER, Outcome, Stage, outcome
from tradewright.app.supervisor import STOP_SIGNALS
from tradewright.app.system import Market, on_free_ports, system
from tradewright.domain.plan import Mode
from tradewright.journal import Journal, TradeRow
from tradewright.settings import Settings

STRATEGIES = Path(__file__).parents[2] / "strategies"
FAULTS = Path(__file__).parents[2] / "deploy" / "paper"
SIX = (
    "range-trading",
    "multi-timeframe-trend",
    "volume-vwap",
    "order-book-imbalance",
    "impulse",
    "confluence",
)
US = "account/author"
"""Our name among those that the lockstep waits for."""
PATIENCE = timedelta(minutes=5)
"""An exchange may be away for minutes, and a lost execution is found by a reconciliation."""
ROOM = LIMITS.model_copy(
    update={
        # What the faults cause must not halt the account: the strategies are looked at here
        "max_unresolved": 10_000,
        "stream_dead_after": timedelta(hours=1),
        "max_daily_loss_fraction": Decimal(1),
        "max_drawdown_fraction": Decimal(1),
        "max_reconciliation_age": NO_TIMER,
    }
)

Deed = Callable[["Play"], Awaitable[None]]


@dataclass(frozen=True)
class Scene:
    """What is played."""

    market: Market
    paper: Mapping[str, str] = field(default_factory=dict)
    """More settings of the paper exchange, by the name of their variable."""
    presets: Mapping[str, str] = field(default_factory=dict)
    """Files of the watched folder at the beginning, by the preset's name."""
    deeds: Sequence[tuple[int, Deed]] = ()
    """What is done when so many candles have been played."""


@dataclass
class Watchful:
    """What was looked at while the market stood still."""

    positions: int = 0
    naked: list[str] = field(default_factory=list)
    orders_in_shadow: int | None = None
    strikes: Counter[str] = field(default_factory=Counter)
    kills: int = 0


@dataclass
class Played:
    """What came of it."""

    outcome: Outcome
    seconds: float
    deeds: list[str]
    wrong_versions: list[str]
    seen: Watchful
    shadows: tuple[TradeRow, ...]
    modes: dict[str, Mode]
    refusals: Counter[tuple[str, str]]

    @property
    def faults(self) -> list[str]:
        """Return everything that a promise forbids."""
        audit = self.outcome.audit
        found = [f"{d.kind} in {d.where}: {d.id}: {d.detail}" for d in audit.report.differences]
        found += [f"cash: {fault}" for fault in audit.cash.faults]
        found += [f"journal: {fault}" for fault in audit.chain_faults]
        found += [f"no stop: {naked}" for naked in self.seen.naked]
        if self.seen.orders_in_shadow:
            found.append(f"{self.seen.orders_in_shadow} orders while all were in the shadow")
        return found + self.wrong_versions


class Play:
    """A scene while it goes on."""

    def __init__(self, scene: Scene, live: LiveSystem, author: Author) -> None:
        self.live = live
        self.author = author
        self.seen = Watchful()
        self._due = sorted(scene.deeds, key=lambda each: each[0])

    async def faults(self, name: str) -> None:
        """Let the exchange go wrong as one of the scenarios that ship says."""
        text = (FAULTS / f"{name}.yaml").read_text()
        url = self.live.settings.paper_url
        await asyncio.to_thread(control, url, "POST", "faults", body=text)
        self.author.deeds.append(f"exchange: {name}")

    async def mend(self) -> None:
        """Let the exchange be well again, and remember what struck."""
        url = self.live.settings.paper_url
        told = await asyncio.to_thread(control, url, "GET", "faults")
        self.seen.strikes.update({each["name"]: each["strikes"] for each in told["faults"]})
        await asyncio.to_thread(control, url, "DELETE", "faults")

    async def kill(self, name: str = "worker") -> None:
        """Kill a process as `kill -9` does, and go on as soon as another one runs."""
        dead = self.live.child(name).pid
        self.live.child(name).send(signal.SIGKILL)
        await self.live.restarted(name, dead)
        self.seen.kills += 1
        self.author.deeds.append(f"{name}: killed")

    async def count_orders(self) -> None:
        """Count what was ordered while no preset might."""
        self.seen.orders_in_shadow = len(await self.live.orders())

    async def direct(self) -> None:
        """Look at every barrier, and do what is due, until the market has ended."""
        pace, passed = self.live.pace, -1
        while not (turn := await pace.turn(US, passed)).ended:
            await self._look()
            while self._due and self._due[0][0] <= turn.step:
                await self._due.pop(0)[1](self)
            await pace.pass_barrier(US, turn.barrier)
            passed = turn.barrier
        for _, deed in self._due:
            await deed(self)
        await self.mend()

    async def _look(self) -> None:
        url = self.live.settings.paper_url
        window: dict[str, Any] = await asyncio.to_thread(control, url, "GET", "window")
        for row in window["positions"]:
            if not Decimal(row["size"] or 0):
                continue
            self.seen.positions += 1
            if not Decimal(row["stopLoss"] or 0):
                at = window["market"]["market_ms"]
                self.seen.naked.append(f"{row['symbol']} {row['side']} {row['size']} at {at}")


async def play(scene: Scene, home: Path, report: Callable[[str], None] = lambda _: None) -> Played:
    """Play *scene* from a fresh start in *home*, leave all trades, compare all books.

    Raises:
        AssertionError: A save was not applied in time.
        NotSettled: A trade hangs.
    """
    folder = home / "strategies"
    folder.mkdir(parents=True)
    began = time.monotonic()
    settings = on_free_ports(
        Settings(limits=ROOM, presets=folder, snapshot_every=NO_TIMER), home / "state"
    )
    with _environment(scene.paper):
        async with system(settings, scene.market) as supervisor:
            # A Ctrl-C is our caller's; children die with it all the same
            for signum in STOP_SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(signum)
            journal = await Journal.open(settings.journal_url, venue=settings.venue)
            live = LiveSystem(settings, supervisor, await connect(settings), journal)
            try:
                stage = Stage(settings, live.client, journal, live.pace, live.bybit)
                return await _played(scene, live, stage, folder, began, report)
            finally:
                live.close()
                await journal.close()


async def _played(
    scene: Scene,
    live: LiveSystem,
    stage: Stage,
    folder: Path,
    began: float,
    report: Callable[[str], None],
) -> Played:
    author = Author(live, folder)
    going = Play(scene, live, author)
    await stage.reconciled()
    await hasten(live)
    for name, text in scene.presets.items():
        author.begin(name, text)
    await author.all_at_rest()
    await stage.subscribed(len(scene.presets))
    conductor = Conductor(live.client, live.pace, live.settings.account, PATIENCE)
    await conductor.subscribe()
    await live.pace.subscribe(US, "account", (), None)
    await live.pace.start()
    shown = 0

    def tell(step: int, total: int | None) -> None:
        nonlocal shown
        if step >= shown:
            shown = step + 60
            seconds = time.monotonic() - began
            report(f"{step}/{total} candles, {seconds:.0f} s, {len(author.deeds)} deeds")

    async with asyncio.TaskGroup() as both:
        both.create_task(conductor.run(lambda p: tell(p.step, p.steps_total)))
        both.create_task(going.direct())
    await author.all_at_rest()
    await stage.leave()
    done = await outcome(stage)
    seconds = time.monotonic() - began
    account = live.settings.account
    refusals = await live.journal.refusals(account=account, limit=None)
    return Played(
        outcome=done,
        seconds=seconds,
        deeds=author.deeds,
        wrong_versions=await author.faults() + author.strangers(done.trades),
        seen=going.seen,
        shadows=await live.journal.trades(account, shadow=True, limit=None),
        modes={name: (await author.status(name)).mode for name in author.wished},
        refusals=Counter((each.preset, each.code) for each in refusals),
    )


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Add to the environment that child processes get."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
