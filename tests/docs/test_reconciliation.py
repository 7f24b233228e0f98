"""The page on reconciliation says what the settings allow."""

from pathlib import Path
from typing import get_args

import pytest

from tradewright.domain.case import ESCALATE_AFTER
from tradewright.domain.reconciliation import Kind, Policies, Policy

PAGE = (Path(__file__).parents[2] / "docs/reconciliation.md").read_text("utf-8")


@pytest.mark.parametrize("kind", Kind)
def test_the_page_tells_every_kind_and_its_policies(kind: Kind) -> None:
    field = Policies.model_fields[kind]
    allowed = [field.default, *(p for p in get_args(field.annotation) if p != field.default)]
    policies = ", ".join(f"`{policy}`" for policy in allowed)

    assert f"| `{kind}` | {field.description} | {policies} |" in PAGE


def test_the_page_tells_every_policy_and_how_long_people_are_waited_for() -> None:
    for policy in Policy:
        assert f"- `{policy}`: " in PAGE
    minutes, quarter, hour, last = (round(t.total_seconds() / 60) for t in ESCALATE_AFTER)
    told = f"after {minutes} min, {quarter} min, {hour // 60} h and every {last // 60} h"
    assert told in " ".join(PAGE.split())
