"""What can go wrong on a stream."""

from typing import Literal

from pydantic import Field

from tradewright.paper.fault.kind import Kind, Layer, Milliseconds, Side, Span
from tradewright.paper.fault.when import StreamWhen

Moment = Literal["begin", "message"]
"""On all open connections as soon as its time begins, or with a message that matches."""


class _OnMessage(Kind):
    when: StreamWhen = Field(default_factory=StreamWhen)

    side_ = "message"


class _OnConnection(_OnMessage):
    at: Moment = "begin"

    @property
    def side(self) -> Side:
        return "connection" if self.at == "begin" else "message"


class StreamDrop(_OnConnection):
    """The connection ends."""

    kind: Literal["stream_drop"]
    how: Literal["close", "reset"] = "reset"
    code: Literal[1000, 1001, 1008, 1011, 1012, 1013] = Field(
        default=1001, description="Of a close."
    )

    def effect(self, ms: int) -> str:
        return "connection is reset" if self.how == "reset" else f"is closed with {self.code}"


class StreamSilence(_OnConnection):
    """The connection stays, and nothing comes any more."""

    kind: Literal["stream_silence"]
    ms: Milliseconds
    pings: bool = Field(default=True, description="Whether pings are answered all the same.")

    @property
    def span(self) -> Span:
        return self.ms

    def effect(self, ms: int) -> str:
        pongs = "answered" if self.pings else "unanswered"
        return f"connection is silent for {ms} ms, pings {pongs}"


class StreamLoss(_OnMessage):
    """The message is never sent."""

    kind: Literal["stream_loss"]

    def effect(self, ms: int) -> str:
        return "is lost"


class StreamDelay(_OnMessage):
    """The message is late, and with it those of its topic that follow."""

    kind: Literal["stream_delay"]
    ms: Milliseconds

    layer_ = Layer.WITHIN

    @property
    def span(self) -> Span:
        return self.ms

    def effect(self, ms: int) -> str:
        return f"comes {ms} ms late"


class StreamReorder(_OnMessage):
    """The message comes after some that follow it."""

    kind: Literal["stream_reorder"]
    by: int = Field(default=1, ge=1, le=1000, description="Messages that overtake it.")
    ms: Milliseconds = Field(default=Span(1000, 1000), description="How long it waits for them.")

    layer_ = Layer.WITHIN

    @property
    def span(self) -> Span:
        return self.ms

    def effect(self, ms: int) -> str:
        return f"is overtaken by {self.by}, within {ms} ms"


class StreamDuplicate(_OnMessage):
    """The message comes more than once."""

    kind: Literal["stream_duplicate"]
    copies: int = Field(default=1, ge=1, le=10)
    ms: Milliseconds = Field(default=Span(0, 0), description="How much later the copies come.")

    layer_ = Layer.AFTER

    @property
    def span(self) -> Span:
        return self.ms

    def effect(self, ms: int) -> str:
        return f"comes {self.copies + 1} times, again after {ms} ms"
