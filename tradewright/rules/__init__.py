"""The rule language: small, closed, checked before it runs; a preset can hold no other code.

Text is parsed with Python's own parser, but only the tree that `compile_rule` builds from it
exists afterwards, and only an evaluator of these few node types ever runs it.
"""

import keyword

from tradewright.rules.fault import RuleInvalid
from tradewright.rules.function import DAYS, FUNCTIONS
from tradewright.rules.grammar import MAX_LAG, MAX_NODES, Rule, compile_rule, likely_kind, mentioned
from tradewright.rules.node import Kind
from tradewright.rules.text import MAX_DEPTH, MAX_LENGTH

RESERVED = frozenset(FUNCTIONS) | frozenset(keyword.kwlist) | frozenset(DAYS)
"""Words that name nothing else."""

__all__ = [
    "FUNCTIONS",
    "MAX_DEPTH",
    "MAX_LAG",
    "MAX_LENGTH",
    "MAX_NODES",
    "RESERVED",
    "Kind",
    "Rule",
    "RuleInvalid",
    "compile_rule",
    "likely_kind",
    "mentioned",
]
