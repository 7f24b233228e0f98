"""Faults put upon a running exchange, and what is seen of their strikes."""

from typing import Any

from structlog.typing import EventDict

from tests.paper.conftest import Desk

CREATE = "/v5/order/create"
LINK = "tw-e1"


async def put(desk: Desk, text: str) -> list[str]:
    answer = await desk.request("POST", "/paper/faults", data=text)
    return list(answer["put"])


async def strikes(desk: Desk) -> dict[str, int]:
    shown = await desk.get("/paper/faults")
    return {row["name"]: row["strikes"] for row in shown["faults"]}


def struck(lines: list[EventDict], kind: str = "") -> list[EventDict]:
    found = [line for line in lines if line["event"] == "fault_struck"]
    return [line for line in found if kind in ("", line["kind"])]


async def orders(desk: Desk, link: str = LINK) -> list[dict[str, Any]]:
    """Return the orders with *link*, open or closed."""
    return await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId=link)


def on_create(kind: str, **more: object) -> str:
    told = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{kind: {kind}{told}, when: {{endpoint: {CREATE}, times: 1}}}}"
