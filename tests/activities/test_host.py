"""Foreign strategies may do what they want: it is their process alone that bears it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from activities.host import GuestFailed, Host, RemoteStrategy, loaded_apart
from activities.presets_folder import FolderEye, FolderSight
from activities.strategist import Strategist, StrategyFailed
from tradewright import plugin, testing
from tradewright.domain.market import Side
from tradewright.plugin import Evaluation, View
from tradewright.preset import LoadedPreset, PresetInvalid, outlined

PLUGIN = """
import ctypes, os, subprocess, sys, time
from tradewright import plugin
from tradewright.domain.market import Side
from tradewright.domain.signal import Signal
from tradewright.plugin import Evaluation, Needs

if os.environ.get("FOREIGN_EXITS"):
    os._exit(7)

class Foreign:
    version = "3"
    factor_names = frozenset({"atr"})
    says_exits = False
    knows_degraded = True

    class Params(plugin.Params):
        deed: str = "signal"

    def __init__(self, params):
        self.deed, self.needs = params.deed, Needs(candles=20)
        if self.deed == "exit at once":
            os._exit(9)
        if self.deed == "leave at once":
            os._exit(0)
        if self.deed == "chatter":
            os.write(1, b"not json")
        if self.deed == "start another":
            told = open(os.environ["PYTHONPATH"] + "/started", "w")
            told.write(str(subprocess.Popen(["sleep", "60"]).pid))
            told.close()

    def evaluate(self, view):
        factors = {"atr": float(view.candles.close[-1]), "rows": float(len(view.candles))}
        match self.deed:
            case "raise":
                raise ZeroDivisionError("volume is zero")
            case "hang":
                while True:
                    time.sleep(0.01)
            case "exit":
                os._exit(3)
            case "leave":
                sys.exit("enough")
            case "crash":
                ctypes.string_at(0)
            case "leak":
                held = [bytearray(1 << 24) for _ in range(1 << 12)]
            case "nonsense":
                return "buy!"
            case "chatter":
                print("x" * 100_000)
                os.write(1, b"not json")
            case "secret":
                factors["secrets"] = float(sum("VAULT" in name for name in os.environ))
            case "scribble":
                view.candles.close[-1] = 1.0
            case "endless":
                factors = {f"factor{n}": 1.0 for n in range(70_000)}
        signal = Signal(side=Side.BUY, reason="it was told to", factors=factors)
        return Evaluation(signal=signal, factors=factors | {"degraded": float(view.degraded)})

    def follow(self):
        outer = self

        class Follower:
            rows = 0

            def evaluate(self, view):
                self.rows += 1
                if self.rows == 4:
                    raise ZeroDivisionError("half way")
                answer = outer.evaluate(view)
                return answer.model_copy(update={"factors": {"followed": float(self.rows)}})

        return Follower() if self.deed == "follow" else outer

    def on_book(self, view, book):
        return Evaluation(factors={"imbalance": book.imbalance, "close": view.candles.close[-1]})
"""
PRESET = """\
version: 1
name: foreign
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy: {plugin: foreign_test, params: {deed: DEED}}
entry: {type: market, expires_after: 30s}
exits: {stop: {indicator: atr, times: 1}}
risk: {sizing: fixed_notional, notional: 500}
"""
MARKET = testing.Market()
ROOM = 400 << 20


def document(deed: str = "signal") -> str:
    return PRESET.replace("DEED", deed)


def view_of(loaded: LoadedPreset, number: int = 0) -> View:
    return MARKET.view(loaded.strategy.needs, number)


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install a distribution that is not ours, for this process and its children."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "foreign_test_plugin.py").write_text(PLUGIN)
    info = folder / "foreign_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-test\nVersion: 1.0\n")
    entry = f"[{plugin.ENTRY_POINT_GROUP}]\nforeign_test = foreign_test_plugin:Foreign\n"
    (info / "entry_points.txt").write_text(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("TRADEWRIGHT_VAULT__TOKEN", "hvs.secret")
        yield


@pytest.fixture(scope="module")
async def host() -> AsyncIterator[Host]:
    host = Host(most_bytes=ROOM)
    yield host
    await host.close()


async def loaded_by(host: Host, deed: str = "signal") -> LoadedPreset:
    return await host.load(outlined(document(deed)), document(deed))


async def asked(host: Host, deed: str) -> Evaluation:
    loaded = await loaded_by(host, deed)
    return await host.evaluate(loaded, view_of(loaded))


async def test_a_foreign_strategy_answers_from_its_own_process(host: Host) -> None:
    loaded = await loaded_by(host)
    view = view_of(loaded, 7)

    answer = await host.evaluate(loaded, view)

    assert answer.signal is not None
    assert answer.signal.side is Side.BUY
    assert answer.factors["atr"] == view.candles.close[-1]
    assert answer.factors["rows"] == len(view.candles)
    assert isinstance(loaded.strategy, RemoteStrategy)
    assert loaded.strategy.needs.candles == 20
    assert loaded.strategy.factor_names == {"atr"}
    assert (loaded.strategy.says_exits, loaded.strategy.knows_degraded) == (False, True)


async def test_the_worker_never_imports_it() -> None:
    strategist = Strategist()

    loaded = await strategist.load(document())
    answer = await strategist.ask(loaded, view_of(loaded))
    await strategist.close()

    assert answer.signal is not None
    assert "foreign_test_plugin" not in sys.modules


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("raise", "ZeroDivisionError: volume is zero"),
        ("nonsense", "its answer is no Evaluation but str"),
        ("leave", "SystemExit: enough"),
        ("scribble", "read-only"),
        ("endless", "bytes"),
        ("exit", "its process ended with code 3"),
        ("crash", "its process ended with code -11"),
        ("leak", "MemoryError"),
    ],
)
async def test_whatever_it_does_the_next_one_is_answered(host: Host, deed: str, told: str) -> None:
    with pytest.raises(GuestFailed, match=told):
        await asked(host, deed)

    assert (await asked(host, "signal")).signal is not None


async def test_one_that_hangs_is_killed_with_its_process() -> None:
    host = Host(within=1.0)
    loaded = await loaded_by(host, "hang")
    process = host._process
    assert process is not None

    with pytest.raises(GuestFailed, match=r"it did not answer within 1 s; mend it"):
        await host.evaluate(loaded, view_of(loaded))

    assert not psutil.pid_exists(process.pid)
    assert (await asked(host, "signal")).signal is not None
    await host.close()


async def test_those_who_wait_behind_one_that_hangs_are_answered() -> None:
    host = Host(within=1.0)
    hanging, sound = await loaded_by(host, "hang"), await loaded_by(host)

    ends = await asyncio.gather(
        host.evaluate(hanging, view_of(hanging)),
        *(host.evaluate(sound, view_of(sound, number)) for number in range(3)),
        return_exceptions=True,
    )
    await host.close()

    assert [isinstance(end, Evaluation) for end in ends] == [False, True, True, True]


async def test_one_who_stops_waiting_leaves_no_answer_for_the_next(host: Host) -> None:
    hanging = await loaded_by(host, "hang")
    asking = asyncio.create_task(host.evaluate(hanging, view_of(hanging)))
    # It comes as far as to wait for the answer
    await asyncio.sleep(0)
    assert not asking.done()

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert (await asked(host, "signal")).factors["rows"] > 0


async def test_it_has_neither_our_secrets_nor_our_output(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    assert os.environ["TRADEWRIGHT_VAULT__TOKEN"]

    assert (await asked(host, "secret")).factors["secrets"] == 0
    assert (await asked(host, "chatter")).signal is not None
    assert "xxx" not in capfd.readouterr().out


async def test_its_follower_lives_as_long_as_its_process(host: Host) -> None:
    loaded = await loaded_by(host, "follow")

    rows = [(await host.evaluate(loaded, view_of(loaded, number))).factors for number in range(3)]
    degraded = await host.evaluate(loaded, view_of(loaded, 3).degraded_view())
    await host.close()
    again = await host.evaluate(loaded, view_of(loaded, 4))

    assert rows == [{"followed": 1.0}, {"followed": 2.0}, {"followed": 3.0}]
    assert degraded.factors["degraded"] == 1.0
    assert again.factors == {"followed": 1.0}


async def test_a_follower_that_failed_half_way_is_not_followed_any_further(host: Host) -> None:
    loaded = await loaded_by(host, "follow")
    await host.close()
    for number in range(3):
        await host.evaluate(loaded, view_of(loaded, number))

    with pytest.raises(GuestFailed, match="half way"):
        await host.evaluate(loaded, view_of(loaded, 3))

    assert (await host.evaluate(loaded, view_of(loaded, 4))).factors == {"followed": 1.0}


def test_what_a_document_starts_while_it_is_loaded_ends_with_it() -> None:
    assert "declared" in loaded_apart(document("start another"))

    started = int(Path(os.environ["PYTHONPATH"], "started").read_text())
    left = [process for process in psutil.process_iter() if process.pid == started]
    _, left = psutil.wait_procs(left, 3)
    # Where nobody reaps what has no parent it stays a zombie
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in left)


async def test_books_are_read_with_the_view_that_was_shown_last(host: Host) -> None:
    loaded = await loaded_by(host)
    views, books = [view_of(loaded, n) for n in (0, 1)], [testing.make_book(n) for n in range(3)]

    answers = [await host.on_book(loaded, view, book) for view in views for book in books]

    assert [a.factors["imbalance"] for a in answers] == [b.imbalance for b in books] * 2
    closes = [float(view.candles.close[-1]) for view in views]
    assert [a.factors["close"] for a in answers] == [closes[0]] * 3 + [closes[1]] * 3


async def test_what_cannot_be_loaded_is_told_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strategist = Strategist()
    monkeypatch.setattr("activities.host.LET_THROUGH", ("PYTHONPATH", "PATH", "FOREIGN_EXITS"))
    monkeypatch.setenv("FOREIGN_EXITS", "1")

    with pytest.raises(StrategyFailed, match="the strategy failed: its process ended with code 7"):
        await strategist.load(document())
    monkeypatch.delenv("FOREIGN_EXITS")
    with pytest.raises(StrategyFailed, match="ended with code 9"):
        await strategist.load(document("exit at once"))
    with pytest.raises(StrategyFailed, match=r"PresetInvalid: .*deed"):
        await strategist.load(document("[1]"))
    with pytest.raises(PresetInvalid):
        await strategist.load(document().replace("mode: trade", "") + "nonsense: 1\n")
    loaded = await strategist.load(document())
    await strategist.close()

    assert loaded.hash


def test_a_document_is_loaded_apart_before_anybody_trusts_it(tmp_path: Path) -> None:
    assert loaded_apart(document("chatter"))["declared"]["name"] == "foreign"
    assert loaded_apart("nonsense")["faults"]
    with pytest.raises(GuestFailed, match="its process ended with code 9"):
        loaded_apart(document("exit at once"))
    with pytest.raises(GuestFailed, match="its process ended with code 0"):
        loaded_apart(document("leave at once"))
    with pytest.raises(GuestFailed, match=r"it was not loaded within 0\.001 s"):
        loaded_apart(document(), within=0.001)

    (tmp_path / "one.yaml").write_text(document("exit at once"))
    sight = seen_in(tmp_path)

    ((fault,),) = sight.faults.values()
    assert fault.message.startswith("strategy plugin 'foreign_test' cannot be loaded: its process")
    assert (fault.line, sight.declared) == (5, {})


def test_who_watches_the_presets_never_imports_a_foreign_strategy(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(document())
    (tmp_path / "two.yaml").write_text(document("[1]").replace("name: foreign", "name: other"))
    (tmp_path / "three.yaml").write_text(document().replace("notional: 500", "notionall: 500"))

    sight = seen_in(tmp_path)

    ((declared, loaded),) = sight.declared.values()
    (wrong_deed,) = sight.faults["two.yaml"]
    assert "foreign_test_plugin" not in sys.modules
    assert (declared.file, loaded.hash) == ("one.yaml", declared.preset_hash)
    assert loaded.strategy.factor_names == {"atr"}
    assert (wrong_deed.path, wrong_deed.file, wrong_deed.line) == (
        "strategy.params.deed",
        "two.yaml",
        5,
    )
    assert "risk.notionall" in [fault.path for fault in sight.faults["three.yaml"]]


def seen_in(folder: Path) -> FolderSight:
    """Return what a folder says once it has settled."""
    eye = FolderEye(folder, "main")
    for now in range(5):
        sight = eye.look(float(now))
    return sight


async def test_the_process_ends_with_the_worker_even_while_a_strategy_hangs(
    tmp_path: Path,
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import asyncio, os\n"
        "from activities.host import Host\n"
        "from tradewright import testing\n"
        "from tradewright.preset import outlined\n"
        f"TEXT = {document('hang')!r}\n"
        "async def main():\n"
        "    host = Host(within=60)\n"
        "    loaded = await host.load(outlined(TEXT), TEXT)\n"
        "    view = testing.Market().view(loaded.strategy.needs, 0)\n"
        "    asyncio.create_task(host.evaluate(loaded, view))\n"
        "    await asyncio.sleep(0.2)\n"
        "    print('pid', host._process.pid, flush=True)\n"
        "    os._exit(1)\n"
        "asyncio.run(main())\n"
    )
    run = await asyncio.create_subprocess_exec(
        sys.executable, str(worker), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    out, _ = await run.communicate()

    process = psutil.Process(int(out.split()[-1]))
    gone, _ = await asyncio.to_thread(psutil.wait_procs, [process], 10)

    assert gone or process.status() == psutil.STATUS_ZOMBIE


def test_the_failures_of_a_strategy_name_no_secret() -> None:
    failure: Any = StrategyFailed("foreign", "x" * 1000)

    assert len(str(failure)) == 500
