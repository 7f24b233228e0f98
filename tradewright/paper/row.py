"""Rows of the state: bytes that show when one of them changed."""

import zlib
from typing import TypeVar

import msgspec

from tradewright.domain.errors import TradewrightError

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class RowDamaged(TradewrightError):
    def __init__(self, kind: str) -> None:
        super().__init__(f"a stored {kind.lower()} does not match its checksum")


def sealed(value: object) -> bytes:
    body = _encode(value)
    return zlib.crc32(body).to_bytes(4, "big") + body


def is_whole(body: bytes) -> bool:
    """Return whether they are still what `sealed` made."""
    return zlib.crc32(body[4:]) == int.from_bytes(body[:4], "big")


def unsealed(body: bytes, kind: type[T]) -> T:
    """Return what `sealed` made bytes of.

    Raises:
        RowDamaged: They are not what they were.
    """
    if not is_whole(body):
        raise RowDamaged(kind.__name__)
    return msgspec.msgpack.decode(body[4:], type=kind)
