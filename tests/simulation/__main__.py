"""Longer hunts: ``python -m tests.simulation FROM TO [CONDITIONS]``; one seed alone is traced."""

import logging
import sys
import time
from collections import Counter

import structlog

from tests.simulation.conditions import CONDITIONS
from tests.simulation.life import live


def hunt(first: int, last: int, name: str, *, is_traced: bool) -> int:
    """Live the lives of all seeds below *last*; return how many violate something."""
    states, found, begun = Counter[str](), 0, time.monotonic()
    for seed in range(first, last):
        outcome = live(seed, CONDITIONS[name])
        states[outcome.state] += 1
        found += bool(outcome.violations)
        for violation in outcome.violations:
            print(f"{name} {seed}: {violation}", flush=True)  # noqa: T201
        if is_traced:
            print("\n".join(outcome.trace))  # noqa: T201
    print(f"{name}: {dict(states)}, {time.monotonic() - begun:.1f} s")  # noqa: T201
    return found


def main(first: str, last: str = "", *names: str) -> int:
    until = int(last) if last else int(first) + 1
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    is_traced = until == int(first) + 1
    return sum(
        hunt(int(first), until, name, is_traced=is_traced) for name in names or tuple(CONDITIONS)
    )


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
