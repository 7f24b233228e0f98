"""A stormy day with a killed exchange: several accounts trade, and keep what was acknowledged."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.paper.conftest import KEY, SECRET, eventually
from tests.paper.process import KEYS, ready
from tests.paper.signature import signed

STORM = Path(__file__).parents[2] / "deploy/paper/stormy-day.yaml"
PROGRAM = """
import sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
faults = Path(sys.argv[3]) if sys.argv[3:] else None
state = Path(sys.argv[2])
sys.exit(serve(PaperSettings(port=int(sys.argv[1]), state=state, faults=faults, history=60)))
"""
ACCOUNTS = ("main", "ann", "bob")


@contextmanager
def served(port: int, state: Path, *faults: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM, str(port), str(state), *map(str, faults)]
    with subprocess.Popen(command, env=os.environ | KEYS) as process:
        try:
            yield process
        finally:
            process.kill()


class Trader:
    """Places, amends and cancels by chance, and remembers what it was told."""

    def __init__(self, url: str, name: str, key: str, secret: str, seed: int) -> None:
        self.name = name
        self.told: dict[str, dict[str, str]] = {}
        """By order link, what must be found of the order: nothing, while that is not known."""
        self._url = url
        self._key, self._secret = key, secret
        self._chance = random.Random(f"{name}{seed}")
        self._resting: list[str] = []
        self._session = requests.Session()

    def trade(self, life: int) -> None:
        """Go on until the exchange is gone."""
        number = 0
        while True:
            number += 1
            try:
                self._act(f"{life}-{number}-e{self._chance.randrange(10**6)}")
            except (requests.ConnectionError, requests.ReadTimeout):
                # A reset is a fault that passes
                try:
                    self._session.get(f"{self._url}/v5/market/time", timeout=30)
                except requests.RequestException:
                    self._session.close()
                    return

    def _act(self, link: str) -> None:
        wish = self._chance.random()
        if wish < 0.3 and self._resting:
            known = self._chance.choice(self._resting)
            self.told[known] = {}
            if wish < 0.15:
                self._resting.remove(known)
                if self._say("cancel", orderLinkId=known):
                    self.told[known] = {"orderStatus": "Cancelled"}
            else:
                price = str(self._chance.randrange(2000, 2900))
                if self._say("amend", orderLinkId=known, price=price):
                    self.told[known] = {"orderStatus": "New", "price": price}
            return
        side = self._chance.choice(("Buy", "Sell"))
        if wish < 0.65:
            order = {"side": side, "orderType": "Market"}
            if self._say("create", qty="0.01", orderLinkId=link, **order):
                self.told[link] = {}
        else:
            order = {"side": "Buy", "orderType": "Limit", "price": "2000"}
            if self._say("create", qty="0.01", orderLinkId=link, **order):
                self._resting.append(link)
                self.told[link] = {"orderStatus": "New", "price": "2000"}

    def _say(self, verb: str, **fields: str) -> bool:
        body = json.dumps({"category": "linear", "symbol": "BTCUSDT"} | fields)
        answer = self._session.post(
            f"{self._url}/v5/order/{verb}",
            body,
            headers=signed(body, key=self._key, secret=self._secret),
            timeout=30,
        )
        try:
            return bool(answer.json()["retCode"] == 0)
        except ValueError:
            return False


@pytest.mark.parametrize("seed", [int(os.environ.get("FUZZ_SEED", "1"))])
async def test_a_storm_and_a_kill_lose_nothing_that_was_acknowledged(
    tmp_path: Path, free_port: int, seed: int
) -> None:
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "paper.db"
    chance, keys = random.Random(seed), {"main": (KEY, SECRET)}
    lives = int(os.environ.get("FUZZ_LIVES", "1"))
    traders: list[Trader] = []

    for life in range(lives):
        with served(free_port, state, STORM) as process:
            await ready(url)
            for name in () if life else ACCOUNTS[1:]:
                made = await asyncio.to_thread(
                    requests.post, f"{url}/paper/keys", json={"account": name}, timeout=30
                )
                keys[name] = (made.json()["key"], made.json()["secret"])
            if not life:
                traders += [Trader(url, n, *keys[n], seed + 7 * i) for n in keys for i in range(3)]
            working = [asyncio.create_task(asyncio.to_thread(t.trade, life)) for t in traders]
            enough = acknowledged(traders) + chance.randrange(20, 60)
            await eventually(lambda: acknowledged(traders) > enough, timeout_s=60)  # noqa: B023
            process.kill()
            await asyncio.gather(*working)

    with served(free_port, state) as process:
        await ready(url)
        books = await asyncio.to_thread(read, url, "ledger?account=all")
        rows = {n: await asyncio.to_thread(read, url, f"orders?account={n}") for n in ACCOUNTS}
        executions = await asyncio.to_thread(read, url, "executions")
    for name in ACCOUNTS:
        known = {row["orderLinkId"]: row for row in rows[name]["list"]}
        told = {link: facts for t in traders if t.name == name for link, facts in t.told.items()}
        assert len(known) == len(rows[name]["list"])
        assert told.keys() <= known.keys()
        assert [link for link in told if not told[link].items() <= known[link].items()] == []
    ids = [row["execId"] for row in executions["list"]]
    assert len(ids) == len(set(ids)) > 0
    assert books["accounts"].keys() == set(ACCOUNTS)
    assert books["balanced"]


def read(url: str, name: str) -> dict[str, Any]:
    return dict(requests.get(f"{url}/paper/{name}", timeout=10).json())


def acknowledged(traders: list[Trader]) -> int:
    return sum(len(t.told) for t in traders)
