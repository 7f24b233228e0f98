"""JSON Schema of scripts, for editors and other programs."""

from typing import Any

from tradewright.paper.market.script import Script
from tradewright.preset.schema import DIALECT, PlainNumbers

FILE = "schemas/paper-market.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a script."""
    return {
        "$schema": DIALECT,
        "$id": "urn:tradewright:paper-market:1",
        **Script.model_json_schema(schema_generator=PlainNumbers),
    }
