"""Recorded candles through the full stack, by the market clock; then the audit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime
from temporalio.client import Client

from activities.bybit import BybitClient
from activities.pace import PaperPace, moment
from activities.secrets import VaultSecrets
from tradewright import ids
from tradewright.app.apply import apply
from tradewright.app.audit import Audit, run_audit
from tradewright.app.conductor import Conductor, Progress
from tradewright.app.connect import connect
from tradewright.app.system import Market, forget, on_free_ports, system
from tradewright.app.wish import ask
from tradewright.domain.account import Account
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Symbol, Value
from tradewright.journal import Journal, RefusalRow, TradeRow
from tradewright.paper.market.candle import intervals_of
from tradewright.paper.market.recording import Recording as Candles
from tradewright.preset import LoadedPreset, Preset
from tradewright.settings import Settings
from workflows.trade import ExitWish

POLL = 0.05
STARTED_WITHIN = 30.0
ENDED_WITHIN = 60.0
NO_TIMER = timedelta(hours=6)
"""In a lockstep, whose conductor asks for the desk's snapshots, and whose market waits."""
HOME = "replay"


class NotInTime(TradewrightError):
    """Something that every replay waits for did not come about."""

    retry = Retry.SAFE

    def __init__(self, what: str, within: float, logs: Path) -> None:
        super().__init__(f"{what} did not happen within {within:g} s; read the logs in {logs}")


class PresetUnplayable(TradewrightError):
    """A preset wants candles that the recording does not have."""

    def __init__(self, preset: str, data: Path, detail: str) -> None:
        super().__init__(f"preset {preset} cannot be played on {data}: {detail}")


class Recording(Value):
    """What is played."""

    data: Path
    symbol: Symbol
    volume_unit: Literal["base", "quote"] = "base"
    begin: AwareDatetime | None = None
    end: AwareDatetime | None = None
    speed: str = "lockstep"

    @property
    def is_lockstep(self) -> bool:
        return self.speed == "lockstep"

    def check(self, presets: Sequence[LoadedPreset]) -> None:
        """Read the file and ask whether it has what *presets* trade on.

        Raises:
            RecordingUnusable: The file cannot be played.
            PresetUnplayable: It has not the symbol or the timeframe of a preset.
        """
        candles = Candles(
            self.data,
            self.symbol,
            in_quote=self.volume_unit == "quote",
            begin=self.begin,
            end=self.end,
        )
        names: set[str] = set()
        for loaded in presets:
            preset = loaded.preset
            if detail := self._lacks(preset, candles.base_minutes):
                raise PresetUnplayable(preset.name, self.data, detail)
            if preset.name in names:
                detail = "another one has the same name; give each its own"
                raise PresetUnplayable(preset.name, self.data, detail)
            names.add(preset.name)

    def _lacks(self, preset: Preset, base_minutes: int) -> str | None:
        foreign = [symbol for symbol in preset.market.symbols if symbol != self.symbol]
        if foreign:
            return (
                f"it trades {', '.join(foreign)}, the recording holds {self.symbol}; "
                "change the preset, or name the symbol of the file with --symbol"
            )
        timeframe = preset.trigger.timeframe
        if timeframe.interval not in intervals_of(base_minutes):
            return (
                f"its timeframe is {timeframe}, the recording's candles are {base_minutes}m long; "
                "choose a timeframe that they add up to"
            )
        return None

    @property
    def market(self) -> Market:
        window = (("--from", self.begin), ("--to", self.end))
        return Market(
            speed=self.speed,
            arguments=(
                *("--market", str(self.data.absolute()), "--symbol", self.symbol),
                *("--volume-unit", self.volume_unit),
                *(text for option, at in window if at for text in (option, at.isoformat())),
            ),
        )


class Outcome(Value):
    """What came of a run: the trades, and whether all books agree on them."""

    settings_home: Path
    candles: int
    begun: AwareDatetime | None
    ended: AwareDatetime | None
    trades: tuple[TradeRow, ...]
    refusals: tuple[RefusalRow, ...]
    audit: Audit
    equity: Decimal


@asynccontextmanager
async def stage(
    settings: Settings, market: Market, presets: Sequence[LoadedPreset], *, by: str = "replay"
) -> AsyncIterator["Stage"]:
    """Run the system with *presets* applied and the books reconciled, the market about to go."""
    async with system(settings, market), contextlib.AsyncExitStack() as stack:
        client = await connect(settings)
        journal = await Journal.open(settings.journal_url, venue=settings.venue)
        stack.push_async_callback(journal.close)
        pace = PaperPace(settings.paper_url)
        stack.callback(pace.close)
        bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
        ready = Stage(settings, client, journal, pace, bybit)
        await ready.reconciled()
        for preset in presets:
            await apply(client, journal, bybit, preset, by=by)
        await ready.subscribed(len(presets))
        yield ready


class Stage:
    """A running system, and what a run asks of it."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        journal: Journal,
        pace: PaperPace,
        bybit: BybitClient,
    ) -> None:
        self.settings = settings
        self.client = client
        self.journal = journal
        self.pace = pace
        self.bybit = bybit

    async def reconciled(self) -> None:
        """Wait for the first reconciliation: the desk refuses entries before it."""

        async def done() -> bool:
            account = await self._desk()
            return account.reconciled_at is not None and account.snapshot is not None

        await self._until(done, "the first reconciliation", STARTED_WITHIN)

    async def subscribed(self, presets: int) -> None:
        """Wait until the market is followed for all *presets*, so that no candle is missed."""

        async def done() -> bool:
            names = (await self.pace.status())["subscribers"]
            return len([name for name in names if name.startswith("strategy/")]) >= presets

        if await self.pace.lockstep():
            await self._until(done, "the subscription of the presets", STARTED_WITHIN)

    async def ended(self, progress: Callable[[Progress], None]) -> None:
        """Wait until a market that goes by itself has played all its candles."""
        while not (status := await self.pace.status())["ended"]:
            progress(
                Progress(
                    step=status["step"],
                    steps_total=status["steps_total"],
                    at=moment(status["market_ms"]),
                )
            )
            await asyncio.sleep(POLL)

    async def leave(self) -> None:
        """Leave every open trade; the market stands still or goes on, as it does."""
        for row in await self.journal.trades(self.settings.account, live=True, limit=None):
            handle = self.client.get_workflow_handle(ids.trade_workflow(row.symbol, row.trade_id))
            with contextlib.suppress(Exception):
                await handle.signal("exit", ExitWish(note="the market has ended", by="replay"))
        await self._until(self._is_flat, "the end of all trades", ENDED_WITHIN)

    async def _is_flat(self) -> bool:
        account = await self._desk()
        live = await self.journal.trades(self.settings.account, live=True, limit=1)
        return not account.reservations and not live

    async def _desk(self) -> Account:
        return await ask(
            self.client, ids.account_workflow(self.settings.account), "account", Account
        )

    async def audited(self) -> Audit:
        return await run_audit(
            self.client, self.journal, self.bybit, self.pace, self.settings.account
        )

    async def _until(self, done: Callable[[], Awaitable[bool]], what: str, within: float) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while not await done():
            if asyncio.get_running_loop().time() > deadline:
                raise NotInTime(what, within, self.settings.logs)
            await asyncio.sleep(POLL)


async def replay(
    settings: Settings,
    recording: Recording,
    presets: Sequence[LoadedPreset],
    progress: Callable[[Progress], None],
) -> tuple[Outcome, Settings]:
    """Play *recording* to *presets* from a fresh start, leave all trades, compare all books.

    Returns what came of it, and the settings that the run had.

    Raises:
        RecordingUnusable: The file cannot be played; nothing was started.
        PresetUnplayable: It has not what a preset trades on; nothing was started.
    """
    recording.check(presets)
    home = settings.home / HOME
    forget(home)
    # Only the presets that were named play
    placed = on_free_ports(settings, home).model_copy(update={"presets": None})
    if recording.is_lockstep:
        limits = placed.limits.model_copy(update={"max_reconciliation_age": NO_TIMER})
        placed = placed.model_copy(
            update={"snapshot_every": NO_TIMER, "limits": limits, "limits_file": None}
        )
    async with stage(placed, recording.market, presets) as ready:
        conductor = Conductor(ready.client, ready.pace, placed.account)
        if recording.is_lockstep:
            await conductor.subscribe()
        await ready.pace.start()
        if recording.is_lockstep:
            await conductor.run(progress)
        else:
            await ready.ended(progress)
        await ready.leave()
        return await outcome(ready), placed


async def outcome(ready: Stage) -> Outcome:
    """Read what a run has come to."""
    account = ready.settings.account
    trades = await ready.journal.trades(account, limit=None)
    status = await ready.pace.status()
    audit = await ready.audited()
    desk = ids.account_workflow(account)
    await ready.client.get_workflow_handle(desk).execute_update("refresh")
    snapshot = (await ask(ready.client, desk, "account", Account)).snapshot
    moments: list[datetime] = [t.trigger for t in trades]
    return Outcome(
        settings_home=ready.settings.home,
        candles=status["step"],
        begun=min(moments, default=None),
        ended=await ready.pace.market_now(),
        trades=tuple(reversed(trades)),
        refusals=await ready.journal.refusals(account=account),
        audit=audit,
        equity=snapshot.equity if snapshot else Decimal(0),
    )
