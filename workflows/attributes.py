"""Search attributes: written only when they change, for each write is an action."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

ACCOUNT = SearchAttributeKey.for_keyword("Account")
SYMBOL = SearchAttributeKey.for_keyword("Symbol")
PRESET = SearchAttributeKey.for_keyword("Preset")
PRESET_HASH = SearchAttributeKey.for_keyword("PresetHash")
SIDE = SearchAttributeKey.for_keyword("Side")
TRADE_STATE = SearchAttributeKey.for_keyword("TradeState")
LIVE = SearchAttributeKey.for_bool("Live")
REALIZED_PNL = SearchAttributeKey.for_float("RealizedPnl")
RISK_R = SearchAttributeKey.for_float("RiskR")
ENTRY_AT = SearchAttributeKey.for_datetime("EntryAt")
NEEDS_OPERATOR = SearchAttributeKey.for_bool("NeedsOperator")

Attribute = tuple[SearchAttributeKey[Any], str | bool | float | datetime]


def attributes(*pairs: Attribute) -> TypedSearchAttributes:
    """Return *pairs* as a workflow's attributes at its start."""
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in pairs])


def show(pairs: Sequence[Attribute]) -> None:
    """Write those of *pairs* that differ from what the running workflow shows."""
    shown = workflow.info().typed_search_attributes
    updates = [key.value_set(value) for key, value in pairs if shown.get(key) != value]
    if updates:
        workflow.upsert_search_attributes(updates)
