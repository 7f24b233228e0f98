"""Holds the one activity that watches a folder of presets, and what each folder said before."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.market import Value
from tradewright.domain.notice import Notice
from tradewright.ports import FolderMemory, FolderNews, Folders, PresetsPort
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.channel import fault_of, follow, is_untaken
from workflows.message import Unreadable, read, refused
from workflows.notice import tell
from workflows.presets_notice import folder_notices, watcher_notice
from workflows.presets_page import presets_page

MOST_FOLDERS = 5
"""Places whose memory is kept; those of machines that are gone are forgotten."""
UNTIL_AGAIN = timedelta(seconds=5)


class PresetsStart(Value):
    account: str
    folders: tuple[FolderMemory, ...] = ()


@workflow.defn
class PresetsWorkflow:
    """Remembers what was applied from where, so that nothing is applied twice or taken back."""

    @workflow.init
    def __init__(self, start: PresetsStart) -> None:
        self._start = start
        self._folders = start.folders
        self._fault = ""
        self._remark = ""
        self._notices: list[Notice] = []

    @workflow.run
    async def run(self, start: PresetsStart) -> None:
        telling = asyncio.create_task(self._keep_telling())
        while not workflow.info().is_continue_as_new_suggested():
            self._show()
            watching = asyncio.create_task(
                follow(PresetsPort.watch_presets, start.account, ids.QUEUE_PRESETS, "presets")
            )
            # Each news is an event: a busy folder fills the history before the shift is over
            await workflow.wait_condition(
                lambda: watching.done() or workflow.info().is_continue_as_new_suggested()  # noqa: B023
            )
            if not watching.done():
                watching.cancel()
                with contextlib.suppress(ActivityError, asyncio.CancelledError):
                    await watching
                break
            await self._hear_of_end(watching)
        await workflow.wait_condition(lambda: not self._notices)
        telling.cancel()
        workflow.continue_as_new(PresetsStart(account=start.account, folders=self._folders))

    async def _hear_of_end(self, watching: "asyncio.Task[None]") -> None:
        try:
            await watching
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            self._fault = f"nobody watches the presets: {fault_of(e, ids.QUEUE_PRESETS)}"
            self._show()
            self._notices.append(watcher_notice(self._start.account, self._fault))
            if not is_untaken(e):
                await workflow.sleep(UNTIL_AGAIN, summary="until it is tried again")

    async def _keep_telling(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._notices))
            await tell(self._notices[0])
            del self._notices[0]

    @workflow.signal(description="A watcher has seen, or done, something")
    def report(self, *args: RawValue) -> None:
        try:
            news: FolderNews
            news, remark = read(FolderNews, args)
        except Unreadable as e:
            self._remark = refused("report", e)
            self._show()
            return
        self._remark = f"signal report was taken, but {remark}" if remark else ""
        before = self.folders().of(news.place)
        after = before.after(news)
        others = [each for each in self._folders if each.place != news.place]
        self._folders = (after, *others)[:MOST_FOLDERS]
        account = self._start.account
        self._notices += folder_notices(account, before, after)
        if self._fault:
            self._fault = ""
            self._notices.append(watcher_notice(account, ""))
        self._show()

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._remark = refused(name, "this workflow takes no signals of people")
        self._show()

    @workflow.query(description="What each folder said, and what came of it")
    def folders(self) -> Folders:
        return Folders(
            account=self._start.account, folders=self._folders, needs_operator=self._needs()
        )

    def _needs(self) -> str:
        """Return what a person has to mend, in the folder that is watched now."""
        watched = self._folders[0] if self._folders else None
        found = [self._fault or self._remark]
        if watched is not None:
            found.append(watched.fault)
            wrong = [fault.file for fault in watched.faults]
            found.append(f"invalid: {', '.join(wrong)}; what ran goes on" if wrong else "")
        return "; ".join(filter(None, found))

    def _show(self) -> None:
        needs = self._needs()
        show([(ACCOUNT, self._start.account), (NEEDS_OPERATOR, bool(needs))])
        workflow.set_current_details(presets_page(self._folders, needs))
