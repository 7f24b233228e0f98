"""An exchange in a process of its own, to be killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.paper.conftest import KEY, SECRET, eventually

PROGRAM = """
import os, sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
sys.exit(serve(PaperSettings(port=int(sys.argv[1]), state=Path(sys.argv[2]), speed=1, history=100)))
"""
KEYS = {
    "TRADEWRIGHT_PAPER_API_KEY": KEY,
    "TRADEWRIGHT_PAPER_API_SECRET": SECRET,
    "TRADEWRIGHT_PAPER_RATE_LIMITS": "off",
}


@contextmanager
def served(port: int, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM, str(port), str(state)]
    with subprocess.Popen(command, env=os.environ | KEYS) as process:
        try:
            yield process
        finally:
            process.kill()


async def ready(url: str) -> None:
    def answers() -> bool:
        try:
            return requests.get(f"{url}/v5/market/time", timeout=1).status_code == 200
        except requests.RequestException:
            return False

    await eventually(answers, timeout_s=30)
