"""Compare what the exchange shows with what the trades believe, and what is done about it."""

from tradewright.domain.choice import Choice
from tradewright.domain.reconciliation.difference import (
    Believed,
    Discrepancy,
    Kind,
    OpenOrder,
    Shown,
    agreed,
    balance_drift,
    discrepancies,
)
from tradewright.domain.reconciliation.policy import Policies, Policy, choices_of

__all__ = [
    "Believed",
    "Choice",
    "Discrepancy",
    "Kind",
    "OpenOrder",
    "Policies",
    "Policy",
    "Shown",
    "agreed",
    "balance_drift",
    "choices_of",
    "discrepancies",
]
