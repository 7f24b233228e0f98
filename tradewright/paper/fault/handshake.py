"""Faults of handshakes: a stream that does not open, opens late, or by a wrong clock."""

from tradewright.paper import clock
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.judge import Strike
from tradewright.paper.fault.patience import Patience
from tradewright.paper.fault.request import ClockSkew, Delay, Http429, HttpError, Reset, Stall
from tradewright.paper.fault.when import Subject
from tradewright.paper.stream.socket import Streams
from tradewright.paper.transport import Receive, Scope, Send, reset, transport_of

OF_ANSWERS = ("code_10006", "code_10016", "malformed_json", "lagging_reads")
"""Kinds that a handshake, which is answered without JSON, does not know."""
_DOWN = 503


class FaultyHandshake:
    """Stands before the streams: a handshake is a GET of the stream's path."""

    def __init__(self, board: FaultBoard, streams: Streams, patience: Patience) -> None:
        self._board = board
        self._patience = patience
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._board.any_on("request"):
            subject = Subject(endpoint=scope["path"], method="GET")
            for strike in self._board.strike("request", subject, but=OF_ANSWERS):
                if await self._struck(strike, scope, receive, send):
                    return
        await self._streams(scope, receive, send)

    async def _struck(self, strike: Strike, scope: Scope, receive: Receive, send: Send) -> bool:
        """Let it happen; return whether that was the end of the handshake."""
        match strike.fault:
            case ClockSkew(ms=ms):
                # Of this connection, for as long as it lasts
                clock.skew_ms.set(ms)
                return False
            case Delay():
                await self._patience.wait(strike.ms)
                return False
            case Reset():
                reset(transport_of(scope))
            case Stall():
                await self._patience.until_gone(transport_of(scope))
                reset(transport_of(scope))
            case HttpError(status=status):
                await _refuse(status, receive, send)
            case Http429():
                await _refuse(429, receive, send)
            case _:
                await _refuse(_DOWN, receive, send)
        return True


async def _refuse(status: int, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})
