"""The fuzz tests for as long as one likes: ``python -m tests.paper.fuzz MINUTES [SEED]``.

An exchange whose market runs a thousand times as fast takes requests, noise and frames from
several visitors at once, is then read back from its state, and so on with the next seed.
"""

import asyncio
import json
import random
import sys
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.paper import mischief
from tests.paper.conftest import KEY, SECRET, signed_auth
from tests.paper.test_fuzz_state import spoilt_states
from tests.paper.test_fuzz_stream import GOOD_CLOSES, PATHS, tell
from tests.paper.visitor import Visitor, sound
from tradewright.paper import PaperExchange, PaperSettings
from tradewright.paper.keys import ApiKey

ROUND_S = 20
BTC = "BTCUSDT"
ACCOUNTS = {"rich": 10**9, "middling": 5_000, "poor": 300}


def settings_of(state: Path, seed: int) -> PaperSettings:
    return PaperSettings(
        port=0,
        api_key=KEY,
        api_secret=SecretStr(SECRET),
        state=state,
        speed=(1, 60, 1000)[seed % 3],
        history=60,
        seed=seed,
        symbols=(BTC, "ETHUSDT"),
        rate_limits="off",
        check_ledger=True,
        read_lag_ms=(0, 200)[seed % 2],
    )


def visit(paper: PaperExchange, seed: int, until_s: float) -> Counter[int]:
    chance = random.Random(seed)
    keys = [(KEY, SECRET), *((f"{name}-key", SECRET) for name in ACCOUNTS)]
    with closing(Visitor(paper.port, keys)) as visitor:
        while time.monotonic() < until_s:
            price = float(paper.exchange.engine.last[BTC])
            visitor.ask(mischief.request(chance, price, visitor.links), chance)
            if chance.random() < 0.02:
                visitor.disturb(chance)
    return visitor.codes


async def babble(paper: PaperExchange, seed: int, until_s: float) -> Counter[int]:
    chance, ends = random.Random(seed), Counter[int]()
    while time.monotonic() < until_s:
        url = f"{paper.stream_url}/{chance.choice(PATHS)}"
        end = await tell(url, [mischief.frame(chance) for _ in range(50)])
        assert end == 0 or end in GOOD_CLOSES, (end, url)
        ends[end] += 1
    return ends


async def follow(paper: PaperExchange, heard: Counter[str]) -> None:
    """Read the private stream, which must tell nothing but JSON."""
    async with connect(f"{paper.stream_url}/private", proxy=None) as socket:
        await socket.send(json.dumps(signed_auth()))
        topics = ["order", "execution", "position", "wallet"]
        await socket.send(json.dumps({"op": "subscribe", "args": topics}))
        with suppress(ConnectionClosed):
            async for text in socket:
                heard[json.loads(text).get("topic", "")] += 1


async def one_round(folder: Path, seed: int, seconds: float) -> str:
    """Return what happened, in words."""
    state = folder / f"{seed}.db"
    until_s = time.monotonic() + seconds
    heard = Counter[str]()
    async with sound(settings_of(state, seed)) as paper:
        for number, (name, cash) in enumerate(ACCOUNTS.items()):
            paper.exchange.open_account(name, Decimal(cash))
            paper.door.ring.add(ApiKey(f"{name}-key", SECRET, account=name, uid=100_002 + number))
        following = asyncio.create_task(follow(paper, heard))
        visits = [asyncio.to_thread(visit, paper, seed * 10 + n, until_s) for n in range(3)]
        *codes, ends = await asyncio.gather(*visits, babble(paper, seed, until_s))
        following.cancel()
        await asyncio.wait([following])
    served = spoilt_states(settings_of(state, seed), random.Random(seed), 30)
    common = ", ".join(f"{code}: {n}" for code, n in sum(codes, Counter()).most_common(12))
    return (
        f"requests by retCode ({common}), streams by the code that ended them (0: none) "
        f"{dict(ends)}, told {dict(heard)}, spoilt states that served {served} of 30"
    )


def main(minutes: float, seed: int) -> int:
    end_s, failures = time.monotonic() + minutes * 60, 0
    while time.monotonic() < end_s:
        with TemporaryDirectory() as folder:
            try:
                told = asyncio.run(one_round(Path(folder), seed, ROUND_S))
            except Exception:
                failures += 1
                told = "FAILED\n" + traceback.format_exc()
        sys.stdout.write(f"seed {seed}: {told}\n")
        sys.stdout.flush()
        seed += 1
    return min(failures, 1)


if __name__ == "__main__":
    given = sys.argv[1:]
    first_seed = int(given[1]) if len(given) > 1 else time.time_ns() % 10**6
    sys.exit(main(float(given[0]) if given else 5, first_seed))
