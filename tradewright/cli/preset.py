"""`validate`, `schema`, `apply`: from a file to a running strategy."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    ByOption,
    Format,
    NothingFound,
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

SUFFIXES: Final = (".yaml", ".yml")

PathsArgument = Annotated[
    list[Path], typer.Argument(help="Preset files, or folders of them.", metavar="PATH...")
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
    checked = Checked(files(paths))
    if online:
        checked.add(run(_symbol_faults(invocation_of(ctx).settings(), checked.good)))
    if output is Format.JSON:
        print_document("validation", **checked.document())
    else:
        checked.show(listing=True)
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check presets and trade them: start their strategies, or hand them the new version."""
    settings = invocation_of(ctx).settings()
    checked = Checked(files(paths))
    if expect and len(checked.files) != 1:
        raise typer.BadParameter("--expect goes with one preset", param_hint="--expect")
    checked.add(_account_faults(settings, checked.good))
    if not checked.faults:
        checked.add(run(_symbol_faults(settings, checked.good)))
    if checked.faults:
        if output is Format.JSON:
            print_document("validation", **checked.document())
        else:
            checked.show(listing=False)
        say("error: nothing was applied; correct the presets and apply them again")
        raise typer.Exit(ExitCode.INVALID)
    presets = list(checked.good.values())
    applications = run(_apply_all(settings, presets, by=by, expect=expect, dry_run=dry_run))
    if output is Format.JSON:
        rows = [linked(done.model_dump(mode="json"), settings) for done in applications]
        print_document("applications", applications=rows)
        return
    for done in applications:
        typer.echo(f"{done.preset}: {_told(done)}  {settings.workflow_url(done.workflow_id)}")


def _told(done: "Application") -> str:
    would = "would be " if done.dry_run else ""
    match done.change.value:
        case "started":
            return f"{would}started with version {done.preset_hash}"
        case "changed":
            return f"{would}changed from version {done.before} to {done.preset_hash}"
        case _:
            return f"unchanged, version {done.preset_hash} runs"


async def _apply_all(
    settings: "Settings",
    presets: Sequence["LoadedPreset"],
    *,
    by: str,
    expect: str,
    dry_run: bool,
) -> list["Application"]:
    from activities.bybit import BybitClient
    from activities.secrets import VaultSecrets
    from tradewright.app import operate
    from tradewright.app.connect import connect, opened_journal

    client = await connect(settings)
    bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
    try:
        async with opened_journal(settings, create=True) as journal:
            return [
                await operate.apply(
                    client, journal, bybit, loaded, by=by, expect=expect, dry_run=dry_run
                )
                for loaded in presets
            ]
    finally:
        bybit.close()


def files(paths: Iterable[Path]) -> list[Path]:
    """Return the preset files that *paths* name, those of a folder sorted, each once."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not inside:
            raise NothingFound(f"folder {path} holds no preset: no file ends in .yaml or .yml")
        found += inside
    return list(dict.fromkeys(found))


class Checked:
    """Presets that were read, and every mistake found in them so far."""

    def __init__(self, paths: Sequence[Path]) -> None:
        from tradewright import preset

        self.files = list(paths)
        self.good: dict[Path, LoadedPreset] = {}
        self.faults: list[PresetFault] = []
        names: dict[str, Path] = {}
        for path in paths:
            try:
                loaded = preset.load(path)
            except preset.PresetInvalid as e:
                self.faults += e.faults
                continue
            name = loaded.preset.name
            if name in names:
                told = f"{name!r} is the name of {names[name]} too; rename one"
                self.faults.append(_fault_at(path, loaded.document, ("name",), told))
                continue
            names[name] = path
            self.good[path] = loaded

    def add(self, faults: Iterable["PresetFault"]) -> None:
        """Take *faults* of presets that were good until now."""
        for fault in faults:
            self.faults.append(fault)
            self.good.pop(Path(fault.file), None)

    def document(self) -> dict[str, Any]:
        return {
            "valid": not self.faults,
            "presets": [
                {
                    "file": str(path),
                    "name": loaded.preset.name,
                    "hash": loaded.hash,
                    "plugin": loaded.preset.strategy.plugin,
                    "symbols": list(loaded.preset.market.symbols),
                    "timeframe": loaded.preset.trigger.timeframe,
                }
                for path, loaded in self.good.items()
            ],
            "faults": [fault.model_dump(mode="json") for fault in self.faults],
        }

    def show(self, *, listing: bool) -> None:
        from tradewright import preset

        if self.faults:
            typer.echo(preset.render(self.faults))
        if not listing:
            return
        for path, loaded in self.good.items():
            of = loaded.preset
            symbols = ", ".join(of.market.symbols)
            typer.echo(f"{path}: valid: {of.name}, {symbols} {of.trigger.timeframe}, {loaded.hash}")
        valid, all_of_them = len(self.good), len(self.files)
        presets = "1 preset" if all_of_them == 1 else f"{all_of_them} presets"
        faults = "1 mistake" if len(self.faults) == 1 else f"{len(self.faults)} mistakes"
        typer.echo(f"{valid} of {presets} valid" + (f", {faults}" if self.faults else ""))


def _account_faults(
    settings: "Settings", presets: dict[Path, "LoadedPreset"]
) -> list["PresetFault"]:
    return [
        _fault_at(
            path,
            loaded.document,
            ("account",),
            f"{loaded.preset.account!r} is not the account of this command, "
            f"{settings.account!r}; give --account {loaded.preset.account} or correct it",
        )
        for path, loaded in presets.items()
        if loaded.preset.account != settings.account
    ]


async def _symbol_faults(
    settings: "Settings", presets: dict[Path, "LoadedPreset"]
) -> list["PresetFault"]:
    """Return a fault for each symbol that the exchange does not list."""
    if not presets:
        return []
    from activities.bybit import BybitClient
    from activities.secrets import VaultSecrets
    from tradewright.app.apply import unlisted

    symbols = {s: None for loaded in presets.values() for s in loaded.preset.market.symbols}
    bybit = BybitClient(settings.urls.rest_url, VaultSecrets.of(settings))
    try:
        advice = await unlisted(bybit, symbols)
    finally:
        bybit.close()
    return [
        _fault_at(
            path,
            loaded.document,
            ("market", "symbols", number),
            f"{symbol!r} is not listed at the exchange ({settings.venue}); {advice[symbol]}",
        )
        for path, loaded in presets.items()
        for number, symbol in enumerate(loaded.preset.market.symbols)
        if symbol in advice
    ]


def _fault_at(path: Path, text: str, where: tuple[str | int, ...], message: str) -> "PresetFault":
    """Return the fault at a place of a document that could be read."""
    from tradewright.preset import PresetFault, document

    root, _ = document.parse(text)
    place = root.at(where).place if root else document.START
    return PresetFault(
        file=str(path),
        line=place.line + 1,
        column=place.column + 1,
        path=".".join(map(str, where)),
        message=message,
        excerpt=text.split("\n")[place.line][:200],
    )
