"""Every kind of fault, by its name."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Tag

from tradewright.paper.fault.kind import Kind
from tradewright.paper.fault.message import (
    StreamDelay,
    StreamDrop,
    StreamDuplicate,
    StreamLoss,
    StreamReorder,
    StreamSilence,
)
from tradewright.paper.fault.request import (
    ClockSkew,
    Code10006,
    Code10016,
    Delay,
    Http429,
    HttpError,
    LaggingReads,
    Maintenance,
    MalformedJson,
    PartialFill,
    RejectedOrder,
    Reset,
    Stall,
)
from tradewright.plugin import ParamFault, ParamsInvalid, suggestion

AnyFault = (
    Annotated[Delay, Tag("#delay")]
    | Annotated[ClockSkew, Tag("#clock_skew")]
    | Annotated[Stall, Tag("#stall")]
    | Annotated[Reset, Tag("#reset")]
    | Annotated[HttpError, Tag("#http_error")]
    | Annotated[Http429, Tag("#http_429")]
    | Annotated[Code10006, Tag("#code_10006")]
    | Annotated[Code10016, Tag("#code_10016")]
    | Annotated[Maintenance, Tag("#maintenance")]
    | Annotated[LaggingReads, Tag("#lagging_reads")]
    | Annotated[MalformedJson, Tag("#malformed_json")]
    | Annotated[RejectedOrder, Tag("#rejected_order")]
    | Annotated[PartialFill, Tag("#partial_fill")]
    | Annotated[StreamDrop, Tag("#stream_drop")]
    | Annotated[StreamSilence, Tag("#stream_silence")]
    | Annotated[StreamLoss, Tag("#stream_loss")]
    | Annotated[StreamDelay, Tag("#stream_delay")]
    | Annotated[StreamReorder, Tag("#stream_reorder")]
    | Annotated[StreamDuplicate, Tag("#stream_duplicate")]
)
KINDS: dict[str, type[Kind]] = {
    get_args(each)[1].tag.removeprefix("#"): get_args(each)[0] for each in get_args(AnyFault)
}


def _known(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "kind" not in value:
        raise ParamsInvalid([ParamFault(("kind",), "missing; add it", at_key=True)])
    named = value["kind"]
    if not isinstance(named, str) or named not in KINDS:
        advice = suggestion(str(named), KINDS)
        raise ParamsInvalid([ParamFault(("kind",), f"unknown kind {named!r:.60}; {advice}")])
    return value


def _tag(value: Any) -> str:
    named = value["kind"] if isinstance(value, Mapping) else getattr(value, "kind", "delay")
    return f"#{named}"


Fault = Annotated[AnyFault, Discriminator(_tag), BeforeValidator(_known)]
"""A fault as it is written in a scenario."""
