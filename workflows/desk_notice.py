"""What the desk tells a person: each breach that fires, and what somebody has to mend.

Of a degraded stream its consumer tells, which knows when it is over.
"""

from collections.abc import Iterable

from temporalio import workflow

from tradewright.domain.account import (
    UNEXPLAINED_PATIENCE,
    Account,
    Breach,
    Consequence,
    Limits,
    PositionMode,
    RefusalCode,
)
from tradewright.domain.notice import Notice, Priority
from workflows.notice import tell
from workflows.page import CONSEQUENCE_WORDS


class DeskNotices:
    """Tells once what stands, and once that it is over."""

    def __init__(self, account: str, told: Iterable[str] = ()) -> None:
        self._account = account
        self._told = set(told)

    @property
    def told(self) -> tuple[str, ...]:
        """Return what is told and not over: to be carried through continue-as-new."""
        return tuple(sorted(self._told))

    async def fired(self, breach: Breach) -> None:
        is_trip = breach.consequence is Consequence.TRIP
        await self._begin(
            f"limit/{breach.code}",
            Priority.URGENT if is_trip else Priority.WARNING,
            f"{breach.code}: {CONSEQUENCE_WORDS[breach.consequence]}",
            breach.reason,
        )

    async def untripped(self, fault: str) -> None:
        """Tell that nobody heard of a trip; without a fault, that somebody has."""
        await self._while(
            bool(fault),
            "untripped",
            Priority.URGENT,
            "the kill switch could not be tripped: trip it by hand",
            f"`tradewright kill trip`; {fault}",
        )

    async def standing(self, account: Account, limits: Limits, fault: str = "") -> None:
        """Tell what *account* needs a person for, and what is over.

        Args:
            account: The desk as it stands.
            limits: The account's limits.
            fault: Why there is no newer snapshot, if that failed.
        """
        lasting = {*account.suspected, *(pause.code for pause in account.pauses)}
        for code in RefusalCode:
            if code not in lasting:
                await self._end(f"limit/{code}")
        await self._while(
            account.position_mode is PositionMode.HEDGE,
            "position_mode",
            Priority.URGENT,
            "no entries: the account is in hedge mode",
            "switch derivatives to one-way mode at Bybit, with no position and no order open",
        )
        allowed = ", ".join(limits.margin_modes)
        await self._while(
            not account.is_margin_allowed(limits),
            "margin_mode",
            Priority.URGENT,
            f"no entries: the margin mode is {account.margin_mode}",
            f"allowed is {allowed}; switch it at Bybit, or allow it in the settings",
        )
        await self._while(
            workflow.now() - account.compared_at > limits.max_reconciliation_age,
            "not_reconciled",
            Priority.URGENT,
            f"no entries: nothing was compared with the exchange since {account.compared_at}",
            "`tradewright reconcile` says what is wrong",
        )
        since = account.unexplained_since
        await self._while(
            since is not None and workflow.now() - since >= UNEXPLAINED_PATIENCE,
            "unexplained",
            Priority.WARNING,
            "the wallet is not what the transaction log leads to: the difference counts as a loss",
            account.snapshot.cash_fault if account.snapshot else "",
        )
        seen_at = account.snapshot.at if account.snapshot else account.started_at
        await self._while(
            workflow.now() - seen_at > limits.max_snapshot_age,
            "no_snapshot",
            Priority.URGENT,
            f"no entries, and no limit is watched: the account was not seen since {seen_at}",
            fault,
        )

    async def _while(
        self, is_so: bool, key: str, priority: Priority, title: str, text: str
    ) -> None:
        if not is_so:
            await self._end(key)
        elif key not in self._told:
            await self._begin(key, priority, title, text)

    async def _begin(self, key: str, priority: Priority, title: str, text: str) -> None:
        self._told.add(key)
        await tell(self._notice(key, priority, title, text, resolved=False))

    async def _end(self, key: str) -> None:
        if key in self._told:
            self._told.discard(key)
            title = f"{key.replace('/', ' ')}: it is over"
            await tell(self._notice(key, Priority.ROUTINE, title, "", resolved=True))

    def _notice(
        self, key: str, priority: Priority, title: str, text: str, *, resolved: bool
    ) -> Notice:
        return Notice(
            key=f"desk/{self._account}/{key}",
            account=self._account,
            priority=priority,
            title=title[:200],
            text=text[:2000],
            workflow_id=workflow.info().workflow_id,
            at=workflow.now(),
            resolved=resolved,
        )
