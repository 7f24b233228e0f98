"""The JSON documents that commands print."""

import json
from typing import Any, Final

SCHEMA: Final = "tradewright/v1"
"""Of every document; raised when a key changes its meaning or goes away."""


def document(kind: str, **content: Any) -> str:
    """Return the text of the one document of a command."""
    return json.dumps({"schema": SCHEMA, "kind": kind, **content}, ensure_ascii=False, indent=2)
