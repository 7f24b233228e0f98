"""JSON Schema of scenarios, for editors and other programs."""

from typing import Any

from tradewright.paper.fault.scenario import Scenario
from tradewright.preset.schema import DIALECT, PlainNumbers

FILE = "schemas/paper-faults.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario."""
    return {
        "$schema": DIALECT,
        "$id": "urn:tradewright:paper-faults:1",
        **Scenario.model_json_schema(schema_generator=PlainNumbers),
    }
