"""The control side of a paper exchange, from a terminal: keys, faults, the market."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tradewright.domain.errors import TradewrightError

_ANSWER_WITHIN_S = 10


class PaperExchangeAway(TradewrightError):
    def __init__(self, url: str, detail: object) -> None:
        super().__init__(
            f"paper exchange {url} does not answer: {detail}; start it with `tradewright paper` "
            "or name another one with --url"
        )


class PaperExchangeRefused(TradewrightError):
    def __init__(self, detail: str) -> None:
        super().__init__(f"paper exchange refused: {detail}")


class PaperFaultInvalid(PaperExchangeRefused):
    """A fault or a scenario is not valid; the exchange told every mistake, and where."""

    def __init__(self, detail: str) -> None:
        TradewrightError.__init__(self, detail)


_BY_KIND = {"invalid": PaperFaultInvalid}
"""What the exchange says of a refusal, beside the reason."""


def control(
    url: str,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: str | bytes | Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask the exchange at *url* for ``/paper/<path>``; a text body is sent as YAML.

    Raises:
        PaperExchangeAway: Nobody answers there.
        PaperFaultInvalid: It cannot read the fault.
        PaperExchangeRefused: It does not do what was asked, and says why.
    """
    target = f"{url.rstrip('/')}/paper/{path}" + (f"?{urlencode(query)}" if query else "")
    is_text = isinstance(body, str | bytes)
    data = body.encode() if isinstance(body, str) else body
    if isinstance(data, Mapping):
        data = json.dumps(data).encode()
    kind = "application/yaml" if is_text else "application/json"
    # Only ever the address that the user configured
    request = urllib.request.Request(  # noqa: S310
        target, data=data, method=method, headers={"Content-Type": kind}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN_S) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as e:
        raise _refusal(e) from e
    except (OSError, ValueError) as e:
        raise PaperExchangeAway(url, getattr(e, "reason", e)) from e


def _refusal(error: urllib.error.HTTPError) -> PaperExchangeRefused:
    text = error.read().decode(errors="replace")
    try:
        told = json.loads(text)
        return _BY_KIND.get(told.get("kind"), PaperExchangeRefused)(str(told["error"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return PaperExchangeRefused(f"HTTP status {error.code}")
