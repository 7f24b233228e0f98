"""The account's part in a lockstep: no step before every trade is done with the last one."""

from collections.abc import Callable
from datetime import timedelta

from pydantic import AwareDatetime
from temporalio.client import Client

from activities.messenger import Messenger
from activities.pace import PaperPace
from activities.settlement import DEADLINE, Settlement
from tradewright import ids
from tradewright.domain.market import Value


class Progress(Value):
    """How far a lockstep has come."""

    step: int
    steps_total: int | None
    at: AwareDatetime | None
    """Market clock."""


class Conductor:
    """Lets a lockstep go on, step by step, until its market has ended."""

    def __init__(
        self, client: Client, pace: PaperPace, account: str, deadline: timedelta = DEADLINE
    ) -> None:
        self._pace = pace
        self._name = ids.account_workflow(account)
        self._settlement = Settlement(Messenger(client), pace, account, deadline)

    async def subscribe(self) -> None:
        """Let the market wait for `run`; before the market starts."""
        await self._pace.subscribe(self._name, "account", (), None)

    async def run(self, report: Callable[[Progress], None] | None = None) -> None:
        """Conduct until the market's end, telling *report* of every barrier.

        Raises:
            NotSettled: A trade hangs; says which and how it stands.
        """
        await self.subscribe()
        total = (await self._pace.status())["steps_total"]
        passed = -1
        while not (turn := await self._pace.turn(self._name, passed)).ended:
            await self._settlement.settle()
            await self._pace.pass_barrier(self._name, turn.barrier)
            passed = turn.barrier
            if report is not None:
                report(Progress(step=turn.step, steps_total=total, at=turn.at))
