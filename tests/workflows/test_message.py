"""What is read from a message: its shape, or why it has none; nothing else comes out."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from tradewright.domain.trade import StopMoved, TradeEvent
from tradewright.domain.trade.event import TargetOrder
from workflows.message import Unreadable, read

KINDS = sorted(TypeAdapter(TradeEvent).json_schema()["discriminator"]["mapping"])
COMMON = {"price": "1", "reason": "x", "order_id": "o", "code": "c"}


def raw(content: object) -> RawValue:
    encoded = json.dumps(content).encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=encoded))


@pytest.mark.parametrize("value", [1, None, "x", [], {}, {"price": "2"}])
def test_an_unknown_key_named_like_the_message_s_kind_is_ignored_as_any_other(value: Any) -> None:
    told = {"kind": "stop_moved", "price": "1", "reason": "x", "stop_moved": value}

    event, remark = read(TradeEvent, [raw(told)])

    assert event == StopMoved(price=Decimal(1), reason="x")
    assert remark == "unknown keys were ignored: stop_moved.stop_moved"


def test_unknown_keys_are_ignored_however_deep() -> None:
    order = {"order_link_id": "l", "price": "1", "qty": "1", "targets_placed": 1, "side": 2}
    told = {"kind": "targets_placed", "orders": [order], "targets_placed": {"orders": 3}}

    event, remark = read(TradeEvent, [raw(told)])

    assert event.orders == (TargetOrder(order_link_id="l", price=Decimal(1), qty=Decimal(1)),)
    assert remark.startswith("unknown keys were ignored: targets_placed.orders.0.side, ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KINDS, "kind", "execution", "orders"]), inner)
    ),
    max_leaves=8,
)


@given(kind=st.sampled_from(KINDS), content=st.dictionaries(st.sampled_from(KINDS), JSON))
def test_whatever_is_sent_is_read_or_unreadable(kind: str, content: dict[str, Any]) -> None:
    with contextlib.suppress(Unreadable):
        event, _ = read(TradeEvent, [raw(COMMON | {"kind": kind} | content)])
        assert event.kind == kind
