"""People are told of what matters, by the whole system, and nothing waits for them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from threading import Event

import pytest

from tests.system.conftest import running_system
from tests.system.live_system import LIMITS, TIGHT, LiveSystem, until
from tests.webhook import Webhook, listening
from tradewright import ids
from tradewright.app import kill_switch, notice
from tradewright.domain.execution import ExitReason
from tradewright.domain.notice import NotifySettings
from tradewright.settings import Settings
from workflows.kill_switch import TripWish

pytestmark = pytest.mark.timeout(300)


@dataclass
class Ears:
    """A running system, and the receiver that it tells."""

    live: LiveSystem
    webhook: Webhook

    async def heard(self, is_it: Callable[[str], bool]) -> str:
        """Return the first title or line that was told and is the one."""

        async def told() -> str:
            lines = [*self.webhook.titles, *self._lines()]
            return next((line for line in lines if is_it(line)), "")

        return await until(told)

    def _lines(self) -> list[str]:
        # Notices that came together are lines of one message
        return [line for got in self.webhook.got for line in got["message"].splitlines()]


@pytest.fixture(scope="module")
async def ears(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ears]:
    with listening() as webhook:
        notify = NotifySettings.model_validate({"urls": [{"name": "hook", "url": webhook.url}]})
        settings = Settings(limits=LIMITS, notify=notify)
        async with running_system(settings, tmp_path_factory.mktemp("notices")) as live:
            yield Ears(live, webhook)


async def test_fills_stops_and_exits_are_told_with_price_and_result(ears: Ears) -> None:
    """S7: push notifications on fill and stop."""
    handle = await ears.live.open("BTCUSDT", stop=TIGHT)
    opened = await ears.heard(lambda line: "BTCUSDT long opened" in line)
    await ears.live.step_until_flat("BTCUSDT")
    trade = await ears.live.ended(handle)
    closed = await ears.heard(lambda line: "BTCUSDT long closed" in line)

    assert trade.exit_reason is ExitReason.STOP
    assert f"{trade.pnl:+.2f} USDT" in closed
    assert opened


async def test_a_receiver_that_hangs_holds_up_no_trade_and_no_trip(ears: Ears) -> None:
    """S7: a notifier that is down is nobody else's matter."""
    ears.webhook.hanging = Event()
    try:
        handle = await ears.live.open("ETHUSDT")
        trade = await ears.live.leave(handle)
        assert trade.exit_reason is ExitReason.OPERATOR
    finally:
        ears.webhook.hanging.set()
        ears.webhook.hanging = None
    assert await ears.heard(lambda line: "ETHUSDT long closed" in line)


async def test_what_a_trade_cannot_understand_is_told(ears: Ears) -> None:
    """S7: push notifications on error."""
    handle = await ears.live.open("SOLUSDT")

    await handle.signal("exit", {"note": 1, "by": []})

    assert await ears.heard(lambda line: "SOLUSDT long needs a person" in line)
    await ears.live.leave(handle)


async def test_a_trip_is_told_and_repeated_until_somebody_answers(ears: Ears) -> None:
    """S7: push notifications on kill."""
    live, account = ears.live, ears.live.settings.account
    switch = live.client.get_workflow_handle(ids.kill_switch_workflow(account))

    await switch.signal("trip", TripWish(reason="smoke in the room", by="ann"))

    assert await ears.heard(lambda line: "smoke in the room" in line)
    open_notices = (await notice.notices(live.client, account)).open
    [trip] = [n for n in open_notices if n.workflow_id == switch.id and n.priority == "urgent"]
    assert trip.next_at is not None
    answered = await notice.acknowledge(live.client, account, trip.key, by="bea")
    [trip] = [n for n in answered.open if n.key == trip.key]
    assert (trip.acknowledged_by, trip.next_at) == ("bea", None)

    async def waits() -> bool:
        return (await live.switch()).step == "waiting"

    await until(waits)
    await kill_switch.rearm(live.client, account, reason="it was toast", by="ann")
