"""What was written down before, perhaps by another version."""

from functools import lru_cache
from typing import Any, TypeVar, overload

from pydantic import TypeAdapter

V = TypeVar("V")


@overload
def read_back(shape: type[V], data: Any) -> V: ...
@overload
def read_back(shape: Any, data: Any) -> Any: ...
def read_back(shape: Any, data: Any) -> Any:
    """Return *data*, which a process of ours wrote, as *shape*.

    Keys that this version does not know, however deep, are left out.

    Raises:
        ValidationError: A needed key is missing or a value does not fit.
    """
    return adapter_of(shape).validate_python(data, extra="ignore")


@lru_cache(maxsize=1024)
def adapter_of(shape: Any) -> TypeAdapter[Any]:
    """Return what reads *shape*: made once, for to make it takes longer than to read."""
    return TypeAdapter(shape)
