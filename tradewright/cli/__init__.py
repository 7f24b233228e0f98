"""The `tradewright` command."""

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import threading


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command, of *arguments* or of the process's own, and leave at once.

    Threads of temporalio's native part crash or hang an interpreter that finalises
    (temporalio/sdk-python#300), so nothing is finalised: what is open is flushed here.
    """
    from tradewright.cli import garbage
    from tradewright.cli.glance import glance

    garbage.hardly()
    words = sys.argv[1:] if arguments is None else arguments
    code: object = glance(words)
    if code is None:
        code = _run(words)
    if telemetry := sys.modules.get("tradewright.telemetry"):
        telemetry.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Who read it has left
            code = code or 1
    os._exit(code if isinstance(code, int) else 1)


def _run(arguments: list[str]) -> object:
    import threading

    from tradewright.cli.command import app

    threading.excepthook = _report_thread
    try:
        app(arguments)
    except SystemExit as e:
        return e.code
    return 0


def _report_thread(failure: "threading.ExceptHookArgs") -> None:
    import threading

    # A database driver's thread that outlives an interrupted loop has nobody to answer to
    if not isinstance(failure.exc_value, RuntimeError):
        threading.__excepthook__(failure)


def __getattr__(name: str) -> Any:
    # The parser and its commands take longer to import than a preset takes to be checked
    if name == "app":
        from tradewright.cli.command import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
