"""What Temporal does for one workflow and its activities, in virtual time.

It retries, times out, kills workers, suggests to continue as new, and hands every value on as JSON.
"""

import asyncio
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NoReturn

from temporalio.common import RetryPolicy, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import CancelledError as ActivityCancelled
from temporalio.exceptions import TimeoutError as ActivityTimeout
from temporalio.testing import ActivityEnvironment

from activities.exchange import BybitExchange
from tests.simulation.conditions import Conditions
from tests.simulation.loop import VirtualLoop
from tradewright.domain.case import CaseOpening
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Value
from tradewright.ports import JournalBatch

HEARTBEAT_TIMEOUT = 10.0


class ContinuedAsNew(BaseException):
    def __init__(self, start: Any) -> None:
        super().__init__("continued as new")
        self.start = start


class _Neighbour:
    """Another workflow, which only hears."""

    def __init__(self, heard: list[tuple[str, Any]]) -> None:
        self._heard = heard

    async def signal(self, name: str, arg: Any = None) -> None:
        self._heard.append((name, arg))


class Runtime:
    """Stands on the loop where temporalio looks for the runtime of a workflow."""

    def __init__(
        self,
        loop: VirtualLoop,
        chance: random.Random,
        conditions: Conditions,
        exchange: BybitExchange,
        workflow_id: str,
        note: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._conditions = conditions
        self._exchange = exchange
        self._note = note
        self._info = _Info(workflow_id, self.is_continue_as_new_suggested)
        self.cancel_reason: str | None = None
        self.signals: list[tuple[str, Any]] = []
        self.journal: list[JournalEvent] = []
        self.cases: list[CaseOpening] = []
        self.logger_details: Mapping[str, Any] = {}

    # --- what temporalio.workflow asks for ------------------------------------------------------

    def workflow_info(self) -> "_Info":
        return self._info

    def workflow_time_ns(self) -> int:
        return int(self._loop.now().timestamp() * 1e9)

    def workflow_all_handlers_finished(self) -> bool:
        return True

    def workflow_cancellation_reason(self) -> str | None:
        return self.cancel_reason

    def workflow_is_replaying_history_events(self) -> bool:
        # So that what the workflow logs is left out
        return True

    def workflow_upsert_search_attributes(self, attributes: Any, **_: Any) -> None:
        return None

    def workflow_set_current_details(self, details: str) -> None:
        return None

    def workflow_get_external_workflow_handle(self, *_: Any, **__: Any) -> _Neighbour:
        return _Neighbour(self.signals)

    def workflow_continue_as_new(self, *args: Any, **_: Any) -> NoReturn:
        raise ContinuedAsNew(args[0])

    async def workflow_start_child_workflow(
        self, workflow: str, *args: Any, **_: Any
    ) -> asyncio.Future[None]:
        self.cases.append(args[0].opening)
        return self._loop.create_future()

    async def workflow_sleep(self, duration: float, **_: Any) -> None:
        await asyncio.sleep(duration)

    async def workflow_wait_condition(
        self, fn: Callable[[], bool], *, timeout: float | None = None, **_: Any
    ) -> None:
        async with asyncio.timeout(timeout):
            await self._loop.until(fn)

    def workflow_start_activity(
        self,
        activity: Callable[..., Any],
        arg: Value,
        *,
        schedule_to_close_timeout: timedelta | None,
        retry_policy: RetryPolicy,
        **_: Any,
    ) -> asyncio.Task[Any]:
        name = activity.__name__
        if name == "record":
            return self._loop.create_task(self._record(arg))
        if name == "observe":
            return self._loop.create_task(self._fail(ApplicationError("no market here")))
        within = schedule_to_close_timeout
        patience = within.total_seconds() if within is not None else None
        attempts = _Attempts(self, getattr(self._exchange, name), _carried(arg), retry_policy)
        return self._loop.create_task(self._to_the_end(attempts, patience))

    # --- the server -----------------------------------------------------------------------------

    async def _record(self, batch: Value) -> int:
        assert isinstance(batch, JournalBatch)
        await asyncio.sleep(0.01)
        for event in batch.events:
            self.journal.append(event)
            told = event.data.get("event", event.data)
            state = event.data.get("trade", {}).get("state", "")
            self._note(event.at, "journal", event.kind, told, state)
        return len(batch.events)

    async def _fail(self, cause: BaseException) -> NoReturn:
        await asyncio.sleep(0)
        raise _activity_error(cause)

    async def _to_the_end(self, attempts: "_Attempts", patience: float | None) -> Any:
        try:
            async with asyncio.timeout(patience):
                return await attempts.go_on()
        except TimeoutError:
            timed_out = ActivityTimeout("too long", type=None, last_heartbeat_details=[])
            raise _activity_error(timed_out) from None
        except asyncio.CancelledError:
            raise _activity_error(ActivityCancelled("cancelled")) from None

    def note(self, *what: Any) -> None:
        self._note(self._loop.now(), *what)

    def now(self) -> datetime:
        return self._loop.now()

    def is_continue_as_new_suggested(self) -> bool:
        return self._chance.random() < self._conditions.continued

    def kills_a_worker(self) -> bool:
        return self._chance.random() < self._conditions.killed

    def seconds(self, *choices: float) -> float:
        return self._chance.choice(choices)

    def seconds_below(self, most: float) -> float:
        return self._chance.random() * most


class _Attempts:
    """One activity, tried until it succeeds or may not be tried any more."""

    def __init__(
        self, runtime: Runtime, method: Callable[..., Any], arg: Value, policy: RetryPolicy
    ) -> None:
        self._runtime = runtime
        self._method = method
        self._arg = arg
        self._delay = policy.initial_interval.total_seconds()
        self._longest = (policy.maximum_interval or policy.initial_interval).total_seconds()
        self._scheduled = runtime.now()
        self._beat: Sequence[Any] = ()
        self._number = 0

    async def go_on(self) -> Any:
        while True:
            self._number += 1
            pause = self._delay
            attempt = asyncio.ensure_future(self._attempt())
            try:
                if self._runtime.kills_a_worker():
                    await self._kill(attempt)
                else:
                    return await self._answer(attempt)
            except TradewrightError as e:
                self._runtime.note("failed", self._method.__name__, self._number, str(e))
                if e.retry is Retry.NEVER:
                    cause = ApplicationError(str(e), type=type(e).__name__, non_retryable=True)
                    raise _activity_error(cause) from e
                if e.retry_after is not None:
                    pause = e.retry_after.total_seconds()
            finally:
                attempt.cancel()
            await asyncio.sleep(pause)
            self._delay = min(2 * self._delay, self._longest)

    async def _attempt(self) -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            attempt=self._number,
            scheduled_time=self._scheduled,
            current_attempt_scheduled_time=self._runtime.now(),
            heartbeat_details=self._beat,
        )
        environment.on_heartbeat = self._heard
        self._runtime.note("attempt", self._method.__name__, self._number)
        return await environment.run(self._method, self._arg)

    def _heard(self, *details: Any) -> None:
        self._beat = details

    async def _answer(self, attempt: asyncio.Future[Any]) -> Any:
        answer = await attempt
        await asyncio.sleep(self._runtime.seconds(0, 0.01, 0.05, 0.5))
        return _carried(answer)

    async def _kill(self, attempt: asyncio.Future[Any]) -> None:
        """End *attempt* wherever it is; nobody hears of its answer."""
        await asyncio.sleep(self._runtime.seconds_below(0.3))
        attempt.cancel()
        with suppress(asyncio.CancelledError, TradewrightError):
            await attempt
        self._runtime.note("killed", self._method.__name__, self._number)
        await asyncio.sleep(HEARTBEAT_TIMEOUT)


class _Info:
    """The part of a workflow's info that is asked for."""

    task_queue = "simulation:trading"
    run_id = first_execution_run_id = "run"
    continued_run_id = None
    typed_search_attributes = TypedSearchAttributes.empty

    def __init__(self, workflow_id: str, is_suggested: Callable[[], bool]) -> None:
        self.workflow_id = workflow_id
        self.is_continue_as_new_suggested = is_suggested


def _carried(value: Value) -> Value:
    return type(value).model_validate_json(value.model_dump_json())


def _activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "activity failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="",
        activity_id="",
        retry_state=None,
    )
    error.__cause__ = cause
    return error
