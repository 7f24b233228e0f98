"""From a closed gate to flat, read twice: one trip's way, whatever fails on it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, RetryState, is_cancelled_exception

from tradewright.domain.gate import FlatProof
from tradewright.ports import Exposure, KillPort, TripOrder

CANCEL_WITHIN = timedelta(seconds=10)
"""Orders that cannot be cancelled one by one do not keep positions from being closed."""
DEAD_AFTER = timedelta(seconds=6)
"""Without a heartbeat; another attempt then goes on."""
PATIENT_ROUNDS = 5
TOLD_AFTER = timedelta(minutes=1)
AGAIN_AFTER = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(seconds=10)
"""Between rounds of a flatten that does not get flat."""
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5)
)

Say = Callable[[str], None]


async def perform(activity: Any, argument: Any, complain: Say) -> Any:
    """Perform an activity to its end, however long it takes; *complain* hears of failures.

    Temporal repeats what may pass, without a word; what has not passed in time is told.
    """
    while True:
        try:
            return await workflow.execute_activity_method(
                activity,
                argument,
                schedule_to_close_timeout=TOLD_AFTER,
                heartbeat_timeout=DEAD_AFTER,
                retry_policy=RETRY,
            )
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            complain(str(e.cause))
            if e.retry_state is RetryState.NON_RETRYABLE_FAILURE:
                await workflow.sleep(AGAIN_AFTER, summary="until it is tried again")


class Clearing:
    """Closes and cancels until flat was read twice, or until the next run has to go on."""

    def __init__(
        self,
        order: TripOrder,
        *,
        keep_gate: Callable[[], Awaitable[None]],
        closed_at: Callable[[], datetime | None],
        step: Say,
        complain: Say,
        note: Callable[[str, str], None],
    ) -> None:
        """Take what the trip needs of its workflow.

        Args:
            order: The trip.
            keep_gate: Writes the gate's row where that is still to be done.
            closed_at: Since when the row is closed, None while it is not: reads count from then,
                for until then somebody may still enter.
            step: Shows what is being done.
            complain: Shows what a person must know.
            note: Tells the journal a step and its detail.
        """
        self._order = order
        self._keep_gate = keep_gate
        self._closed_at = closed_at
        self._step = step
        self._complain = complain
        self._note = note
        self._proof: FlatProof | None = None

    @property
    def next_link(self) -> int:
        return self._order.first_link

    async def run(self) -> bool:
        """Return whether flat was read twice; False leaves the rest to the next run."""
        self._step("cancelling entries")
        await self._cancel_entries()
        rounds = 0
        while True:
            if workflow.info().is_continue_as_new_suggested():
                return False
            self._step(f"flattening, round {rounds + 1}")
            rounds += 1
            exposure = await self._round()
            if self._proof is not None and self._proof.is_given:
                self._note("flat", f"read twice, {rounds} rounds")
                return True
            if self._proof is not None and self._proof.reads:
                self._step("flat; reading again when nothing can land any more")
                pause = self._proof.pause(workflow.now())
                await workflow.sleep(pause, summary="until nothing sent can land any more")
            else:
                if not exposure.is_flat and rounds % PATIENT_ROUNDS == 0:
                    self._complain(
                        f"the flatten is not done after {rounds} rounds: "
                        f"{len(exposure.positions)} positions and {exposure.orders} orders are "
                        f"left{_unreadable(exposure)}; it goes on trying"
                    )
                pause = min(timedelta(seconds=rounds), LONGEST_PAUSE)
                await workflow.sleep(pause, summary="until the next round")

    async def _round(self) -> Exposure:
        asked_at = workflow.now()
        exposure: Exposure
        exposure, _ = await asyncio.gather(
            perform(KillPort.flatten_all, self._order, self._told), self._keep_gate()
        )
        self._order = self._order.model_copy(update={"first_link": exposure.next_link})
        closed_at = self._closed_at()
        if closed_at is None:
            self._proof = None
            return exposure
        if self._proof is None or self._proof.closed_at != closed_at:
            self._proof = FlatProof(closed_at=closed_at)
        self._proof = self._proof.after(is_flat=exposure.is_flat, asked_at=asked_at)
        return exposure

    def _told(self, fault: str) -> None:
        self._complain(f"the flatten failed: {fault}; it is tried again")

    async def _cancel_entries(self) -> None:
        try:
            cancelled = await workflow.execute_activity_method(
                KillPort.cancel_entries,
                self._order,
                start_to_close_timeout=CANCEL_WITHIN,
                schedule_to_close_timeout=CANCEL_WITHIN,
                heartbeat_timeout=DEAD_AFTER,
                retry_policy=RETRY,
            )
        except ActivityError as e:
            # Cancel-all comes for them once the account is flat
            self._note("entries_not_cancelled", str(e.cause))
        else:
            self._note("entries_cancelled", str(cancelled))


def _unreadable(exposure: Exposure) -> str:
    if not exposure.unreadable:
        return ""
    return f", and {exposure.unreadable} rows of the exchange cannot be read: look there yourself"
