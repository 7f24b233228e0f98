"""The wire under the streams, without anybody at its other end."""

import asyncio

import pytest

from activities.wire import Wire


async def test_a_cancel_is_not_lost_to_a_message_that_comes_with_it() -> None:
    wire = Wire("ws://127.0.0.1:1")
    receiving = asyncio.create_task(wire.receive(within=10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    wire._messages.put_nowait({"topic": "kline.1.BTCUSDT"})
    receiving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await receiving
