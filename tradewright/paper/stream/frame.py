"""What clients say on a stream, and how each channel answers: no two do it alike."""

from typing import Any

import msgspec

from tradewright.paper.stream.hub import Connection
from tradewright.paper.stream.private import TOPICS

EMPTY_CHANNELS = frozenset({"spot", "inverse", "option"})
"""Where subscriptions are taken, and nothing ever happens."""

_BY_CATEGORY = frozenset({"order", "execution", "execution.fast", "position"})
_PUBLIC = frozenset(
    {"orderbook", "publicTrade", "tickers", "kline", "allLiquidation", "liquidation", "priceLimit"}
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Refused(Exception):
    """Its text is what the client is told."""


class Asked(msgspec.Struct, frozen=True):
    op: str = ""
    args: list[Any] = []
    req_id: Any = None
    """Given back as it came; None if there was none."""

    def topics(self) -> list[str]:
        if not self.args:
            raise Refused("error:args is empty")
        for arg in self.args:
            if not isinstance(arg, str):
                raise Refused("error:args must be strings")
        return list(self.args)


def read(text: str | bytes) -> Asked:
    """Return what *text* asks; nothing that makes sense if it is not a frame of a client."""
    try:
        said = _decode(text)
    except (ValueError, RecursionError):
        return Asked()
    op, args, req_id = said.get("op"), said.get("args"), said.get("req_id")
    return Asked(
        op=op if isinstance(op, str) else "",
        args=args if isinstance(args, list) else [],
        req_id=req_id if isinstance(req_id, str | int) else None,
    )


def is_topic(channel: str, topic: str) -> bool:
    """Return whether a client of *channel*, other than linear, may ask for *topic*."""
    if channel == "private":
        return topic in TOPICS
    if channel == "status":
        return topic == "system.status"
    kind, _, rest = topic.partition(".")
    return kind in _PUBLIC and bool(rest)


def is_mixed(topics: list[str]) -> bool:
    """Return whether some topics are of one category and others of all of them."""
    return any(t in _BY_CATEGORY for t in topics) and any(
        t not in _BY_CATEGORY and t.rpartition(".")[0] in _BY_CATEGORY for t in topics
    )


def ack(connection: Connection, asked: Asked, wrong: str = "") -> dict[str, Any]:
    is_good = not wrong
    if connection.channel == "option" and asked.op in ("subscribe", "unsubscribe"):
        topics = [str(arg) for arg in asked.args]
        return {
            "success": is_good,
            "conn_id": connection.conn_id,
            "data": {
                "failTopics": [] if is_good else topics,
                "successTopics": topics if is_good else [],
            },
            "type": "COMMAND_RESP",
        }
    if connection.channel == "spot" and is_good:
        wrong = asked.op
    message = {
        "success": is_good,
        "ret_msg": wrong,
        "conn_id": connection.conn_id,
        "op": asked.op,
    }
    if asked.op == "auth" and asked.req_id is None:
        return message
    return message | {"req_id": _req_id(asked)}


def pong(connection: Connection, asked: Asked, now_ms: int) -> dict[str, Any]:
    channel, conn_id = connection.channel, connection.conn_id
    if channel == "option":
        return {"args": [str(now_ms)], "op": "pong"}
    if channel == "private":
        args = [str(now_ms)]
        return {"req_id": _req_id(asked), "op": "pong", "args": args, "conn_id": conn_id}
    message = {"success": True, "ret_msg": "pong", "conn_id": conn_id, "op": "ping"}
    if channel == "spot" and asked.req_id is None:
        return message
    return message | {"req_id": _req_id(asked)}


def _req_id(asked: Asked) -> Any:
    return "" if asked.req_id is None else asked.req_id
