"""One request, once it is through the door."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange
    from tradewright.paper.keys import ApiKey

Row = dict[str, Any]


def _unlimited() -> bool:
    return True


class Call(msgspec.Struct, frozen=True):
    """What is asked, and by whom.

    `params` are those of the query or of the JSON body; null and "" are as good as absent.
    """

    exchange: "Exchange"
    params: Mapping[str, Any]
    key: "ApiKey | None" = None
    """None of a public call."""
    spend: Callable[[], bool] = _unlimited
    """Count one order of a batch against its limit; False of one that is over it."""

    @property
    def account(self) -> str:
        if self.key is None:
            raise LookupError("a public call has no account")
        return self.key.account


class Answer(msgspec.Struct, frozen=True):
    """A result that is more than a plain ``OK``: another text, a code, an ``retExtInfo``."""

    result: Row
    ext_info: Row = {}
    code: int = 0
    text: str = "OK"


Handler = Callable[[Call], Row | Answer]
