"""Versions of presets, ready to be asked: from the journal, loaded once."""

import asyncio
from typing import Protocol

from activities.strategist import Strategist, StrategyFailed
from tradewright.domain.errors import TradewrightError
from tradewright.preset import LoadedPreset, PresetInvalid


class PresetDocument(Protocol):
    @property
    def document(self) -> str: ...


class PresetSource(Protocol):
    """The part of the journal that is used here."""

    async def preset(self, preset_hash: str) -> PresetDocument | None: ...


class PresetUnusable(TradewrightError):
    """The version of a preset that runs cannot be evaluated here."""

    def __init__(self, preset_hash: str, detail: str) -> None:
        super().__init__(f"preset version {preset_hash} cannot be evaluated: {detail}")
        self.preset_hash = preset_hash


class Library:
    def __init__(self, source: PresetSource, strategist: Strategist) -> None:
        self._source = source
        self._strategist = strategist
        self._loaded: dict[str, LoadedPreset] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def preset(self, preset_hash: str) -> LoadedPreset:
        """Return the version that has *preset_hash*.

        Raises:
            PresetUnusable: The journal does not hold it, or this worker cannot load it.
        """
        # Who asks at the same moment shares one strategy, and with it what that remembers
        async with self._turns.setdefault(preset_hash, asyncio.Lock()):
            known = self._loaded.get(preset_hash)
            if known is None:
                known = self._loaded[preset_hash] = await self._load(preset_hash)
        return known

    async def _load(self, preset_hash: str) -> LoadedPreset:
        stored = await self._source.preset(preset_hash)
        if stored is None:
            raise PresetUnusable(preset_hash, "the journal does not hold it; apply it again")
        try:
            loaded = await self._strategist.load(stored.document)
        except (PresetInvalid, StrategyFailed) as e:
            raise PresetUnusable(preset_hash, f"{e}; correct it and apply it again") from None
        if loaded.hash != preset_hash:
            raise PresetUnusable(
                preset_hash,
                "its plugin has another version here; restart the workers, or apply it again",
            )
        return loaded
