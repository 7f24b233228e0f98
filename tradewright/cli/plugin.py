"""`plugin`: strategies that are installed, and one of one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tradewright.cli.invocation import Format, OutputOption, print_document, say
from tradewright.cli.table import print_table

commands = typer.Typer(help="Strategies: what is installed, and one of your own.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="plugin", no_args_is_help=True)


@commands.command("list")
def list_plugins(output: OutputOption = Format.TABLE) -> None:
    """Name the installed strategies, where they come from, and what is wrong with them."""
    from tradewright import plugin

    rows = [_row(name) for name in sorted(plugin.installed())]
    if output is Format.JSON:
        print_document("plugins", plugins=rows)
        return
    print_table(
        ("PLUGIN", "VERSION", "FROM", "RUNS", "PARAMETERS", "FAULT"),
        [
            (
                row["name"],
                row["version"],
                row["distribution"],
                "in a process of its own" if row["foreign"] else "in the worker",
                ", ".join(row["parameters"]),
                row["fault"],
            )
            for row in rows
        ],
    )


@commands.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the plugin, such as mean_reversion.")
    ],
    folder: Annotated[
        Path, typer.Option("--folder", help="Its project is made below it.", file_okay=False)
    ] = Path("."),
    output: OutputOption = Format.TABLE,
) -> None:
    """Write the project of a strategy in Python: entry point, strategy, tests, a preset."""
    from tradewright.app.authoring.scaffold import make_plugin

    made = make_plugin(name, folder)
    root = made[0].parent
    if output is Format.JSON:
        print_document("plugin_made", folder=str(root), files=[str(path) for path in made])
        return
    for path in made:
        typer.echo(f"wrote  {path}")
    say("")
    say(f"the strategy is yours to change:  {root / name / 'strategy.py'}")
    say(f"try it:      cd {root} && python -m pytest")
    say(f"install it:  pip install --editable {root}")


def _row(name: str) -> dict[str, Any]:
    from tradewright import plugin

    distribution = plugin.installed()[name].dist
    row: dict[str, Any] = {
        "name": name,
        "version": "",
        "distribution": distribution.name if distribution else "",
        "foreign": plugin.is_foreign(name),
        "parameters": [],
        "fault": "",
    }
    try:
        declared = plugin.load(name).Params.model_fields
        row |= {"version": plugin.version(name)}
    except plugin.PluginBroken as e:
        return row | {"fault": str(e)}
    return row | {"parameters": [field.alias or key for key, field in declared.items()]}
