"""`plan` and `diff`: what applying presets would change, and what versions differ in."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.preset import account_faults

if TYPE_CHECKING:
    from tradewright.app.authoring.check import Checked
    from tradewright.app.plan import Plan, PlanLine, PlannedChange
    from tradewright.journal import StoredPreset
    from tradewright.preset import LoadedPreset
    from tradewright.preset.difference import KeyChange
    from tradewright.settings import Settings

FOLDER: Final = Path("strategies")
CHANGED: Final = 2
"""Exit code of --exit-code when there is something to apply."""
MARKS: Final = {"start": "+", "change": "~", "disable": "-", "keep": "="}

ExitCodeOption = Annotated[
    bool, typer.Option("--exit-code", help="Exit 0 if nothing would change, 2 if something would.")
]


def register(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(diff)


def plan(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Preset files, or folders of them; the folder that is watched if none is named.",
            metavar="[PATH]...",
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="As `apply --prune`: stop what no file declares.")
    ] = False,
    exit_code: ExitCodeOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what applying presets would change; nothing is applied."""
    from tradewright.app.authoring.check import Checked, preset_files

    settings = invocation_of(ctx).settings()
    checked = Checked(preset_files(paths or [settings.presets or FOLDER]))
    checked.add(account_faults(settings, checked.good))
    # As `apply`: who cannot be read may be the one that would be stopped
    planned = run(_plan(settings, checked, prune=prune and not checked.faults))
    if paths and not prune and not any(path.is_dir() for path in paths):
        # Who names single files asks about them, not about all that runs
        planned = planned.model_copy(update={"undeclared": ()})
    if output is Format.JSON:
        print_document(
            "plan",
            changes=planned.has_changes,
            plan=planned.model_dump(mode="json"),
            faults=[fault.model_dump(mode="json") for fault in checked.faults],
        )
    else:
        lines = plan_lines(planned, has_faults=bool(checked.faults))
        typer.echo("\n".join([*checked.lines(listing=False), *lines]))
    if checked.faults:
        say("error: what is not valid is left as it is; correct it")
        raise typer.Exit(ExitCode.INVALID)
    if exit_code and planned.has_changes:
        raise typer.Exit(CHANGED)


async def _plan(settings: "Settings", checked: "Checked", *, prune: bool) -> "Plan":
    from tradewright.app import plan as planning
    from tradewright.app.connect import JournalMissing, connect, opened_journal

    client, account = await connect(settings), settings.account
    try:
        async with opened_journal(settings) as journal:
            return await planning.plan(client, journal, checked.good, account, prune=prune)
    except JournalMissing:
        return await planning.plan(client, None, checked.good, account, prune=prune)


def plan_lines(planned: "Plan", *, has_faults: bool = False) -> list[str]:
    """Return a plan as a person reads it."""
    lines = [text for line in planned.lines for text in _told(line)]
    for name in planned.undeclared:
        file = "valid file" if has_faults else "file"
        lines.append(f"? {name}: runs, and no {file} here declares it; it is left alone")
    counts = {mark: planned.count(kind) for kind, mark in _kinds()}
    if not planned.has_changes:
        lines.append(f"nothing to apply: {counts['=']} unchanged")
    else:
        lines.append(
            f"plan: {counts['+']} to start, {counts['~']} to change, {counts['-']} to stop, "
            f"{counts['=']} unchanged"
        )
    if planned.watch:
        lines += ["", "the watcher of presets says:", *planned.watch]
    return lines


def _kinds() -> list[tuple["PlannedChange", str]]:
    from tradewright.app.plan import PlannedChange

    return [(PlannedChange(kind), mark) for kind, mark in MARKS.items()]


def _told(line: "PlanLine") -> list[str]:
    versions = {
        "start": line.after,
        "change": f"{line.before} -> {line.after}" if line.before != line.after else line.after,
        "disable": f"{line.before}, takes no entries",
        "keep": line.after,
    }
    file = f"  ({line.file})" if line.file else ""
    lines = [f"{MARKS[line.change]} {line.preset}: {versions[line.change]}{file}"]
    lines += [f"    {text}" for text in change_lines(line.changes)]
    lines += [f"    ! {note}" for note in line.notes]
    if line.open_trades:
        trades = "trade runs" if line.open_trades == 1 else "trades run"
        lines.append(f"    {line.open_trades} open {trades} on as opened")
    return lines


def change_lines(changes: Sequence["KeyChange"]) -> list[str]:
    """Return a line for each key, what it applies to beside it."""
    if not changes:
        return []
    width = max(len(str(change)) for change in changes)
    return [f"{change!s:<{min(width, 60)}}  {change.effect}" for change in changes]


def diff(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="A preset file, or the name of a preset.")],
    older: Annotated[
        str,
        typer.Option("--from", help="Version; by default the one applied last, or before it."),
    ] = "",
    newer: Annotated[
        str, typer.Option("--to", help="Version; by default the file, or the one applied last.")
    ] = "",
    text: Annotated[
        bool, typer.Option("--text", help="Compare the lines, comments included.")
    ] = False,
    exit_code: ExitCodeOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what differs in meaning: a file and what was applied last, or two versions."""
    from tradewright.app.plan import why_another_version
    from tradewright.preset import load
    from tradewright.preset.difference import difference

    settings = invocation_of(ctx).settings()
    path = Path(what)
    is_file = path.suffix in (".yaml", ".yml") or path.exists()
    loaded = load(path) if is_file else None
    before, after, names = run(_versions(settings, what, loaded, older, newer))
    changes = difference(before.document, after.document)
    note = "" if changes else why_another_version(before, after)
    if output is Format.JSON:
        rows = [change.model_dump(mode="json") for change in changes]
        print_document("difference", before=names[0], after=names[1], changes=rows, note=note)
    elif text:
        import difflib

        texts = before.document.splitlines(), after.document.splitlines()
        lines = difflib.unified_diff(*texts, *names, lineterm="")
        typer.echo("\n".join(lines) or "the texts are equal")
    else:
        typer.echo(f"{names[0]} -> {names[1]}")
        typer.echo("\n".join(change_lines(changes)) or note or "nothing differs in meaning")
    if exit_code and (changes or note):
        raise typer.Exit(CHANGED)


async def _versions(
    settings: "Settings", what: str, loaded: "LoadedPreset | None", older: str, newer: str
) -> tuple["StoredPreset", "StoredPreset | LoadedPreset", tuple[str, str]]:
    """Return the two versions, and how they are called."""
    from tradewright.app.connect import opened_journal
    from tradewright.app.plan import version, version_before

    async with opened_journal(settings) as journal:
        if loaded is not None:
            name = loaded.preset.name
            before = await version(journal, name, older)
            if not newer:
                return before, loaded, (f"{name} {before.hash}", what)
        else:
            name, before = what, None
            if older:
                before = await version(journal, name, older)
        after = await version(journal, name, newer)
        if before is None:
            before = await version_before(journal, name, after.hash)
        return before, after, (f"{name} {before.hash}", f"{name} {after.hash}")
