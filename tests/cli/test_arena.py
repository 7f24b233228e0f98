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

KEPT = """
import ctypes, os, sys
from tradewright.cli import arena

if sys.argv[1] == "give back":
    assert arena.give_back()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def passing(size, count):
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        libc.memset(ctypes.c_void_p(block), 1, size)
    for block in reversed(blocks):
        libc.free(ctypes.c_void_p(block))

passing(16 << 20, 1)
before = held()
passing(60_000, 300)
print(held() - before)
"""

on_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library shares out memory its own way"
)


def told(probe: str, how: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", probe, how],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def arenas(how: str) -> int:
    return len(ET.fromstring(told(PROBE, how)).findall("heap"))


@on_glibc
def test_threads_share_few_arenas() -> None:
    assert arenas("few") == arena.MOST < arenas("as usual")


@on_glibc
def test_what_is_free_again_goes_back() -> None:
    assert int(told(KEPT, "give back")) < 2_000_000 < 10_000_000 < int(told(KEPT, "as usual"))


def test_what_an_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "4000000")

    assert not arena.few()
    assert not arena.give_back()
