"""The private stream: every execution of the account, told to the trade that it belongs to.

Nothing depends on the stream alone. Each connection begins with what happened before it, and a
sweep of the exchange's lists goes on beside it: what the sweep finds first shows that a topic
has gone silent.
"""

import asyncio
import contextlib
from typing import Protocol

import structlog
from temporalio import activity
from temporalio.client import Client

from activities.channel import ChannelReport
from activities.follower import TOPICS, Follower
from activities.happening import StreamCursor
from activities.joint import together
from activities.messenger import Messenger, heartbeats
from activities.pace import Pace
from activities.post import Post
from activities.secrets import ExchangeKey
from activities.silence import Source
from activities.wire import STEADY_AFTER, BackOff, Wire
from tradewright.domain.errors import TradewrightError
from tradewright.domain.record import read_back
from tradewright.ports import StreamPort

log = structlog.get_logger(__name__)


class KeySource(Protocol):
    async def exchange_key(self) -> ExchangeKey: ...


class BybitStream(StreamPort):
    def __init__(
        self, client: Client, bybit: Source, keys: KeySource, pace: Pace, url: str
    ) -> None:
        """Listen at *url*, the venue's private WebSocket."""
        self._messenger = Messenger(client)
        self._bybit = bybit
        self._keys = keys
        self._pace = pace
        self._url = url

    @activity.defn
    async def consume_stream(self, account: str) -> None:
        carried = activity.info().heartbeat_details
        cursor = read_back(StreamCursor, carried[0]) if carried else StreamCursor()
        post = Post(self._messenger, account)
        report = ChannelReport(
            self._messenger, account, "private", fault=cursor.fault, since=cursor.fault_since
        )
        follower = Follower(self._bybit, self._pace, post, cursor, report)
        async with heartbeats(lambda: follower.cursor):
            await together(report.run(), self._follow(follower, report))

    async def _follow(self, follower: Follower, report: ChannelReport) -> None:
        back_off = BackOff()
        loop = asyncio.get_running_loop()
        while True:
            live_since: float | None = None
            try:
                key = await self._keys.exchange_key()
                async with await Wire.open(self._url, "private", key) as wire:
                    # Subscribed before the lists are read, or what happens in between is missed
                    await wire.subscribe(TOPICS)
                    await follower.begin()
                    log.info("stream_connected", url=self._url)
                    live_since = loop.time()
                    await follower.live(wire)
            except TradewrightError as e:
                log.warning("stream_lost", detail=str(e))
                report.degraded(str(e))
                # A list may be read although the stream cannot
                with contextlib.suppress(TradewrightError):
                    await follower.catch_up()
                if live_since is not None and loop.time() - live_since > STEADY_AFTER:
                    back_off.reset()
                await back_off.pause()
