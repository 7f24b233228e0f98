"""A process's way to the exchange: shown and reset on a person's wish, told when it breaks."""

import asyncio
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client

from activities.breaker import BreakerChange, BreakerState
from activities.bybit import BybitClient
from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.notice import Notice, Priority
from tradewright.ports import (
    BreakerLine,
    BucketLine,
    ExchangeControlPort,
    ExchangeStatus,
    ResetWish,
)

log = structlog.get_logger(__name__)


class BybitControl(ExchangeControlPort):
    """Answers for the one client of its process."""

    def __init__(self, bybit: BybitClient, client: Client, account: str, process: str) -> None:
        """Hear of the breakers of *bybit* from now on.

        Args:
            bybit: The process's client.
            client: Of the venue's namespace.
            account: Whose notifier is told.
            process: Names this process in what is told, the same after a restart.
        """
        self._bybit = bybit
        self._messenger = Messenger(client)
        self._account = account
        self._process = process
        self._line = asyncio.Lock()
        self._telling: set[asyncio.Task[None]] = set()
        bybit.on_breaker = self._changed

    @activity.defn
    async def exchange_status(self) -> ExchangeStatus:
        return self._status()

    @activity.defn
    async def reset_exchange(self, wish: ResetWish) -> ExchangeStatus:
        names = self._bybit.reset(wish.name)
        log.info("exchange_reset", names=names, by=wish.by)
        return self._status(names)

    def _status(self, was_reset: list[str] | None = None) -> ExchangeStatus:
        skew = self._bybit.clock_skew
        return ExchangeStatus(
            breakers=tuple(
                BreakerLine(
                    group=breaker.group,
                    state=str(breaker.state),
                    failures=breaker.failures,
                    detail=breaker.detail,
                    since=breaker.since,
                    probe_in=breaker.probe_in,
                )
                for breaker in self._bybit.breakers()
            ),
            buckets=tuple(
                BucketLine(
                    name=bucket.name,
                    limit=bucket.limit,
                    period=bucket.period,
                    used=bucket.used,
                    foreign=bucket.foreign,
                    waiting=bucket.waiting,
                    paused_for=bucket.paused_for,
                )
                for bucket in self._bybit.buckets()
            ),
            clock_skew_ms=None if skew is None else skew / timedelta(milliseconds=1),
            was_reset=tuple(was_reset or ()),
        )

    def _changed(self, change: BreakerChange) -> None:
        # The notifier may be away, and nothing that asks the exchange waits for it
        task = asyncio.create_task(self._tell(change))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, change: BreakerChange) -> None:
        closed = change.state is BreakerState.CLOSED
        title = f"Bybit answers {change.group} requests again"
        text = f"Process {self._process}: the breaker has closed."
        if not closed:
            title = f"Bybit does not answer {change.group} requests"
            text = (
                f"Process {self._process}: the breaker has opened, {change.detail}. Reads and "
                f"entries wait; exits, stops and cancels are still sent. See `tradewright exchange "
                f"status`."
            )
        notice = Notice(
            key=f"breaker/{self._process}/{change.group}",
            account=self._account,
            priority=Priority.WARNING,
            title=title[:200],
            text=text[:2000],
            at=change.at,
            resolved=closed,
        )
        # One after another, so that what is over is not told before that it began
        async with self._line:
            await self._messenger.tell(ids.notifier_workflow(self._account), "tell", notice)
