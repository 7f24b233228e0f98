"""Trades that live by the real workflow and the real activities, in a world that goes wrong.

Every seed draws a plan, a market, and when which call fails; the same seed lives the same life.
What must hold of each is said in `life.py`. ``python -m tests.simulation 0 5000`` looks further.
"""

import pytest

from tests.simulation.conditions import CONDITIONS
from tests.simulation.life import live

LIVES = 50


@pytest.mark.parametrize("name", CONDITIONS)
def test_nothing_that_must_hold_of_a_trade_is_violated(name: str) -> None:
    for seed in range(LIVES):
        outcome = live(seed, CONDITIONS[name])
        assert not outcome.violations, f"python -m tests.simulation {seed} '' {name}"


def test_a_seed_lives_the_same_life_again() -> None:
    first, again = (live(7, CONDITIONS["ordinary"]) for _ in range(2))

    assert first == again
