"""What the private stream and the list of executions tell, and its order."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from pydantic import AwareDatetime

from activities.parse import Payment
from tradewright.domain.execution import Execution
from tradewright.domain.market import Value


class StreamCursor(Value):
    """How far executions have been delivered; carried by the heartbeat."""

    at: AwareDatetime | None = None
    seen: tuple[str, ...] = ()
    fault: str = ""
    """Why nothing is heard at the moment; shown to whoever asks how the stream is doing."""
    fault_since: AwareDatetime | None = None
    """Wall clock."""


class Happening(NamedTuple):
    """What one row tells: an execution, or funding."""

    what: Execution | Payment
    filled: Decimal | None
    """How much of its order was filled then."""


def in_order(happenings: Iterable[Happening]) -> Sequence[Happening]:
    """Return *happenings* by time, and those of each symbol by the exchange's sequence."""
    by_time = sorted(happenings, key=lambda h: (h.what.at, h.what.seq))
    of_symbol: dict[str, deque[Happening]] = defaultdict(deque)
    for happening in sorted(by_time, key=lambda h: h.what.seq):
        of_symbol[happening.what.symbol].append(happening)
    return [of_symbol[happening.what.symbol].popleft() for happening in by_time]
