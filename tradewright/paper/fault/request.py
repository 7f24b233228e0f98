"""What can go wrong with a request, or with the order that it places."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tradewright.paper.fault.kind import Kind, Layer, Milliseconds, Span
from tradewright.paper.fault.when import OrderWhen, RequestWhen, Subject

STATUS = "/v5/system/status"
TIME = "/v5/market/time"
_OF_ACCOUNTS = tuple(
    f"/v5/{part}/" for part in ("order", "execution", "position", "account", "asset")
)

Acceptance = Literal["before", "after"]
"""Whether the request fails on its way in, or its answer on its way out."""


class _OnRequest(Kind):
    when: RequestWhen = Field(default_factory=RequestWhen)


class _OnOrder(Kind):
    when: OrderWhen = Field(default_factory=OrderWhen)

    layer_ = Layer.WITHIN
    side_ = "order"


class _OnEitherSide(_OnRequest):
    acceptance: Acceptance = "after"

    @property
    def layer(self) -> Layer:
        return Layer.AFTER if self.acceptance == "after" else Layer.BEFORE


class Delay(_OnRequest):
    """The request, or its answer, takes longer."""

    kind: Literal["delay"]
    ms: Milliseconds
    acceptance: Acceptance = "before"

    layer_ = Layer.WAY

    @property
    def span(self) -> Span:
        return self.ms

    def effect(self, ms: int) -> str:
        return f"waits {ms} ms {self.acceptance} acceptance"


class ClockSkew(_OnRequest):
    """The exchange's clock is wrong, for signatures and in its answers."""

    kind: Literal["clock_skew"]
    ms: int = Field(ge=-86_400_000, le=86_400_000, description="Positive: it is ahead.")

    layer_ = Layer.WAY

    def effect(self, ms: int) -> str:
        return f"sees a clock that is {self.ms:+d} ms off"


class Stall(_OnEitherSide):
    """No answer comes; the connection stays until the client gives up."""

    kind: Literal["stall"]

    def effect(self, ms: int) -> str:
        return f"stalls {self.acceptance} acceptance"


class Reset(_OnEitherSide):
    """The connection is reset instead of an answer."""

    kind: Literal["reset"]

    def effect(self, ms: int) -> str:
        return f"is reset {self.acceptance} acceptance"


class HttpError(_OnEitherSide):
    """An HTTP 5xx of the machines in front of the exchange."""

    kind: Literal["http_error"]
    acceptance: Acceptance = "before"
    status: int = Field(default=502, ge=500, le=599)

    def effect(self, ms: int) -> str:
        return f"gets HTTP {self.status} {self.acceptance} acceptance"


class Http429(_OnRequest):
    """The protection of the whole system, in HTTP."""

    kind: Literal["http_429"]

    def effect(self, ms: int) -> str:
        return "gets HTTP 429"


class Code10006(_OnRequest):
    """The rate limit of the endpoint is used up."""

    kind: Literal["code_10006"]
    reset_ms: Milliseconds = Field(
        default=Span(1000, 1000), description="How far ahead the reset header points."
    )

    @property
    def span(self) -> Span:
        return self.reset_ms

    def effect(self, ms: int) -> str:
        return f"gets retCode 10006 with a reset in {ms} ms"


class Code10016(_OnEitherSide):
    """Server error: whether it was executed, the client cannot know."""

    kind: Literal["code_10016"]

    def effect(self, ms: int) -> str:
        return f"gets retCode 10016 {self.acceptance} acceptance"


class _WhileDown(RequestWhen):
    """Which requests; the status and the time are answered all the same."""

    def fits(self, subject: Subject) -> bool:
        return subject.endpoint not in (STATUS, TIME) and super().fits(subject)


class Maintenance(Kind):
    """Nothing but the status and the time is answered; the system status says why."""

    kind: Literal["maintenance"]
    when: _WhileDown = Field(default_factory=_WhileDown)
    title: str = Field(default="System maintenance", min_length=1, max_length=200)

    def effect(self, ms: int) -> str:
        return "gets retCode 10016, service is restarting"


def _no_write(method: object) -> object:
    if method == "POST":
        raise ValueError("only reads lag; leave it out")
    return method


class _OfReads(RequestWhen):
    """Which reads of what an account holds; nothing else shows an older state."""

    method: Annotated[Literal["GET"] | None, BeforeValidator(_no_write)] = None

    def fits(self, subject: Subject) -> bool:
        return (
            subject.method == "GET"
            and subject.endpoint.startswith(_OF_ACCOUNTS)
            and super().fits(subject)
        )


class LaggingReads(Kind):
    """Orders, executions, positions and balances are seen as they were a while ago."""

    kind: Literal["lagging_reads"]
    when: _OfReads = Field(default_factory=_OfReads)
    ms: int = Field(ge=1, le=60_000)

    layer_ = Layer.WITHIN

    def effect(self, ms: int) -> str:
        return f"reads the state of {self.ms} ms ago"


class MalformedJson(_OnEitherSide):
    """An answer that is no JSON."""

    kind: Literal["malformed_json"]
    body: Literal["cut", "html", "empty"] = "cut"

    def effect(self, ms: int) -> str:
        return f"gets a body that is {self.body}, {self.acceptance} acceptance"


class RejectedOrder(_OnOrder):
    """An order is refused: in the answer, or accepted first and ended on the stream."""

    kind: Literal["rejected_order"]
    how: Literal["answer", "rejected", "cancelled"] = "answer"
    code: int = Field(default=110007, ge=1, le=9_999_999, description="Of the answer.")
    text: str = Field(default="ab not enough for new order", min_length=1, max_length=200)
    reason: str = Field(
        default="EC_Others", pattern=r"^EC_[A-Za-z]{1,40}$", description="On the stream."
    )

    layer_ = Layer.BEFORE

    def effect(self, ms: int) -> str:
        if self.how == "answer":
            return f"gets retCode {self.code}"
        return f"is accepted, then {self.how} with {self.reason}"


class PartialFill(_OnOrder):
    """An order fills in part, and then the account's private streams are silent."""

    kind: Literal["partial_fill"]
    fraction: Decimal = Field(default=Decimal("0.5"), gt=0, lt=1, description="Of its quantity.")
    silence_ms: Milliseconds = Span(10_000, 10_000)

    @property
    def span(self) -> Span:
        return self.silence_ms

    def effect(self, ms: int) -> str:
        return f"fills at most {self.fraction} of its quantity, then {ms} ms of silence"
