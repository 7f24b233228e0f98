"""Children of a supervisor: real processes, really killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tradewright.app.process import ChildProcess, ProcessNotReady, ProcessSpec, running
from tradewright.app.supervisor import Backoff, Supervisor

# The children write a line to their log when they are up, and one when they are asked to end
POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("asked", flush=True), sys.exit(0)))
print("up", flush=True)
while True: signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()
"""
PARENT = f"""
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", {STUBBORN!r}])
signal.pause()
"""
QUICK = Backoff(first=0.01, longest=0.05)


def child(tmp_path: Path, name: str, code: str = POLITE, **changes: Any) -> ProcessSpec:
    log = tmp_path / f"{name}.log"

    async def ready() -> bool:
        return "up" in log.read_text()

    fields: dict[str, Any] = {
        "name": name,
        "argv": (sys.executable, "-u", "-c", code),
        "log": log,
        "ready": ready,
        "ready_within": 20,
        "grace": 5,
    }
    return ProcessSpec(**fields | changes)


async def until(condition: Callable[[], bool], *, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 other processes set no event of ours
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_child_is_ready_when_start_returns(tmp_path: Path) -> None:
    async with running(child(tmp_path, "a")) as process:
        assert "up" in (tmp_path / "a.log").read_text()
        assert process.returncode is None

    assert process.returncode == 0
    assert "asked" in (tmp_path / "a.log").read_text()


async def test_a_child_that_ends_at_once_is_reported_with_the_tail_of_its_log(
    tmp_path: Path,
) -> None:
    spec = child(tmp_path, "a", "raise SystemExit('no such coin')")

    with pytest.raises(ProcessNotReady, match=r"exit code 1(.|\n)*no such coin"):
        await ChildProcess.start(spec)


async def test_a_child_that_stays_silent_is_killed_at_its_deadline(tmp_path: Path) -> None:
    silent = STUBBORN.replace("up", "still thinking")
    spec = child(tmp_path, "a", silent, ready_within=0.5)

    with pytest.raises(ProcessNotReady, match=r"no answer within 0.5 s"):
        await ChildProcess.start(spec)

    assert not [p for p in psutil.Process().children() if "still thinking" in p.cmdline()[-1]]


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    spec = child(tmp_path, "a", argv=("/no/such/program",))

    with pytest.raises(ProcessNotReady, match="No such file"):
        await ChildProcess.start(spec)


async def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    process = await ChildProcess.start(child(tmp_path, "a", STUBBORN))

    assert await process.stop(grace=0.1) == -signal.SIGKILL


async def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    process = await ChildProcess.start(child(tmp_path, "a", PARENT))
    [grandchild] = psutil.Process(process.pid).children()

    await process.stop(grace=0.1)

    assert process.returncode == -signal.SIGTERM
    await until(lambda: is_gone(grandchild.pid))


async def test_the_environment_reaches_the_child_and_never_the_repr(tmp_path: Path) -> None:
    spec = child(
        tmp_path, "a", "import os; print(os.environ['KEY']);" + POLITE, env={"KEY": "s3cr3t"}
    )

    async with running(spec):
        pass

    assert "s3cr3t" in (tmp_path / "a.log").read_text()
    assert "s3cr3t" not in repr(spec)


async def test_children_are_stopped_last_first(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = POLITE.replace('print("asked", flush=True)', "open('{}', 'a').write('{}')")

    async with Supervisor() as supervisor:
        for name in "abc":
            await supervisor.start(child(tmp_path, name, code.format(ended, name)))

    assert ended.read_text() == "cba"


async def test_a_crashed_child_is_started_again_and_seeded_again(tmp_path: Path) -> None:
    seeds, told = list[int](), list[str]()

    async def seed() -> None:
        seeds.append(1)

    async with Supervisor(backoff=QUICK, tell=told.append) as supervisor:
        first = await supervisor.start(child(tmp_path, "a", seed=seed))
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: supervisor.child("a").pid != first.pid)

        assert supervisor.child("a").returncode is None
        assert len(seeds) == 2
        assert told == ["a ended (exit code -9); started again"]


async def test_a_child_that_is_not_to_be_restarted_stays_down(tmp_path: Path) -> None:
    async with Supervisor(backoff=QUICK) as supervisor:
        once = await supervisor.start(child(tmp_path, "a", restart=False))
        os.kill(once.pid, signal.SIGKILL)
        await until(lambda: once.returncode is not None)
        other = await supervisor.start(child(tmp_path, "b"))

        assert supervisor.child("a") is once
        assert other.returncode is None


async def test_a_failed_start_stops_what_was_started_before(tmp_path: Path) -> None:
    started = []

    async def system() -> None:
        async with Supervisor() as supervisor:
            started.append(await supervisor.start(child(tmp_path, "a")))
            await supervisor.start(child(tmp_path, "b", "raise SystemExit(1)"))

    with pytest.raises(ProcessNotReady):
        await system()

    assert [process.returncode for process in started] == [0]


def test_restarts_are_spaced_wider_and_wider() -> None:
    pauses = Backoff(first=1, longest=5).pauses()

    assert [next(pauses) for _ in range(5)] == [1, 2, 4, 5, 5]


# A supervisor in a process of its own, as `tradewright up` is one
SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_supervisor import POLITE, STUBBORN, child
from tradewright import telemetry
from tradewright.app.supervisor import Interrupted, Supervisor

telemetry.configure("supervisor")

async def main():
    folder = Path({folder!r})
    async with Supervisor() as supervisor:
        for name, code in (("a", POLITE), ("b", {code})):
            process = await supervisor.start(child(folder, name, code, grace={grace}))
            print(process.pid, flush=True)
        print("all", flush=True)
        {block}

try:
    asyncio.run(main())
except Interrupted as e:
    sys.exit(e.exit_code)
"""


class Outside:
    """A supervisor in another process, and the children that it reports."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.children: list[int] = []

    async def up(self) -> None:
        assert self.process.stdout
        while (line := await self.process.stdout.readline()) != b"all\n":
            self.children.append(int(line))

    async def says(self, word: str) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            if word in line.decode():
                return
        raise AssertionError(f"the supervisor ended without a word of {word}")

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


Start = Callable[..., Awaitable[Outside]]


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[Outside] = []

    async def start(
        code: str = "POLITE", grace: float = 5, block: str = "await supervisor.until_interrupted()"
    ) -> Outside:
        here = [str(Path(__file__).parent)]
        script = SUPERVISOR.format(
            path=here, folder=str(tmp_path), code=code, grace=grace, block=block
        )
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=pipe, stderr=pipe
        )
        started.append(Outside(process))
        await started[-1].up()
        return started[-1]

    yield start
    for one in started:
        if one.process.returncode is None:
            one.process.kill()
            await one.process.communicate()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_stops_every_child(outside: Start, signum: int, code: int) -> None:
    supervisor = await outside()

    supervisor.process.send_signal(signum)

    assert await supervisor.ended() == code
    assert all(is_gone(pid) for pid in supervisor.children)


async def test_a_second_ctrl_c_does_not_wait_for_grace(outside: Start) -> None:
    supervisor = await outside(code="STUBBORN", grace=60)

    supervisor.process.send_signal(signal.SIGINT)
    await supervisor.says("interrupted")
    supervisor.process.send_signal(signal.SIGINT)

    assert await supervisor.ended() == 130
    assert all(is_gone(pid) for pid in supervisor.children)


async def test_a_killed_supervisor_leaves_nobody_behind(outside: Start) -> None:
    supervisor = await outside(code="STUBBORN")

    supervisor.process.kill()
    await supervisor.ended()

    await until(lambda: all(is_gone(pid) for pid in supervisor.children))


async def test_an_error_in_the_block_stops_every_child(outside: Start) -> None:
    supervisor = await outside(block="raise ValueError('broken')")

    assert await supervisor.ended() == 1
    assert all(is_gone(pid) for pid in supervisor.children)
