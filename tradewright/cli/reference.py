"""The reference part of docs/cli.md, drawn from the commands themselves.

``python -m tradewright.cli.reference docs/cli.md`` writes it anew below its headline.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

HEADLINE: Final = "## Reference\n"


def reference(app: typer.Typer) -> str:
    """Return every command with its arguments and options, as markdown."""
    root = typer.main.get_command(app)
    return "\n".join([HEADLINE, *_section("tradewright", root)]).rstrip() + "\n"


def renewed(page: str, app: typer.Typer) -> str:
    """Return *page* with its reference as the commands have it now."""
    return page.partition(HEADLINE)[0] + reference(app)


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    below = getattr(command, "commands", {})
    words = [name, *map(_placeholder, arguments), *(["COMMAND"] if below else [])]
    yield f"### `{' '.join(words)}`\n"
    yield f"{(command.help or '').strip()}\n"
    lines = [_line(param) for param in command.params if getattr(param, "help", None)]
    if lines:
        yield "\n".join(lines) + "\n"
    for inner in below.values():
        yield from _section(f"{name} {inner.name}", inner)


def _line(param: Any) -> str:
    required = " Required." if param.required else ""
    if param.param_type_name == "argument":
        return f"- `{_placeholder(param)}`: {param.help}"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    return f"- {names}: {param.help}{required}"


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def main() -> None:
    from tradewright.cli import app

    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text("utf-8"), app), "utf-8")


if __name__ == "__main__":
    main()
