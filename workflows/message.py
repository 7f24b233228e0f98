"""What people and machines send to workflows: parsed inside, so that nothing is dropped.

A typed signal handler drops what does not fit without a word, and one of fixed arity wedges the
workflow on a missing argument. Handlers therefore take raw values and parse them here.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from temporalio import workflow
from temporalio.common import RawValue

from tradewright.converter import is_ours
from tradewright.domain.record import adapter_of

M = TypeVar("M")


class Unreadable(Exception):
    """The message does not say what is needed."""


def read(shape: Any, args: Sequence[RawValue]) -> tuple[Any, str]:
    """Return the message in *args* as *shape*, and a remark on what was ignored in it.

    No argument at all means the shape's defaults. Unknown keys, however deep, and further
    arguments are ignored for the action; the remark names them. Keys in what a process of ours
    sent are no remark: another version knows them, or did.

    Raises:
        Unreadable: A needed key is missing or a value does not fit.
    """
    remarks: list[str] = []
    content: Any = {}
    if args:
        content = _content(args[0])
    if len(args) > 1:
        remarks.append(f"{len(args) - 1} further arguments were ignored")
    if content is None:
        content = {}
    adapter = adapter_of(shape)
    try:
        message = adapter.validate_python(content)
    except ValidationError as e:
        faults = e.errors()
        unknown = [fault["loc"] for fault in faults if fault["type"] == "extra_forbidden"]
        if len(unknown) < len(faults):
            raise _unreadable(faults) from None
        ignored = f"unknown keys were ignored: {', '.join(sorted(map(_named, unknown)))}"
        if args and is_ours(args[0]):
            workflow.logger.info(ignored)
        else:
            remarks.append(ignored)
        try:
            message = adapter.validate_python(content, extra="ignore")
        except ValidationError as still:
            raise _unreadable(still.errors()) from None
    return message, "; ".join(remarks)


def hear(
    name: str,
    shape: type[M],
    args: Sequence[RawValue],
    take: Callable[[M], object],
    complain: Callable[[str], object],
) -> None:
    """Hand signal *name* to *take*; *complain* where it cannot be read, or not all of it."""
    try:
        message, remark = read(shape, args)
    except Unreadable as e:
        complain(refused(name, e))
        return
    take(message)
    if remark:
        complain(f"signal {name} was taken, but {remark}")


def _unreadable(faults: Iterable[ErrorDetails]) -> Unreadable:
    told = "; ".join(f"{_named(fault['loc']) or 'message'}: {fault['msg']}" for fault in faults)
    return Unreadable(f"{told}; nothing was done, send it again")


def _named(place: Sequence[int | str]) -> str:
    return ".".join(map(str, place))


def _content(argument: Any) -> Any:
    """Return the JSON of *argument*: named handlers of any arity get it decoded, others raw."""
    if not isinstance(argument, RawValue):
        return argument
    payload = argument.payload
    if payload.metadata.get("encoding", b"") == b"binary/null":
        return None
    try:
        return json.loads(payload.data)
    except (ValueError, RecursionError) as e:
        raise Unreadable(f"the argument is not JSON: {e}") from None


def refused(name: str, fault: object) -> str:
    """Log that message *name* could not be read, and return what to show an operator."""
    note = f"signal {name} was not understood: {fault}"
    workflow.logger.warning("message_refused", extra={"message_name": name, "fault": str(fault)})
    return note
