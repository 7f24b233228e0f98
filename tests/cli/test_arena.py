"""In how many places a worker's threads find memory."""

import os
import platform
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tradewright.cli import arena

THREADS = 12
PROBE = f"""
import ctypes, sys, threading
from tradewright.cli import arena

if sys.argv[1] == "few":
    assert arena.few()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier({THREADS})

def work():
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fopen.restype = libc.fdopen.restype = ctypes.c_void_p
stream = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(stream))
libc.fflush(ctypes.c_void_p(stream))
"""

on_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library shares out memory its own way"
)


def arenas(how: str) -> int:
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, how],
        env=environment,
        capture_output=True,
        check=True,
    )
    return len(ET.fromstring(done.stdout).findall("heap"))


@on_glibc
def test_threads_share_few_arenas() -> None:
    assert arenas("few") == arena.MOST < arenas("as usual")


def test_what_an_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")

    assert not arena.few()
