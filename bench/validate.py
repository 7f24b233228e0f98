"""How long a person waits for `validate`, cold: a new process for each run.

``python bench/validate.py [PRESET] [RUNS]`` prints the time of ``tradewright validate PRESET``
beside that of ``python -c "import yaml, pydantic"``, run in turns, and the ratio to it: of wall
time, and of CPU time, which a busy machine disturbs less. In between stands what nobody who
checks with pydantic can go below: these imports and one model of one field.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

IMPORTS = "import yaml, pydantic"
MODEL = f"{IMPORTS}; type('M', (pydantic.BaseModel,), {{'__annotations__': {{'a': int}}}})"
PRESET = Path(__file__).parents[1] / "strategies" / "ema-pullback.yaml"
RUNS = 30


def timed(arguments: list[str]) -> tuple[float, float]:
    """Return wall and CPU time of one run, in milliseconds."""
    before, begun = os.times(), time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, os.times()
    spent = after.children_user + after.children_system
    return wall * 1e3, (spent - before.children_user - before.children_system) * 1e3


def main() -> None:
    preset = sys.argv[1] if len(sys.argv) > 1 else str(PRESET)
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS
    commands = {
        "validate": [sys.executable, "-m", "tradewright", "validate", preset],
        "one model": [sys.executable, "-c", MODEL],
        "imports": [sys.executable, "-c", IMPORTS],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            found = timed(command)
            # The first run of each fills the file cache
            if turn:
                times[name].append(found)
    median = {
        name: [statistics.median(column) for column in zip(*each, strict=True)]
        for name, each in times.items()
    }
    wall_of_imports, cpu_of_imports = median["imports"]
    print(f"median of {runs}       wall             CPU")
    for name, (wall, cpu) in median.items():
        ratios = wall / wall_of_imports, cpu / cpu_of_imports
        print(f"{name:<10} {wall:6.0f} ms {ratios[0]:5.2f} {cpu:6.0f} ms {ratios[1]:5.2f}")


if __name__ == "__main__":
    main()
