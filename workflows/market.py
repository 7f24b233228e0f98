"""Holds the consumer of the public streams, and what it has to watch."""

from collections.abc import Sequence
from functools import partial

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.ports import MarketPort, Watch, Watchlist
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.channel import fault_of, is_untaken, tell_of_fault
from workflows.channel import follow as follow_streams
from workflows.message import hear, refused
from workflows.page import market_page


class MarketStart(Value):
    account: str
    watches: tuple[Watch, ...] = ()
    shadows: tuple[TradePlan, ...] = ()


@workflow.defn
class MarketWorkflow:
    """Keeps the list of watches; the consumer asks for it."""

    @workflow.init
    def __init__(self, start: MarketStart) -> None:
        self._start = start
        self._watches = start.watches
        self._shadows = start.shadows
        self._needs_operator = ""

    @workflow.run
    async def run(self, start: MarketStart) -> None:
        self._show()
        while not workflow.info().is_continue_as_new_suggested():
            try:
                await follow_streams(
                    MarketPort.consume_market, self.watchlist(), ids.QUEUE_MARKET, "public streams"
                )
            except ActivityError as e:
                if is_cancelled_exception(e):
                    raise
                fault = fault_of(e, ids.QUEUE_MARKET)
                self._needs_operator = f"the market stream fails: {fault}; it is tried again"
                self._show()
                await tell_of_fault(start.account, "public", fault)
                if not is_untaken(e):
                    await workflow.sleep(5, summary="until it is tried again")
                self._needs_operator = ""
                self._show()
        workflow.continue_as_new(
            MarketStart(account=start.account, watches=self._watches, shadows=self._shadows)
        )

    @workflow.signal(description="A preset wants to be told of candles")
    def watch(self, *args: RawValue) -> None:
        hear("watch", Watch, args, partial(self._change_watch, wanted=True), self._complain)
        self._show()

    @workflow.signal(description="A preset does not want to be told any more")
    def unwatch(self, *args: RawValue) -> None:
        hear("unwatch", Watch, args, partial(self._change_watch, wanted=False), self._complain)
        self._show()

    @workflow.signal(description="A virtual trade wants to be followed")
    def follow(self, *args: RawValue) -> None:
        hear("follow", TradePlan, args, partial(self._change_shadow, runs=True), self._complain)
        self._show()

    @workflow.signal(description="A virtual trade has ended")
    def unfollow(self, *args: RawValue) -> None:
        hear("unfollow", TradePlan, args, partial(self._change_shadow, runs=False), self._complain)
        self._show()

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._complain(refused(name, "there is no such signal"))
        self._show()

    @workflow.query(description="What is watched")
    def watchlist(self) -> Watchlist:
        return Watchlist(account=self._start.account, watches=self._watches, shadows=self._shadows)

    def _change_watch(self, watch: Watch, *, wanted: bool) -> None:
        others = [w for w in self._watches if w.preset != watch.preset]
        watches = [*others, watch] if wanted else others
        self._watches = tuple(sorted(watches, key=lambda w: w.preset))

    def _change_shadow(self, plan: TradePlan, *, runs: bool) -> None:
        others = [one for one in self._shadows if one.trade_id != plan.trade_id]
        shadows = [*others, plan] if runs else others
        self._shadows = tuple(sorted(shadows, key=lambda one: one.trade_id))

    def _complain(self, what: str) -> None:
        self._needs_operator = what

    def _show(self) -> None:
        show([(ACCOUNT, self._start.account), (NEEDS_OPERATOR, bool(self._needs_operator))])
        workflow.set_current_details(market_page(self._watches, self._needs_operator))
