"""The six strategies that ship, on a recorded and on a generated market, edited and struck.

``python -m bench.six_strategies recorded [FROM TO [LATE…]]``, ``… generated [CANDLES] [SEED]`` or
``… brief`` (that of the test suite) runs the whole system in lockstep on the paper exchange.
Presets are saved, spoiled, disabled, renamed, deleted and promoted through the watched folder,
faults of `deploy/paper` are in force, and the worker is killed; then everything is left and the
books are compared. Exits 1 if a promise was broken: books or cash that differ, a position without
a stop, an order of a preset in the shadow, a trade of a version that nobody saved, a version that
was lost or applied twice. LATE are presets that trade only towards the end. KEEP=FOLDER keeps
logs and books there.
"""

import asyncio
import os
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.proof.play import Played, Scene, play
from tests.proof.scene import brief, generated, recorded

WINDOW = ("2022-01-15T07:30:00+00:00", "2022-01-15T21:30:00+00:00")
CANDLES, SEED, BEGIN = 1440, 5, datetime(2026, 3, 5, 7, tzinfo=UTC)


def scene_of(arguments: list[str]) -> Scene:
    kind, *more = arguments or ["recorded"]
    if kind == "brief":
        return brief()
    if kind == "recorded":
        begin, end = map(datetime.fromisoformat, more[:2] or WINDOW)
        return recorded(begin, end, *([more[2:]] if more[2:] else []))
    steps, seed = [int(a) for a in more] + [CANDLES, SEED][len(more) :]
    return generated(BEGIN, steps, seed)


def print_played(played: Played) -> None:
    done, seen = played.outcome, played.seen
    print(f"{done.candles} candles in {played.seconds:.0f} s")
    print(f"\n{len(played.deeds)} deeds, {seen.kills} kills:")
    for deed in played.deeds:
        print(f"  {deed}")
    print("\nstrikes of the exchange's faults:")
    for name, strikes in seen.strikes.most_common():
        print(f"  {strikes:5} {name}")
    real, virtual = defaultdict(list), defaultdict(list)
    for trade in done.trades:
        real[trade.preset].append(trade)
    for trade in played.shadows:
        virtual[trade.preset].append(trade)
    print(f"\n{'preset':26} mode    trades closed   PnL USDT  shadow  why they ended")
    for name, mode in played.modes.items():
        rows = real[name]
        closed = [t for t in rows if t.opened_at and not t.live]
        pnl = sum((t.pnl for t in closed), Decimal(0))
        why = Counter(str(t.exit_reason or t.state) for t in rows)
        told = ", ".join(f"{n} {w}" for w, n in why.most_common())
        sums = f"{len(rows):6} {len(closed):6} {pnl:10.2f} {len(virtual[name]):7}"
        print(f"{name:26} {mode:7} {sums}  {told}")
    print("\nrefusals:")
    by_code: dict[str, Counter[str]] = defaultdict(Counter)
    for (preset, code), count in played.refusals.items():
        by_code[code][preset] = count
    for code, presets in sorted(by_code.items(), key=lambda each: -each[1].total()):
        told = ", ".join(f"{n} {preset}" for preset, n in presets.most_common())
        print(f"  {presets.total():5} {code}: {told}")
    report, cash = done.audit.report, done.audit.cash
    print(f"\npositions looked at {seen.positions} times, {len(seen.naked)} without a stop")
    print(f"orders while all were in the shadow: {seen.orders_in_shadow}")
    for name, book in (
        ("exchange", report.exchange),
        ("journal", report.journal),
        ("temporal", report.temporal),
    ):
        counts = f"{book.orders} orders, {book.executions} executions, {book.trades} trades"
        print(f"{name:9} {counts}, fees {book.fees:.8f}, PnL {book.pnl:.8f}")
    print(f"cash {cash.wallet:f}, adds up: {cash.ok}; equity {done.equity:f}")
    print(f"broken promises: {len(played.faults)}")
    for fault in played.faults:
        print(f"  {fault}")


async def main(arguments: list[str]) -> int:
    scene = scene_of(arguments)
    if kept := os.environ.get("KEEP"):
        played = await play(scene, Path(kept), lambda text: print(text, file=sys.stderr))
    else:
        with TemporaryDirectory() as folder:
            played = await play(
                scene, Path(folder, "proof"), lambda text: print(text, file=sys.stderr)
            )
    print_played(played)
    return 1 if played.faults else 0


if __name__ == "__main__":
    code = asyncio.run(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)
