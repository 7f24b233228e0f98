"""One run of the command: its global options, its end, and what every command shares."""

import getpass
import re
import sys
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperGroup

from tradewright.cli.document import document
from tradewright.cli.exit import ExitCode, code_of
from tradewright.domain.errors import TradewrightError

if TYPE_CHECKING:
    from tradewright.settings import Settings

T = TypeVar("T")
_PLACED: Final = re.compile(r".+:\d+:\d+: error: ")


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


class NothingFound(TradewrightError):
    """What was asked for is not there."""


@dataclass
class Invocation:
    """The global options; kept in Typer's context."""

    settings_file: Path | None = None
    address: str | None = None
    ui_url: str | None = None
    account: str | None = None
    debug: bool = False
    output: Format = Format.TABLE

    def settings(self) -> "Settings":
        """Return the settings of this run: options over environment over file."""
        from tradewright.settings import Settings

        overrides: dict[str, Any] = {}
        if self.account is not None:
            overrides["account"] = self.account
        temporal = {"address": self.address, "ui_url": self.ui_url}
        if given := {key: value for key, value in temporal.items() if value is not None}:
            overrides["temporal"] = given
        return Settings.load(self.settings_file, **overrides)


class Commands(TyperGroup):
    """Ends every command with one clear line and its exit code, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TradewrightError as e:
            _explain(ctx, e, str(e))
            raise typer.Exit(code_of(e)) from None
        except KeyboardInterrupt:
            say("interrupted; what was asked of the running system goes on without this command")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, OSError, RuntimeError) as e:
            # Typer's own ways to end are RuntimeErrors; a closed pipe is its affair too
            if isinstance(e, typer.Exit | typer.Abort | BrokenPipeError):
                raise
            _unexpected(ctx, e)
        except Exception as e:
            # Typer's usage errors know how to show themselves
            if hasattr(e, "exit_code") and hasattr(e, "format_message"):
                raise
            _unexpected(ctx, e)


def _unexpected(ctx: typer.Context, error: Exception) -> None:
    detail = f"unexpected {type(error).__name__}: {error}; run it again with --debug and report it"
    _explain(ctx, error, detail)
    raise typer.Exit(ExitCode.FAILED) from None


def _explain(ctx: typer.Context, error: Exception, message: str) -> None:
    invocation = ctx.obj if isinstance(ctx.obj, Invocation) else Invocation()
    if invocation.debug:
        traceback.print_exception(error, file=sys.stderr)
    if invocation.output is Format.JSON:
        told = {"type": type(error).__name__, "message": message, "exit_code": code_of(error)}
        print_document("error", error=told)
    # What has its place in a document says there that it is an error
    say(message if _PLACED.match(message) else f"error: {message}")


def say(line: str) -> None:
    """Tell a person something that is not the answer: on stderr."""
    typer.echo(line, err=True)


def print_document(kind: str, **content: Any) -> None:
    """Print the one JSON document of a command on stdout."""
    typer.echo(document(kind, **content))


def invocation_of(ctx: typer.Context) -> Invocation:
    return ctx.ensure_object(Invocation)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end in a loop of its own."""
    import asyncio

    return asyncio.run(work)


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person at a terminal; a script is not asked."""
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        say("nothing was done")
        raise typer.Exit(ExitCode.FAILED)


def user() -> str:
    """Return who runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"


def _remember(ctx: typer.Context, value: Format) -> Format:
    # An error that ends the command is told in the same format
    invocation_of(ctx).output = value
    return value


OutputOption = Annotated[
    Format,
    typer.Option("--output", "-o", callback=_remember, help="A table, or one JSON document."),
]
LinksOption = Annotated[bool, typer.Option("--links", help="Print each workflow's Web UI link.")]
ByOption = Annotated[
    str, typer.Option("--by", default_factory=user, help="Who asks.", show_default="your user name")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
