"""`up`, `demo`, `replay`, `worker`, `audit`: commands that run things, or prove them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewright.cli import arena, garbage
from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.option import (
    FromOption,
    SpeedOption,
    SymbolOption,
    ToOption,
    VolumeOption,
    VolumeUnit,
)
from tradewright.cli.run_view import (
    LiveTable,
    ReplayBar,
    command,
    print_addresses,
    print_audit,
    print_summary,
    reachable,
)

if TYPE_CHECKING:
    from tradewright.app.replay import Outcome
    from tradewright.settings import Settings

WORKER_QUEUES = ("trading", "market", "stream")
FOLDER = Path("strategies")


def register(app: typer.Typer) -> None:
    for runs in (up, demo, replay, worker, audit):
        app.command()(runs)


def up(
    ctx: typer.Context,
    presets: Annotated[
        Path | None,
        typer.Option(
            "--presets",
            help="Folder whose presets are applied as they are saved; `strategies` here if unset.",
            file_okay=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Whether presets are applied as saved.")
    ] = True,
) -> None:
    """Run the whole system in real time, on fixed ports, until Ctrl-C; state is kept."""
    from tradewright import telemetry
    from tradewright.app.demo import preset_folder
    from tradewright.app.system import Market, on_own_ports, system

    settings = invocation_of(ctx).settings()
    folder = watched_folder(settings, presets) if watch else None
    settings = on_own_ports(settings.model_copy(update={"presets": folder}))
    telemetry.configure("up", level=settings.log.level, logs=settings.logs)

    async def work() -> None:
        async with system(settings, Market(speed="1"), tell=say) as supervisor:
            print_addresses(settings)
            tool = command("tradewright")
            if folder is not None:
                typer.echo(f"presets saved in {reachable(folder)} are applied:  {tool} plan")
            else:
                preset = reachable(preset_folder() / "ema-pullback.yaml")
                typer.echo(f"apply a preset with:  {tool} apply {preset}")
            typer.echo("stop with Ctrl-C; the next `tradewright up` goes on where this one was")
            await supervisor.until_interrupted()

    _until_interrupted(work())


def watched_folder(settings: "Settings", wanted: Path | None) -> Path | None:
    """Return the folder of presets to watch, absolute; with real money only one that was named."""
    named = wanted or settings.presets
    if named is None and not settings.is_live and FOLDER.is_dir():
        named = FOLDER
    return named.absolute() if named is not None else None


def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
) -> None:
    """Trade two presets on a generated market, and show how; exits 0 when trades have closed."""
    from tradewright import telemetry
    from tradewright.app import demo as demonstration
    from tradewright.app.replay import outcome

    settings = invocation_of(ctx).settings()
    telemetry.configure("demo", level="warning", logs=settings.home / demonstration.HOME / "logs")
    say("starting Temporal, Vault, the paper exchange and the workers …")

    async def work() -> int:
        async with demonstration.demo(settings) as ready:
            print_addresses(ready.settings)
            hint = "stop with Ctrl-C" if keep else ""
            with LiveTable(ready.settings, hint=hint) as table:
                async for frame in demonstration.frames(ready, endless=keep):
                    table.show(frame)
            await ready.leave()
            done = await outcome(ready)
            print_summary(done, ready.settings)
            return len(frame.closed)

    closed = _until_interrupted(work())
    if closed < demonstration.CLOSED_WANTED:
        say(f"error: only {closed} trades have closed in time; is the machine very busy?")
        raise typer.Exit(ExitCode.FAILED)


def replay(
    ctx: typer.Context,
    presets: Annotated[list[Path], typer.Argument(help="Preset files.", exists=True)],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Candles, CSV or CSV.gz, such as btc-1m.csv.gz.",
            exists=True,
            dir_okay=False,
        ),
    ],
    symbol: SymbolOption = "BTCUSDT",
    speed: SpeedOption = "lockstep",
    volume_unit: VolumeOption = VolumeUnit.BASE,
    begin: FromOption = None,
    end: ToOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Play recorded candles through the full stack, then compare all books.

    Exits 1 when journal, exchange and Temporal differ.
    """
    from tradewright import telemetry
    from tradewright.app import replay as replaying
    from tradewright.preset import load

    settings = invocation_of(ctx).settings()
    loaded = [load(path) for path in presets]
    home = settings.home / replaying.HOME
    telemetry.configure("replay", level="warning", logs=home / "logs")
    recording = replaying.Recording(
        data=data,
        symbol=symbol,
        volume_unit=volume_unit.value,
        begin=begin,
        end=end,
        speed=speed,
    )
    say(f"reading {data}; then Temporal, Vault, the paper exchange and the workers start …")

    async def work() -> "tuple[Outcome, Settings]":
        with ReplayBar() as bar:
            return await replaying.replay(settings, recording, loaded, bar.show)

    done, placed = _until_interrupted(work())
    if output is Format.JSON:
        print_document("replay", replay=done.model_dump(mode="json"))
    else:
        print_summary(done, placed, links=False)
    if not done.audit.ok:
        say("error: the books differ; the differences are listed above")
        raise typer.Exit(ExitCode.FAILED)


def worker(
    ctx: typer.Context,
    queues: Annotated[
        str,
        typer.Option(
            "--queues",
            help="Of trading, market, stream, presets and kill; comma-separated.",
            show_default="trading, market, stream, and presets where a folder of them is set",
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Of its log file.")] = "worker",
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Touched once it polls.")
    ] = None,
) -> None:
    """Run a worker until it is told to stop: every queue but the kill switch's, or those named."""
    # Before its threads are, each of which would take an arena
    arena.few()
    arena.give_back()
    from tradewright import telemetry
    from tradewright.app.workers import serve

    settings = invocation_of(ctx).settings()
    usual = (*WORKER_QUEUES, *(("presets",) if settings.presets else ()))
    wanted = [queue.strip() for queue in queues.split(",")] if queues else list(usual)
    if unknown := sorted(set(wanted) - {*WORKER_QUEUES, "presets", "kill"}):
        known = ", ".join((*WORKER_QUEUES, "presets", "kill"))
        raise typer.BadParameter(f"there is no queue {unknown[0]!r}; there are {known}")
    telemetry.configure(
        name,
        level=settings.log.level,
        log_format=settings.log.format,
        # Somebody looks on; under a supervisor nobody does
        logs=None if sys.stderr.isatty() else settings.logs,
        otlp_endpoint=settings.otlp_endpoint,
    )
    _until_interrupted(_stopped_by_signals(serve(settings, wanted, ready_file)))


def audit(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Compare journal, exchange and Temporal on every order, execution and fee.

    Exits 1 on any difference.
    """
    from tradewright.app.audit import Audit, audit_of

    settings = invocation_of(ctx).settings()
    found: Audit = run(audit_of(settings))
    if output is Format.JSON:
        print_document("audit", ok=found.ok, audit=found.model_dump(mode="json"))
    else:
        print_audit(found)
    if not found.ok:
        say("error: the books differ; the differences are listed above")
        raise typer.Exit(ExitCode.FAILED)


async def _stopped_by_signals(work: Any) -> None:
    """Run *work* until SIGTERM or SIGINT, which end it the way a cancel does."""
    import asyncio
    import signal

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        say("worker stopped")


def _until_interrupted(work: Any) -> Any:
    """Run *work*; a Ctrl-C ends it with all processes stopped, and is no error to explain."""
    from tradewright.app.supervisor import Interrupted

    garbage.as_usual()
    try:
        return run(work)
    except Interrupted as e:
        say(f"stopped: {e}")
        raise typer.Exit(e.exit_code) from None
