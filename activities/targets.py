"""Earlier targets: reduce-only limit orders, each sent once."""

from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, BybitClient
from activities.entry import DUPLICATE_LINK, PLAIN_REJECTIONS
from activities.exits import NOTHING_TO_REDUCE
from activities.parse import PlacedOrder
from activities.reading import TradeReads
from tradewright.domain.errors import OrderRejected, OutcomeUnknown, TradewrightError
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import PositionRead, TargetOrder, TargetsPlaced
from tradewright.ports import TradeOrder


class TargetRefused(TradewrightError):
    """The exchange does not work this target; the take profit takes its part."""

    def __init__(self, order_link_id: str, detail: str) -> None:
        super().__init__(
            f"target {order_link_id} was refused: {detail}; its part is left to the take profit"
        )
        self.order_link_id = order_link_id


class Targets:
    def __init__(self, client: BybitClient, reads: TradeReads) -> None:
        self._client = client
        self._reads = reads

    async def place(self, order: TradeOrder) -> TargetsPlaced | PositionRead:
        """Place what the exchange does not have yet, and tell what it refuses."""
        placed, refused, is_flat = [], [], False
        for target in order.targets:
            try:
                placed.append(await self._place(order.plan, target))
            except TargetRefused as e:
                refused.append(str(e))
                cause = e.__cause__
                is_flat |= isinstance(cause, OrderRejected) and cause.ret_code in NOTHING_TO_REDUCE
        if is_flat and await self._reads.held(order.plan) is None:
            return await self._reads.position_read(None)
        return TargetsPlaced(orders=tuple(placed), reason="; ".join(refused))

    async def _place(self, plan: TradePlan, target: TargetOrder) -> TargetOrder:
        link = target.order_link_id
        if activity.info().attempt > 1:
            sent = await lookup.fetch_order(self._client, plan.symbol, link)
            if sent is not None:
                return _standing(target, sent)
        try:
            answer = await self._client.call(
                "place_order",
                category=LINEAR,
                symbol=plan.symbol,
                side=plan.side.opposite.value,
                orderType="Limit",
                timeInForce="GTC",
                price=parse.text(target.price),
                qty=parse.text(target.qty),
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=True,
            )
        except OrderRejected as e:
            if e.ret_code in PLAIN_REJECTIONS:
                raise TargetRefused(link, f"{e.ret_msg} (retCode {e.ret_code})") from e
            sent = await lookup.fetch_order(self._client, plan.symbol, link)
            if sent is not None:
                return _standing(target, sent)
            if e.ret_code == DUPLICATE_LINK:
                raise OutcomeUnknown(
                    f"place_order {link}", "it exists and no read shows it yet"
                ) from e
            raise TargetRefused(link, f"{e.ret_msg} (retCode {e.ret_code})") from e
        return target.model_copy(update={"order_id": str(answer["result"]["orderId"])})


def _standing(target: TargetOrder, sent: PlacedOrder) -> TargetOrder:
    """Return *target* as the exchange has it.

    Raises:
        TargetRefused: The order ended before anything of it was filled.
    """
    if sent.came_to_nothing:
        raise TargetRefused(target.order_link_id, sent.reason or f"it is {sent.status}")
    return target.model_copy(update={"order_id": sent.order_id})
