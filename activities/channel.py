"""What a stream is worth at the moment, told to the desk and to a person when it changes."""

import asyncio
from datetime import UTC, datetime
from typing import Literal

import structlog

from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.channel import channel_notice

log = structlog.get_logger(__name__)

BLIP = 1.0
"""Seconds within which a stream that is back was never gone; entries are safe without it."""
REMIND_EVERY = 30.0
"""Seconds after which the desk is told of a fault again, for it may be another desk."""


class ChannelReport:
    """Says what is so, not what has happened: who hears late hears of the present."""

    def __init__(
        self,
        messenger: Messenger,
        account: str,
        name: Literal["private", "public", "books"],
        *,
        fault: str = "",
        since: datetime | None = None,
        heeded: bool = True,
    ) -> None:
        """Report of the channel *name*.

        Args:
            messenger: By which it is told.
            account: Whose desk, and whose notifier.
            name: Of the channel.
            fault: As whoever followed the channel before has left it.
            since: When that began; wall clock.
            heeded: Whether the desk lets nothing enter without the channel.
        """
        self._messenger = messenger
        self._account = account
        self._channel = Channel(name=name, fault=fault, since=since or datetime.now(UTC))
        self._heeded = heeded
        self._changed = asyncio.Event()
        self._shown: bool | None = None
        """Whether the desk was told of a fault; None when it has to be told, whatever is so."""

    @property
    def fault(self) -> str:
        return self._channel.fault

    @property
    def since(self) -> datetime | None:
        """Return since when there is a fault, if there is one."""
        return self._channel.since if self.fault else None

    def healthy(self) -> None:
        """Say that the channel can be relied on."""
        if self.fault:
            log.info("channel_healthy", channel=self._channel.name, after=self.fault)
            self._become("", datetime.now(UTC))
        elif self._shown is None:
            self._changed.set()

    def degraded(self, fault: str) -> None:
        """Say that the channel cannot be relied on; it is so since the first *fault* of a row."""
        if not self.fault:
            log.warning("channel_degraded", channel=self._channel.name, detail=fault)
        self._become(fault, self.since or datetime.now(UTC))

    def _become(self, fault: str, since: datetime) -> None:
        self._channel = Channel(name=self._channel.name, fault=fault, since=since)
        self._changed.set()

    async def run(self) -> None:
        """Tell of changes until cancelled."""
        await self._changed.wait()
        while True:
            if self.fault and not self._shown:
                await asyncio.sleep(BLIP)
            self._changed.clear()
            if bool(self.fault) is not self._shown:
                await self._tell()
            try:
                async with asyncio.timeout(None if self._shown is False else REMIND_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                self._shown = None

    async def _tell(self) -> None:
        told = self._channel
        notice = channel_notice(self._account, told, datetime.now(UTC))
        # The notifier tells a person once, and nothing of the end of what was never told
        await self._messenger.tell(ids.notifier_workflow(self._account), "tell", notice)
        desk = ids.account_workflow(self._account)
        if not self._heeded or await self._messenger.tell(desk, "channel", told):
            self._shown = bool(told.fault)
        else:
            # It is started by whoever starts us, or by the next reconciliation
            log.warning("desk_not_running", channel=told.name)
            self._shown = None
