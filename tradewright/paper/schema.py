"""JSON Schemas of what people write for the paper exchange, by the files that they belong in."""

from typing import Any

from tradewright.paper.fault import schema as faults
from tradewright.paper.market import schema as market


def schemas() -> dict[str, dict[str, Any]]:
    return {faults.FILE: faults.schema(), market.FILE: market.schema()}
