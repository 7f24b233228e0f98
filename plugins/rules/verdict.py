"""From what the rules say to what the strategy wishes."""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from plugins.rules.programme import Let, Programme
from tradewright.domain.market import Side
from tradewright.domain.signal import ExitSignal, Signal
from tradewright.plugin import COLUMNS, Evaluation

Told = Callable[[tuple[str, ...]], float]
"""What the rule at a path yields now: a number, or a condition as 1, 0 or NaN."""

SIDES = {"long": Side.BUY, "short": Side.SELL}
EVERYTHING = Decimal(1)


class Verdict:
    """Makes an evaluation of what the rules of a programme yield."""

    def __init__(self, programme: Programme) -> None:
        used = frozenset().union(*(each.names for each in programme.definitions))
        used = used.union(*(rule.names for rule in programme.rules.values()))
        self.names = tuple(
            dict.fromkeys((*(each.name for each in programme.definitions), *sorted(used), *COLUMNS))
        )
        """Of all factors: what has a name and what is used."""
        self._rules = programme.rules
        self._texts = {
            path: re.sub(r"\s+", " ", rule.text.strip()) for path, rule in programme.rules.items()
        }
        self._shown = {path: sorted(rule.names) for path, rule in programme.rules.items()}

    def evaluation(
        self, told: Told, values: Mapping[str, float], degraded: bool = False
    ) -> Evaluation:
        """Return what is wished for.

        Args:
            told: Asked for each rule that there is.
            values: Of all `names`, NaN where unknown.
            degraded: Only what is declared for bad data counts.
        """
        within = ("degraded",) if degraded else ()
        factors = {n: values[n] for n in self.names if math.isfinite(values[n])}
        exits = tuple(
            ExitSignal(side=side, reason=self._reason((*within, f"exit_{key}"), factors))
            for key, side in SIDES.items()
            if self._is_true((*within, f"exit_{key}"), told)
        )
        fired = [key for key in SIDES if self._is_true((*within, key), told)]
        if len(fired) != 1 or any(SIDES[fired[0]] is each.side for each in exits):
            return Evaluation(exits=exits, factors=factors)
        signal = Signal(
            side=SIDES[fired[0]],
            reason=self._reason((*within, fired[0]), factors),
            confidence=self._confidence((*within, "confidence"), told),
            factors=factors,
        )
        return Evaluation(signal=signal, exits=exits, factors=factors)

    def _is_true(self, path: tuple[str, ...], told: Told) -> bool:
        return path in self._rules and told(path) == 1.0

    def _confidence(self, path: tuple[str, ...], told: Told) -> Decimal:
        if path not in self._rules:
            return EVERYTHING
        value = told(path)
        # An unknown confidence is the least
        return Decimal(f"{min(max(value, 0.1), 1.0) if math.isfinite(value) else 0.1:.4f}")

    def _reason(self, path: tuple[str, ...], factors: Mapping[str, float]) -> str:
        values = ", ".join(f"{n}={factors[n]:.6g}" for n in self._shown[path] if n in factors)
        reason = f"{' '.join(path)}: {self._texts[path]} ({values})"
        return reason if len(reason) <= 200 else reason[:199] + "…"


def lets(programme: Programme) -> list[Let]:
    return [each for each in programme.definitions if isinstance(each, Let)]
