"""The exchange client of a running system, as a person sees and resets it."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from activities.breaker import FAILURES
from tests.system.live_system import LiveSystem, until
from tradewright.app import operate

pytestmark = pytest.mark.timeout(300)


async def processes(live: LiveSystem, *arguments: str) -> list[dict[str, Any]]:
    answer = await live.command("exchange", *arguments, "--output", "json")
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = answer.document["processes"]
    return found


def of_trading(found: list[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in found if "trading" in line["queues"])


def of_position(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the breaker of the trading process that positions are read through."""
    breakers: list[dict[str, Any]] = of_trading(found)["status"]["breakers"]
    return next(breaker for breaker in breakers if breaker["group"] == "position")


async def faults(live: LiveSystem, *wishes: dict[str, Any]) -> None:
    for wish in wishes:
        answer = await live.command("paper-fault", "add", yaml.safe_dump(wish))
        assert answer.code == 0, answer.err


async def test_every_process_shows_its_breakers_its_budget_and_its_clock(
    live: LiveSystem,
) -> None:
    """F1, F3: skew and budget are measured, and a person can see them."""

    async def has_asked() -> bool:
        found = await processes(live, "status")
        return len(found) == 2 and bool(of_trading(found)["status"]["breakers"])

    await until(has_asked)
    shown = await live.command("exchange", "status")
    found = await processes(live, "status")

    assert [queue for line in found for queue in line["queues"]].count("kill") == 1
    trading = of_trading(found)
    assert {"trading", "market"} <= set(trading["queues"])
    assert abs(trading["status"]["clock_skew_ms"]) < 2000
    assert {"address", "position/list"} <= {b["name"] for b in trading["status"]["buckets"]}
    assert all(b["state"] == "closed" for line in found for b in line["status"]["breakers"])
    assert "Breakers" in shown.out
    assert trading["process"] in shown.out


async def test_a_breaker_that_opens_is_shown_and_a_person_can_reset_it(live: LiveSystem) -> None:
    await faults(
        live,
        {
            "kind": "http_error",
            "name": "away",
            "status": 503,
            "when": {"endpoint": "/v5/position/list"},
        },
    )

    account, now = live.settings.account, datetime.now(UTC)
    reading = [
        asyncio.create_task(
            operate.reconcile(live.client, account, now=now + timedelta(seconds=number))
        )
        for number in range(FAILURES)
    ]

    async def is_open() -> dict[str, Any] | None:
        breaker = of_position(await processes(live, "status"))
        return breaker if breaker["state"] != "closed" else None

    breaker = await until(is_open)
    assert breaker is not None
    assert breaker["failures"] >= FAILURES
    assert "HTTP 503" in breaker["detail"]
    await live.command("paper-fault", "clear", "away")
    reset = of_trading(await processes(live, "reset", "position", "--by", "ann"))
    unknown = await live.command("exchange", "reset", "posittion")

    assert reset["status"]["was_reset"][0] == "position"
    assert of_position([reset])["state"] == "closed"
    assert unknown.code == 4
    assert "position/list" in unknown.err
    assert len(await asyncio.gather(*reading)) == FAILURES


async def test_a_process_that_does_not_answer_is_named_and_the_others_are_shown(
    live: LiveSystem,
) -> None:
    found = await processes(live, "status")
    kill = next(line["process"] for line in found if "kill" in line["queues"])
    pid = int(kill.partition("@")[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = await live.command("exchange", "status", "--output", "json")
        shown = await live.command("exchange", "status")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert (answer.code, shown.code) == (5, 5)
    silent = [line["process"] for line in answer.document["processes"] if not line["status"]]
    assert silent == [kill]
    assert of_trading(answer.document["processes"])["status"]["buckets"]
    assert f"process {kill} gave no answer within 4 s" in shown.err
