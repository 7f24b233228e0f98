"""Keeps secrets out of what is written: by the name they are under, and by what they are."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import SecretStr

MASK: Final = "***"
SHORTEST = 6
"""A shorter text is no secret worth the name, and would mask half of every line."""

_NAME = re.compile(r"secret|password|passwd|token|api_?key|authorization|credential|^x-bapi-sign$")
_secrets: set[str] = set()


def register_secret(secret: SecretStr | str) -> None:
    """Mask this text wherever it turns up in a log line or a span from now on."""
    value = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if len(value) >= SHORTEST:
        _secrets.add(value)


def masked(text: str) -> str:
    """Return *text* without the registered secrets."""
    for secret in tuple(_secrets):
        text = text.replace(secret, MASK)
    return text


def redacted(value: Any, name: str = "") -> Any:
    """Return *value* as it may be written under *name*, through all mappings and lists."""
    if name and value is not None and _NAME.search(name.lower()):
        return MASK
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    return value
