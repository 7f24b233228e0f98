"""What a person is shown of the strategies and trades that run."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from tradewright.app import survey
from tradewright.app.wish import TemporalFailed
from tradewright.domain.market import Timeframe
from tradewright.ports import StrategyStatus


async def test_a_strategy_that_cannot_be_asked_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def listed(*_: Any) -> AsyncIterator[SimpleNamespace]:
        for name in ("alpha", "beta"):
            yield SimpleNamespace(id=f"strategy/{name}")

    async def ask(client: Any, workflow_id: str, query: str, shape: Any) -> StrategyStatus:
        name = workflow_id.partition("/")[2]
        if name == "alpha":
            raise TemporalFailed(f"query {query} of {workflow_id}", "Failed decoding arguments")
        return StrategyStatus(
            preset=name,
            preset_hash="0123456789abcdef",
            account="main",
            symbols=("BTCUSDT",),
            timeframe=Timeframe.M1,
        )

    monkeypatch.setattr(survey, "_listed", listed)
    monkeypatch.setattr(survey, "ask", ask)
    client: Any = None

    lines = await survey.strategies(client, "main")

    assert [(line.name, line.state) for line in lines] == [("alpha", "silent"), ("beta", "trading")]
