"""What survives a kill at any moment: everything that was answered."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError

from tests.paper.conftest import KEY, SECRET, eventually
from tests.paper.process import KEYS, ready, served

T = TypeVar("T")


async def test_a_killed_exchange_keeps_orders_position_and_links(
    tmp_path: Path, free_port: int
) -> None:
    """B8: a restart closes nothing: positions, stops and orders are as they were."""
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "paper.db"
    http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
    http.endpoint = url
    order: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy"}

    with served(free_port, state) as process:
        await ready(url)
        http.place_order(**order, orderType="Market", qty="0.01", stopLoss="1", orderLinkId="a-1")
        http.place_order(**order, orderType="Limit", qty="0.01", price="2000", orderLinkId="a-2")
        http.set_leverage(category="linear", symbol="ETHUSDT", buyLeverage="3", sellLeverage="3")
        before = account(http)
        process.send_signal(signal.SIGKILL)
    with served(free_port, state) as process:
        await ready(url)
        after = account(http)
        with pytest.raises(InvalidRequestError) as failure:
            http.place_order(**order, orderType="Market", qty="0.01", orderLinkId="a-1")
        process.send_signal(signal.SIGTERM)
        process.wait(10)

    http.client.close()
    assert before["position"]["size"] == "0.01"
    assert [o["orderLinkId"] for o in before["open"]] == ["a-2", ""]
    assert after == before
    assert failure.value.status_code == 110072
    assert process.returncode == 0


async def test_whatever_was_acknowledged_survives_a_kill_at_any_moment(
    tmp_path: Path, free_port: int
) -> None:
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "paper.db"
    chance, acknowledged = random.Random(3), set[str]()

    def trade(life: int, worker: int) -> None:
        """Place orders until the exchange is gone."""
        http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
        http.endpoint = url
        order: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT", "qty": "0.001"}
        for number in range(10_000):
            link, side = f"{life}-{worker}-{number}", "Buy" if number % 2 else "Sell"
            try:
                http.place_order(**order, side=side, orderType="Market", orderLinkId=link)
            except (FailedRequestError, requests.RequestException):
                break
            acknowledged.add(link)
        http.client.close()

    for life in range(4):
        with served(free_port, state) as process:
            await ready(url)
            workers = [asyncio.create_task(asyncio.to_thread(trade, life, w)) for w in range(4)]
            before = len(acknowledged)
            # Whatever it is doing then
            await eventually(lambda: len(acknowledged) > before + chance.randrange(5, 80))  # noqa: B023
            process.kill()
            await asyncio.gather(*workers)

    with served(free_port, state) as process:
        await ready(url)
        orders, executions, books = [
            (await asyncio.to_thread(requests.get, f"{url}/paper/{name}", timeout=30)).json()
            for name in ("orders", "executions", "ledger")
        ]

    known = [row["orderLinkId"] for row in orders["list"]]
    assert acknowledged <= set(known)
    assert len(known) == len(set(known))
    ids = [row["execId"] for row in executions["list"]]
    assert len(ids) == len(set(ids)) == books["executions"]
    assert books["balanced"]


def account(http: pybit.HTTP) -> dict[str, Any]:
    """Return what does not move with the market."""

    def rows(method: Callable[..., Any], **params: Any) -> list[dict[str, Any]]:
        return list(method(category="linear", **params)["result"]["list"])

    (position,) = rows(http.get_positions, symbol="BTCUSDT")
    (other,) = rows(http.get_positions, symbol="ETHUSDT")
    kept = ("side", "size", "avgPrice", "stopLoss", "cumRealisedPnl", "seq", "createdTime")
    wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    return {
        "position": {name: position[name] for name in kept},
        "leverage": other["leverage"],
        "open": rows(http.get_open_orders, symbol="BTCUSDT"),
        "history": rows(http.get_order_history),
        "executions": rows(http.get_executions),
        "wallet": wallet["totalWalletBalance"],
    }


async def test_a_killed_lockstep_trades_as_one_that_was_never_killed(
    tmp_path: Path, free_port: int
) -> None:
    kills = frozenset({5, 11, 23, 38})
    quiet = await asyncio.to_thread(lockstep_run, tmp_path / "quiet.db", free_port, frozenset())
    killed = await asyncio.to_thread(lockstep_run, tmp_path / "killed.db", free_port, kills)

    assert len(quiet) > 4
    assert killed == quiet


LOCKSTEP = """
import sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
sys.exit(serve(PaperSettings(
    port=int(sys.argv[1]), state=Path(sys.argv[2]), speed="lockstep",
    history=20, steps=15, symbols=("ETHUSDT",), seed=5,
)))
"""


class Restarting:
    """An exchange in a process of its own that is started again whenever it is dead."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process = self._start()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def until_answered(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + 60
        while True:
            try:
                return ask()
            except requests.RequestException:
                if time.monotonic() > deadline:
                    raise
                if self._process.poll() is not None:
                    self._process = self._start()
                time.sleep(0.01)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, env=os.environ | KEYS)


def lockstep_run(state: Path, port: int, kills: frozenset[int]) -> list[dict[str, Any]]:
    """Trade at each settle barrier; kill the exchange at those in *kills*; return executions."""
    url = f"http://127.0.0.1:{port}"
    process = Restarting([sys.executable, "-c", LOCKSTEP, str(port), str(state)])
    http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
    http.endpoint = url

    def ask(method: str, path: str, **parts: Any) -> dict[str, Any]:
        answer = process.until_answered(
            lambda: requests.request(method, f"{url}/paper/{path}", timeout=30, **parts)
        )
        return dict(answer.json())

    def trade(at_ms: int) -> None:
        (row,) = http.get_tickers(category="linear", symbol="ETHUSDT")["result"]["list"]
        sign = 1 if at_ms // 60_000 % 2 else -1
        stop = round(float(row["lastPrice"]) - 2 * sign, 2)
        with suppress(InvalidRequestError):  # sent before the kill: its link is taken
            http.place_order(
                category="linear",
                symbol="ETHUSDT",
                side="Buy" if sign > 0 else "Sell",
                orderType="Market",
                qty="1",
                stopLoss=str(stop),
                orderLinkId=f"at-{at_ms}",
            )

    with process:
        ask("POST", "subscribers", json={"name": "main", "role": "account"})
        ask("POST", "start")
        barrier = -1
        while True:
            turn = ask("GET", "turn", params={"name": "main", "after": barrier})
            if not turn["waiting"]:
                break
            barrier = turn["barrier"]
            if barrier % 3 == 2:
                process.until_answered(partial(trade, turn["at_ms"]))
            if barrier in kills:
                process.kill()
            ask("POST", "done", json={"name": "main", "barrier": barrier})
        assert ask("GET", "ledger")["balanced"]
        executions: list[dict[str, Any]] = ask("GET", "executions")["list"]
    http.client.close()
    return executions
