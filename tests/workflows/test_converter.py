"""Versions meet: what each sends, and what it finds, is read by the other or refused in words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field, ValidationError
from temporalio.client import WorkflowUpdateFailedError
from temporalio.converter import PayloadConverter

from tradewright.converter import DATA_CONVERTER, is_ours
from tradewright.domain.account import Approved, RefusalCode, Refused
from tradewright.domain.plan import TradePlan
from workflows.trade_message import ExitWish, TradeStart

Until = Callable[..., Any]


class NewerExitWish(ExitWish):
    """What a version says that knows one key more."""

    urgency: str = Field(default="high")


def is_open(view: Any) -> bool:
    return view["trade"]["state"] == "open" and not view["busy"]


def converter() -> PayloadConverter:
    return DATA_CONVERTER.payload_converter


def written(value: Any, **more: Any) -> Any:
    """Return the payload of *value* as a version writes it that knows *more* keys."""
    payload = converter().to_payload(value)
    payload.data = json.dumps(json.loads(payload.data) | more).encode()
    return payload


def test_a_key_that_is_gone_is_left_out(stage: Any) -> None:
    start = TradeStart(plan=stage.plan())

    assert converter().from_payload(written(start, retired={"deep": 1}), TradeStart) == start


def test_one_of_several_is_still_known(stage: Any) -> None:
    refused = Refused(code=RefusalCode.GATE_CLOSED, reason="the gate is closed")

    either: Any = Approved | Refused
    read = converter().from_payload(written(refused, plan=1), either)

    assert read == refused


def test_what_is_needed_and_missing_is_told(stage: Any) -> None:
    payload = written(stage.plan(), retired=1)
    payload.data = payload.data.replace(b'"symbol"', b'"ticker"', 1)

    with pytest.raises(ValidationError, match="symbol"):
        converter().from_payload(payload, TradePlan)


def test_only_models_bear_the_mark_of_who_wrote_them() -> None:
    wish = ExitWish(note="news", by="ann")

    assert is_ours(written(wish))
    assert is_ours(converter().from_payload(written(wish)))
    assert not is_ours(written({"note": "news"}))
    assert not is_ours(converter().from_payload(written({"note": "news"})))


async def test_a_newer_process_is_understood_by_an_older_trade(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.execute_update("exit", NewerExitWish(note="news", by="ann"))

    trade = await handle.result()
    assert (trade.exit_note, trade.exit_by) == ("news", "ann")


async def test_a_newer_process_s_signal_is_no_remark(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", NewerExitWish(note="news", by="ann"))
    await handle.result()

    assert (await handle.query("trade"))["needs_operator"] == ""


async def test_a_person_s_typo_is_refused_before_anything_is_done(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    view = await until(handle, "trade", is_open)

    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("exit", {"note": "news", "bye": "ann"})

    assert (await handle.query("trade"))["trade"] == view["trade"]
    await handle.execute_update("exit", {"note": "news", "by": "ann"})
    await handle.result()
