"""How the watcher of presets gets at the strategies, the journal and the exchange."""

from typing import TYPE_CHECKING

import structlog
from temporalio.client import Client

from tradewright import ids
from tradewright.app.apply import disable, replace
from tradewright.app.listing import unlisted
from tradewright.app.strategy_run import last_run, running_strategy
from tradewright.app.wish import WishRefused, store
from tradewright.domain.account import Renaming
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.folder import Running
from tradewright.domain.plan import Mode
from tradewright.ports import StrategyStatus
from tradewright.preset import LoadedPreset, PresetFault, document
from tradewright.preset.place import fault_at

if TYPE_CHECKING:
    from activities.bybit import BybitClient
    from tradewright.journal import Journal

log = structlog.get_logger(__name__)


class StrategyApplier:
    """Starts, changes and disables strategies, each only if it runs what was seen to run."""

    def __init__(
        self,
        client: Client,
        journal: "Journal",
        bybit: "BybitClient",
        queue: str = ids.QUEUE_TRADING,
    ) -> None:
        self._client = client
        self._journal = journal
        self._bybit = bybit
        self._queue = queue
        self._seen: dict[str, StrategyStatus] = {}
        """What ran when it was asked last; an update says what it expects."""

    async def running(self, preset: str) -> Running | None:
        found = await running_strategy(self._client, preset)
        if found is None:
            self._seen.pop(preset, None)
            return None
        self._seen[preset] = found
        return Running(preset_hash=found.preset_hash, enabled=found.enabled, mode=found.mode)

    async def last(self, preset: str) -> Running | None:
        """Return how it runs, or ran last."""
        return await self.running(preset) or await last_run(self._journal, preset)

    async def rename(self, account: str, preset: str, formerly: str) -> None:
        """Let the desk know that what *formerly* has come to is the preset's own."""
        told = Renaming(preset=preset, formerly=formerly)
        await store(self._client, ids.account_workflow(account), "renamed", told)

    async def was_applied(self, preset: str, preset_hash: str) -> bool:
        stored = await self._journal.preset(preset_hash)
        return stored is not None and stored.name == preset

    async def faults(self, loaded: LoadedPreset, file: str) -> tuple[PresetFault, ...]:
        """Return what the exchange has against it; nothing if it cannot be asked."""
        try:
            return await exchange_faults(self._bybit, loaded, file)
        except TradewrightError as e:
            log.warning("preset_not_compared", file=file, detail=str(e))
            return ()

    async def apply(
        self,
        loaded: LoadedPreset,
        *,
        expected: str,
        mode_before: Mode | None,
        by: str,
        reason: str,
    ) -> str:
        """Apply *loaded* if version *expected* runs, or none if that is empty; return a remark."""
        name = loaded.preset.name
        running = self._seen.get(name)
        now = running.preset_hash if running else ""
        if now != expected:
            raise WishRefused(
                ids.strategy_workflow(name),
                f"version {now or 'none'} runs, not {expected or 'none'}; look at it, then save "
                f"another version or apply this one",
            )
        version_before = ""
        if mode_before is None and (ran := await last_run(self._journal, name)):
            mode_before, version_before = ran.mode, ran.preset_hash
        done = await replace(
            self._client,
            self._journal,
            loaded,
            running,
            by=by,
            reason=reason,
            mode_before=mode_before,
            version_before=version_before,
            queue=self._queue,
        )
        return done.mode_note

    async def disable(self, preset: str, *, expected: str, by: str, reason: str) -> None:
        running = await running_strategy(self._client, preset)
        if running is None or not running.enabled:
            return
        if running.preset_hash != expected:
            raise VersionChanged(preset, running.preset_hash)
        await disable(self._client, self._journal, running, by=by, reason=reason)


class VersionChanged(TradewrightError):
    """Somebody was faster; look again."""

    retry = Retry.SAFE

    def __init__(self, preset: str, preset_hash: str) -> None:
        super().__init__(f"preset {preset} runs version {preset_hash} by now; it is looked at anew")


async def exchange_faults(
    bybit: "BybitClient", loaded: LoadedPreset, file: str
) -> tuple[PresetFault, ...]:
    """Return every value of a preset that the exchange does not take, with its place in *file*.

    Raises:
        TradewrightError: The exchange cannot be asked.
    """
    preset = loaded.preset
    found: list[tuple[tuple[str | int, ...], str]] = []
    symbols = preset.market.symbols
    missing = await unlisted(bybit, symbols)
    for number, symbol in enumerate(symbols):
        if symbol in missing:
            told = f"{symbol!r} is not listed at the exchange; {missing[symbol]}"
            found.append((("market", "symbols", number), told))
    listed = [await bybit.instrument(symbol) for symbol in symbols if symbol not in missing]
    leverage = preset.risk.leverage
    if tight := [each for each in listed if each.max_leverage < leverage]:
        least = min(tight, key=lambda each: each.max_leverage)
        told = f"{leverage} is more than {least.symbol} allows; at most {least.max_leverage}"
        found.append((("risk", "leverage"), told))
    notional = getattr(preset.risk, "notional", None)
    if notional is not None and (dear := [each for each in listed if notional < each.min_notional]):
        most = max(dear, key=lambda each: each.min_notional)
        told = f"{notional} USDT is less than {most.symbol} takes; at least {most.min_notional}"
        found.append((("risk", "notional"), told))
    root, _ = document.parse(loaded.document)
    places = [root.at(path).place if root else document.START for path, _ in found]
    return tuple(
        fault_at(loaded.document, file, document.Flaw(place, path, told))
        for (path, told), place in zip(found, places, strict=True)
    )
