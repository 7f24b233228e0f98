"""From a mistake in the model's words to its line and column in the file."""

from tradewright.preset import document
from tradewright.preset.document import Flaw, Node
from tradewright.preset.fault import PresetFault
from tradewright.preset.wording import Mistake


def located(text: str, root: Node, mistake: Mistake) -> Flaw:
    node = root.at(mistake.path)
    if mistake.column is not None:
        place = document.place_inside(text, node, mistake.column - 1)
    else:
        place = node.key_place if mistake.at_key else node.place
    return Flaw(place, mistake.path, mistake.message)


def fault_at(text: str, source: str, flaw: Flaw) -> PresetFault:
    """Return *flaw* as a person is told it, with the line of *text* that it is in."""
    lines = text.split("\n")
    line = lines[flaw.place.line].rstrip("\r") if flaw.place.line < len(lines) else ""
    return PresetFault(
        file=source,
        line=flaw.place.line + 1,
        column=flaw.place.column + 1,
        path=".".join(map(str, flaw.path)),
        message=flaw.message,
        excerpt=line[:200],
    )
