"""docs/settings.md, drawn from the settings themselves.

``python -m tradewright.cli.settings docs/settings.md`` writes it anew.
"""

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tradewright.domain.account.usage import shown
from tradewright.settings import Settings

EXAMPLE: Final = """\
home: .tradewright
limits:
  max_position_notional: 1000
  max_open_trades: 3
  consequences: {max_drawdown: pause}
notify:
  urls:
    - {name: night, url: "mailto://user:password@example.org", from: urgent}
reconciliation: {foreign_order: ignore}
log: {level: warning}
"""
HEAD: Final = """\
# Settings

One YAML file, as small as you like; what it does not name has its default. Nobody looks
for it: name it with `export TRADEWRIGHT_SETTINGS=settings.yaml` or `tradewright --settings FILE …`.

```bash
TRADEWRIGHT_SETTINGS=settings.yaml make up
.venv/bin/tradewright --settings settings.yaml up     # the same
```

While `up` runs, other commands need neither: it leaves what they must know in
`.tradewright/running.yaml`, which they read in the folder where it was started. Without `up`, give
every worker and every command the same file.

Every key is also an environment variable, which wins over the file: `TRADEWRIGHT_` and its path in
capitals, levels joined by two underscores, such as `TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES=3`; a list
is written as JSON. A key or a variable that is misspelt stops the command and says what was meant.

```yaml
{example}```

A worker notices changed `limits` by itself ([more](refusals.md)); all else is read at the start.
Times are written as `90s`, `15m` or `4h`. Keep the file to yourself if secrets are in it;
better they are in Vault ([how](operations.md#who-is-told)).

This page is written by `python -m tradewright.cli.settings docs/settings.md`.

| key | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the page of every setting."""
    return HEAD.replace("{example}", EXAMPLE) + "".join(_rows(Settings, ""))


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            if field.description:
                yield f"| **`{key}`** | | {_cell(field.description)} |\n"
            yield from _rows(type(default), f"{key}.")
            continue
        value = "" if default in (None, ()) else f"`{_value(default)}`"
        yield f"| `{key}` | {value} | {_meaning(field)} |\n"


def _value(default: Any) -> str:
    return str(default.value) if isinstance(default, StrEnum) else shown(default)


def _meaning(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    is_enum = isinstance(annotation, type) and issubclass(annotation, StrEnum)
    choices = (
        list(annotation) if is_enum else [c for c in get_args(annotation) if isinstance(c, str)]
    )
    one_of = f"One of {', '.join(f'`{choice!s}`' for choice in choices)}." if choices else ""
    return _cell(" ".join(part for part in (field.description, one_of) if part))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    Path(sys.argv[1]).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
