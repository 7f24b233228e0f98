"""`init` and `new`: a folder of presets of one's own."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tradewright.cli import completion
from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import Format, OutputOption, print_document, say
from tradewright.cli.option import a_symbol
from tradewright.cli.table import print_table

FOLDER = Path("strategies")


def register(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(new)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Made if it is not there; else this one.")
    ] = Path("."),
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a project: a first preset, the schemas and what editors need; overwrites nothing."""
    from tradewright.app.authoring.project import FIRST_PRESET, make_project
    from tradewright.paper.schema import schemas as paper_schemas

    made = make_project(folder, paper_schemas())
    if output is Format.JSON:
        files = [{"path": str(each.path), "new": each.is_new} for each in made]
        print_document("project", folder=str(folder), files=files)
        return
    for each in made:
        typer.echo(f"{'wrote' if each.is_new else 'kept '}  {each.path}")
    preset = folder / FOLDER / f"{FIRST_PRESET}.yaml"
    say("")
    say(f"look at the first preset:   {preset}")
    _say_next(preset)


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the preset, such as btc-trend.")
    ] = "",
    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            help="Which one to begin with; --list names them.",
            autocompletion=completion.templates,
        ),
    ] = "ema-cross",
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol", parser=a_symbol, metavar="SYMBOL", help="Trade this; may be repeated."
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where it is written.", file_okay=False)
    ] = FOLDER,
    listing: Annotated[bool, typer.Option("--list", help="Name the templates.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a preset from a template; it begins in the shadow and sends nothing."""
    from tradewright.app.authoring.project import make_preset
    from tradewright.app.authoring.template import modeline
    from tradewright.preset import load

    if listing:
        _list_templates(output)
        return
    if not name:
        raise typer.BadParameter("name the preset, or give --list", param_hint="NAME")
    path = make_preset(name, template, folder, symbols=symbol or ())
    # What was written is checked like what people write
    valid = _faults(path)
    if output is Format.JSON:
        print_document("preset_made", file=str(path), template=template, faults=valid)
    else:
        typer.echo(f"wrote  {path}")
    if valid:
        say("\n".join(fault["message"] for fault in valid))
        raise typer.Exit(ExitCode.INVALID)
    say("")
    _say_next(path, has_candles=load(path).preset.trigger.on == "candle")
    if not modeline(folder):
        say("`tradewright init` writes the schema too, with which an editor completes and checks")


def _faults(path: Path) -> list[dict[str, Any]]:
    from tradewright import preset

    try:
        preset.load(path)
    except preset.PresetInvalid as e:
        return [fault.model_dump(mode="json") for fault in e.faults]
    return []


def _list_templates(output: Format) -> None:
    from tradewright.app.authoring.template import templates

    found = templates()
    if output is Format.JSON:
        rows = [{"name": each.name, "summary": each.summary} for each in found]
        print_document("templates", templates=rows)
        return
    print_table(("TEMPLATE", "IDEA"), [(each.name, each.summary) for each in found])


def _say_next(preset: Path, *, has_candles: bool = True) -> None:
    shown = os.path.relpath(preset) if not preset.is_absolute() else str(preset)
    say(f"what it means, what it costs: tradewright explain {shown}")
    if has_candles:
        say(f"what it would have said:      tradewright try {shown} --candles FILE")
    say(f"hand it to a running system:  tradewright apply {shown}")
