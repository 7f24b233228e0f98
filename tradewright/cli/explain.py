"""`explain`: what a preset means and what it costs."""

from decimal import Decimal
from typing import TYPE_CHECKING

import typer

from tradewright.cli.invocation import Format, OutputOption, print_document
from tradewright.cli.option import PresetArgument
from tradewright.cli.table import print_table, share

if TYPE_CHECKING:
    from tradewright.app.authoring.cost import Cost
    from tradewright.app.authoring.explanation import Explanation

TOPICS_SHOWN = 8
LEAST_SHARE = Decimal("0.0001")


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    preset: PresetArgument,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what a preset means: every value and its origin, its warm-up, what it asks of Bybit."""
    from tradewright import preset as presets
    from tradewright.app.authoring.explanation import explanation

    found = explanation(presets.load(preset))
    if output is Format.JSON:
        content = found.model_dump(mode="json")
        content["cost"] |= {
            "at_start": found.cost.at_start,
            "per_minute": str(found.cost.per_minute),
        }
        print_document("explanation", explanation=content)
        return
    _show(found)


def _show(found: "Explanation") -> None:
    from tradewright.app.authoring.explanation import told

    typer.echo(
        f"{found.name} {found.preset_hash}, plugin {found.plugin} version {found.plugin_version}"
    )
    for sentence in found.words:
        typer.echo(f"  {sentence}")
    print_table(
        ("KEY", "VALUE", "FROM"),
        [(each.path, each.value, each.origin) for each in found.values],
        title="Values",
    )
    print_table(
        ("SERIES", "SYMBOL", "CANDLES", "OF", "WARM-UP"),
        [
            (each.series, each.symbol, each.candles, each.timeframe, told(each.span))
            for each in found.warm_up
        ],
        title="Warm-up: what must have closed before it is asked",
    )
    if found.series:
        typer.echo(f"It also looks at {', '.join(found.series)}.")
    _show_cost(found.cost)


def _show_cost(cost: "Cost") -> None:
    from tradewright.app.authoring.cost import ALLOWED

    rows = [
        (each.what, each.at_start or "", f"{each.per_minute:.2f}" if each.per_minute else "")
        for each in cost.requests
    ]
    rows.append(("together", cost.at_start, f"{cost.per_minute:.2f}"))
    print_table(
        ("REQUESTS FOR", "AT THE START", "PER MINUTE"),
        rows,
        title="Bybit: requests, those of its trades apart",
    )
    part = share(cost.share) if cost.share > LEAST_SHARE else f"less than {share(LEAST_SHARE)}"
    typer.echo(f"That is {part} of the {ALLOWED:,f} per minute that one address is allowed.")
    topics = list(cost.topics[:TOPICS_SHOWN])
    if more := len(cost.topics) - len(topics):
        topics.append(f"and {more} more")
    each = f", for each of {cost.symbols} symbols" if "{symbol}" in cost.topics[0] else ""
    typer.echo(f"Topics of the public stream{each}: {', '.join(topics)}")
