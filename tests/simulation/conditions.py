"""Under what a trade lives: how the market moves, and what goes wrong how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Conditions:
    """Chances are shares of one, times are seconds."""

    volatility: float = 12.0
    """Of the price, within a second."""
    fill_chance: float = 1.0
    """That a limit order which the price has reached is filled, each time it is looked at."""
    unattached: float = 0.0
    """That a fill leaves its position without a stop."""
    hand_orders: float = 0.0
    """That a person reduces the position by hand, within a second."""
    left_resting: float = 0.0
    """That an order which only reduces outlives what it was to reduce."""
    hand_stops: bool = False
    """Whether people tighten the stop at the exchange itself."""
    lost: float = 0.1
    """That a message of the stream never arrives; others come late, twice, and out of order."""
    unreachable: float = 0.03
    """That a request does not arrive, and as often that the answer to a write does not."""
    slow: bool = False
    lags: tuple[float, ...] = (0, 0, 0, 0, 0.3, 1.0, 2.5)
    """How old what a read shows may be."""
    lagging_for: float = 0.0
    """For how long one lag stays, at most; unset, each read has its own."""
    killed: float = 0.05
    """That the worker dies which performs an activity."""
    continued: float = 0.05
    """That the server suggests to continue as new, whenever it is asked."""
    people_every: float = 120.0
    """How often somebody does something: leaves, cancels, rechecks, moves the stop."""
    is_trailed: bool = False
    """Only limit entries whose stop is moved while they fill."""
    ends_within: float = 7200.0
    naked_within: float | None = None
    """How long a position may be without its stop; unset, something may be down for longer.

    The stream is late by up to 4, the stop has 5, and what closes in parts asks 3 after each.
    """

    @property
    def is_timely(self) -> bool:
        """Return whether the trade always ends within its time."""
        return not self.is_trailed


ORDINARY: Final = Conditions()
CONDITIONS: Final[Mapping[str, Conditions]] = MappingProxyType(
    {
        "ordinary": ORDINARY,
        "lagging_reads": Conditions(
            volatility=20,
            lost=0.3,
            people_every=6,
            lags=(0, 0, 2.9),
            lagging_for=15,
            unreachable=0.02,
        ),
        "reads_that_lag_too_long": Conditions(
            volatility=20,
            lost=0.3,
            people_every=6,
            lags=(0, 0, 6.0),
            lagging_for=15,
            unreachable=0.02,
        ),
        "failing_calls": Conditions(unreachable=0.15, killed=0.2, people_every=40),
        "silent_stream": Conditions(lost=1.0, people_every=60),
        "many_runs": Conditions(continued=0.5, people_every=30),
        "orders_by_hand": Conditions(hand_orders=0.005, slow=True, people_every=20),
        "stops_by_hand": Conditions(hand_stops=True, lags=(0,), people_every=20, volatility=8),
        "partial_fills": Conditions(
            fill_chance=0.2, volatility=30, people_every=60, left_resting=0.3
        ),
        "violent_market": Conditions(volatility=60, people_every=1000),
        "moved_stops": Conditions(
            is_trailed=True,
            volatility=5,
            fill_chance=0.01,
            lost=0,
            people_every=1e6,
            ends_within=1800,
        ),
        "unattached_stops": Conditions(
            unattached=0.3, lost=0, unreachable=0, killed=0, people_every=1000, naked_within=20
        ),
    }
)
