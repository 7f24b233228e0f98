"""A scenario: a seed and what goes wrong; read with the place of each mistake."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from tradewright.paper.fault.catalogue import AnyFault, Fault
from tradewright.paper.fault.when import Section
from tradewright.preset import PresetFault, PresetInvalid, reading
from tradewright.preset.document import Node
from tradewright.preset.wording import Mistake, mistakes

MOST_FAULTS = 100


class Scenario(Section):
    """What goes wrong, and how often: the same seed strikes the same requests."""

    version: Literal[1]
    seed: int = Field(default=1, ge=0, le=2**53, description="Of all chance in it.")
    faults: tuple[Fault, ...] = Field(json_schema_extra={"minItems": 1, "maxItems": MOST_FAULTS})

    @field_validator("faults")
    @classmethod
    def _are_some_and_unique(cls, faults: tuple[AnyFault, ...]) -> tuple[AnyFault, ...]:
        if not 1 <= len(faults) <= MOST_FAULTS:
            raise ValueError(f"{len(faults)} faults; give 1 to {MOST_FAULTS}")
        names = [fault.name for fault in faults]
        for number, name in enumerate(names):
            if name is not None and name in names[:number]:
                detail = f"two faults are named {name}"
                raise PydanticCustomError("duplicate", "{detail}", {"at": number, "detail": detail})
        return faults


class ScenarioInvalid(PresetInvalid):
    """A scenario cannot be used; `faults` holds every mistake found, in the order of the file."""


def load(path: Path) -> Scenario:
    """Read and check the scenario at *path*.

    Raises:
        ScenarioInvalid: With every mistake found, or because the file cannot be read.
    """
    return loads(reading.read(path, ScenarioInvalid), str(path))


def loads(raw: bytes, source: str = "<scenario>") -> Scenario:
    """Check a scenario, or a single fault, in YAML or JSON; *source* names it in errors.

    Raises:
        ScenarioInvalid: With every mistake found.
    """
    text = reading.decoded(raw, source, ScenarioInvalid)
    return reading.checked(text, source, _checked, ScenarioInvalid)


def _checked(root: Node) -> tuple[Scenario | None, list[Mistake]]:
    is_one = "kind" in root.inner and "faults" not in root.inner
    data: Any = {"version": 1, "faults": [root.data]} if is_one else root.data
    try:
        return Scenario.model_validate(data), []
    except ValidationError as e:
        found = mistakes(e, data, Scenario)
        return None, [m._replace(path=m.path[2:]) for m in found] if is_one else found


__all__ = ["PresetFault", "Scenario", "ScenarioInvalid", "load", "loads"]
