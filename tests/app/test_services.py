"""The local servers, as they really run."""

from pathlib import Path

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from tradewright.app.process import running
from tradewright.app.services import (
    SEARCH_ATTRIBUTES,
    free_port,
    temporal_server,
)


async def test_temporal_serves_its_namespaces_with_our_search_attributes(tmp_path: Path) -> None:
    port = free_port()
    spec = temporal_server(
        port=port, log=tmp_path / "temporal.log", namespaces=["paper"], survives_power_loss=False
    )

    async with running(spec):
        client = await Client.connect(f"127.0.0.1:{port}", namespace="paper")
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="paper")
        )

    assert set(SEARCH_ATTRIBUTES) <= set(answer.custom_attributes)
