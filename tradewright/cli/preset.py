"""`validate`, `schema`, `apply`: from a file to a running strategy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewright.cli import completion
from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    ByOption,
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.table import linked

if TYPE_CHECKING:
    from tradewright.app.apply import Application
    from tradewright.preset import LoadedPreset, PresetFault
    from tradewright.settings import Settings

PathsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Preset files, or folders of them.",
        metavar="PATH...",
        autocompletion=completion.preset_files,
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(validate)
    app.command()(schema)
    app.command()(apply)


def validate(
    ctx: typer.Context,
    paths: PathsArgument,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the exchange whether the symbols exist.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check presets and show every mistake with its place; nothing is applied."""
    from tradewright.app.authoring.check import Checked, preset_files

    checked = Checked(preset_files(paths))
    if online:
        checked.add(run(_symbol_faults(invocation_of(ctx).settings(), checked.good)))
    if output is Format.JSON:
        print_document("validation", **checked.document())
    else:
        typer.echo("\n".join(checked.lines()))
    if checked.faults:
        raise typer.Exit(ExitCode.INVALID)


def schema(
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 and name the files in schemas/ that are stale.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write schemas/ anew and name what changed.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Print the JSON Schema of presets, or keep the files in schemas/ fresh."""
    from tradewright import preset
    from tradewright.paper.schema import schemas as paper_schemas

    if check and write:
        raise typer.BadParameter("--check and --write exclude each other")
    if not (check or write):
        import json

        typer.echo(json.dumps(preset.schema(), indent=2, ensure_ascii=False))
        return
    root = Path.cwd()
    also = paper_schemas()
    stale = preset.write_schemas(root, also) if write else preset.stale_schemas(root, also)
    if output is Format.JSON:
        print_document("schemas", written=write, stale=stale)
    else:
        for name in stale:
            typer.echo(f"{name}: written" if write else f"{name}: stale")
    if check and stale:
        say(f"error: {len(stale)} schemas are stale; run `tradewright schema --write`")
        raise typer.Exit(ExitCode.FAILED)


def apply(
    ctx: typer.Context,
    paths: PathsArgument,
    by: ByOption,
    expect: Annotated[
        str, typer.Option("--expect", help="Refuse unless this version (hash) runs now.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in its history.")] = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="Let what none of them declares take no more entries.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check presets and trade them: start their strategies, or hand them the new version."""
    from tradewright.app.authoring.check import Checked, preset_files

    settings = invocation_of(ctx).settings()
    checked = Checked(preset_files(paths))
    if expect and len(checked.files) != 1:
        raise typer.BadParameter("--expect goes with one preset", param_hint="--expect")
    checked.add(account_faults(settings, checked.good))
    if not checked.faults:
        checked.add(run(_faults_there(settings, checked.good)))
    if checked.faults:
        if output is Format.JSON:
            print_document("validation", **checked.document())
        else:
            typer.echo("\n".join(checked.lines(listing=False)))
        say("error: nothing was applied; correct the presets and apply them again")
        raise typer.Exit(ExitCode.INVALID)
    presets = list(checked.good.values())
    applications = run(
        _apply_all(
            settings, presets, by=by, reason=reason, expect=expect, prune=prune, dry_run=dry_run
        )
    )
    if output is Format.JSON:
        rows = [linked(done.model_dump(mode="json"), settings) for done in applications]
        print_document("applications", applications=rows)
        return
    for done in applications:
        typer.echo(f"{done.preset}: {_told(done)}  {settings.workflow_url(done.workflow_id)}")


def _told(done: "Application") -> str:
    would = "would be " if done.dry_run else ""
    held = f"; {done.mode_note}" if done.mode_note else ""
    match done.change.value:
        case "started":
            return f"{would}started with version {done.preset_hash}{held}"
        case "changed":
            return f"{would}changed from version {done.before} to {done.preset_hash}{held}"
        case "disabled":
            return f"takes no more entries, version {done.preset_hash}; its open trades run on"
        case _:
            return f"unchanged, version {done.preset_hash} runs{held}"


async def _apply_all(
    settings: "Settings",
    presets: Sequence["LoadedPreset"],
    *,
    by: str,
    reason: str,
    expect: str,
    prune: bool,
    dry_run: bool,
) -> list["Application"]:
    from activities.bybit import BybitClient
    from activities.secrets import VaultSecrets
    from tradewright.app import apply as application
    from tradewright.app.connect import connect, opened_journal

    client = await connect(settings)
    bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
    try:
        async with opened_journal(settings, create=True) as journal:
            done = [
                await application.apply(
                    client,
                    journal,
                    bybit,
                    loaded,
                    by=by,
                    reason=reason,
                    expect=expect,
                    dry_run=dry_run,
                )
                for loaded in presets
            ]
            if not prune:
                return done
            return done + await application.prune(
                client,
                journal,
                settings.account,
                {loaded.preset.name for loaded in presets},
                by=by,
                reason=reason,
                dry_run=dry_run,
            )
    finally:
        bybit.close()


def account_faults(
    settings: "Settings", presets: dict[Path, "LoadedPreset"]
) -> list["PresetFault"]:
    from tradewright.app.authoring.check import fault_at

    return [
        fault_at(
            path,
            loaded.document,
            ("account",),
            f"{loaded.preset.account!r} is not the account of this command, "
            f"{settings.account!r}; give --account {loaded.preset.account} or correct it",
        )
        for path, loaded in presets.items()
        if loaded.preset.account != settings.account
    ]


async def _faults_there(
    settings: "Settings", presets: dict[Path, "LoadedPreset"]
) -> list["PresetFault"]:
    from tradewright.app.connect import connect

    # Where nothing runs, a person is told how to start it, not that the exchange is silent
    await connect(settings)
    return await _symbol_faults(settings, presets)


async def _symbol_faults(
    settings: "Settings", presets: dict[Path, "LoadedPreset"]
) -> list["PresetFault"]:
    """Return a fault for each symbol that the exchange does not list."""
    if not presets:
        return []
    from activities.bybit import BybitClient
    from activities.secrets import VaultSecrets
    from tradewright.app.authoring.check import fault_at
    from tradewright.app.listing import unlisted

    symbols = {s: None for loaded in presets.values() for s in loaded.preset.market.symbols}
    bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
    try:
        advice = await unlisted(bybit, symbols)
    finally:
        bybit.close()
    return [
        fault_at(
            path,
            loaded.document,
            ("market", "symbols", number),
            f"{symbol!r} is not listed at the exchange ({settings.venue}); {advice[symbol]}",
        )
        for path, loaded in presets.items()
        for number, symbol in enumerate(loaded.preset.market.symbols)
        if symbol in advice
    ]
