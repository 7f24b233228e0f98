"""What tells one market from another, in words."""

from tradewright.paper.clock import moment
from tradewright.paper.market.candle import MINUTE_MS


def in_words(identity: str) -> str:
    """Return what a source's *identity* means.

    Example:
        >>> in_words("generator 1 all 1795158300000")
        'generated market, seed 1, all symbols, begun 2026-11-20T07:05Z'
    """
    kind, _, rest = identity.partition(" ")
    match kind:
        case "generator":
            seed, symbols, start_ms = rest.split(" ")
            whose = "all symbols" if symbols == "all" else symbols.replace(",", ", ")
            return f"generated market, seed {seed}, {whose}, begun {_time(start_ms)}"
        case "recording" | "tape":
            what = "candles" if kind == "recording" else "order book"
            symbols, _, rest = rest.partition(" ")
            name, _, start_ms = rest.rpartition(" ")
            whose = symbols.replace(",", ", ")
            return f"recorded {what} of {whose}, {name} from {_time(start_ms)} on"
        case "script":
            return f"script, {rest.replace('=', ' from ').replace(',', ', ')}"
        case "live":
            return f"relayed market, {rest.replace(',', ', ')}"
        case _:
            return identity


def _time(at_ms: str) -> str:
    precision = "milliseconds" if int(at_ms) % MINUTE_MS else "minutes"
    return moment(int(at_ms)).isoformat(timespec=precision).replace("+00:00", "Z")
