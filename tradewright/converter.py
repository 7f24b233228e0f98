"""How values travel through Temporal: what another version wrote is read all the same.

A workflow outlives the version that started it. What stands in its history, and what the processes
of another version send while a new one is brought in, may name keys that this version does not
know: they are left out. What a person typed is refused for such a key, which is most likely a typo
that would change what is meant; signals are read by `workflows.message`, which tells it.
"""

import dataclasses
import logging
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import (
    PydanticJSONPlainPayloadConverter,
    PydanticPayloadConverter,
    pydantic_data_converter,
)
from temporalio.converter import CompositePayloadConverter

from tradewright.domain.record import adapter_of

log = logging.getLogger(__name__)

WRITER: Final = "writer"
"""Metadata of a payload that is a model of ours, which no person typed."""
OURS: Final = b"tradewright"


class Written(dict[str, Any]):
    """What a model of ours is to those who do not say as what they want it."""

    writer = OURS


def is_ours(told: object) -> bool:
    """Return whether a process of ours, of whichever version, wrote what was *told*."""
    if isinstance(told, RawValue):
        told = told.payload
    if isinstance(told, Payload):
        return told.metadata.get(WRITER) == OURS
    # Not by its class, of which a workflow in a sandbox has its own
    return getattr(told, "writer", None) == OURS


class _JsonConverter(PydanticJSONPlainPayloadConverter):
    def to_payload(self, value: Any) -> Payload | None:
        payload = super().to_payload(value)
        if payload is not None and isinstance(value, BaseModel):
            payload.metadata[WRITER] = OURS
        return payload

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            value = super().from_payload(payload, type_hint)
        except ValidationError:
            if _is_typed_now(payload):
                raise
            value = adapter_of(type_hint).validate_json(payload.data, extra="ignore")
            _tell_once(str(type_hint))
        if type_hint is None and isinstance(value, dict) and is_ours(payload):
            return Written(value)
        return value


def _is_typed_now(payload: Payload) -> bool:
    """Return whether *payload* is of an update that may still be refused."""
    return (
        workflow.in_workflow()
        and workflow.current_update_info() is not None
        and not workflow.unsafe.is_replaying()
        and not is_ours(payload)
    )


@lru_cache(maxsize=1024)
def _tell_once(shape: str) -> None:
    log.info("payload of %s has keys that this version does not know; they were left out", shape)


_CONVERTERS: Final = tuple(
    _JsonConverter() if isinstance(each, PydanticJSONPlainPayloadConverter) else each
    for each in PydanticPayloadConverter().converters.values()
)
"""Shared: each workflow asks for a converter of its own, and would keep its own type adapters."""


class PayloadConverter(PydanticPayloadConverter):
    """Pydantic's, but for keys that are not known."""

    def __init__(self) -> None:
        CompositePayloadConverter.__init__(self, *_CONVERTERS)


DATA_CONVERTER: Final = dataclasses.replace(
    pydantic_data_converter, payload_converter_class=PayloadConverter
)
"""Of every client and worker."""
