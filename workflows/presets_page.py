"""What the watcher of presets shows in the Web UI: markdown, flat lists only."""

from collections.abc import Sequence
from typing import Final

from tradewright.domain.folder import Remembered, Standing
from tradewright.domain.notice import shortened
from tradewright.ports import FolderMemory
from workflows.page import moment, needs_person

LONGEST: Final = 8_000
"""Bytes of faults; Temporal takes 20,000 of a page."""
MOST_LINES: Final = 40
LONGEST_NOTE: Final = 150

WORDS: Final = {
    Standing.INTENDED: "is being applied",
    Standing.APPLIED: "applied",
    Standing.LEFT: "**not applied**",
    Standing.IDLE: "not enabled",
    Standing.GONE: "takes no entries",
}


def presets_page(folders: Sequence[FolderMemory], needs_operator: str) -> str:
    if not folders:
        return "\n".join(["### No folder of presets is watched yet", *needs_person(needs_operator)])
    watched, others = folders[0], folders[1:]
    lines = [f"### Watches `{watched.place}`", *needs_person(needs_operator)]
    if watched.waiting:
        lines.append(f"- **waits:** {watched.waiting}")
    # What needs a look comes first
    shown = sorted(watched.presets, key=lambda each: (not each.note, each.name))
    lines += [_line(each) for each in shown[:MOST_LINES]]
    if len(shown) > MOST_LINES:
        lines.append(f"- and {len(shown) - MOST_LINES} more")
    if watched.at:
        lines.append(f"- last news {moment(watched.at)}")
    lines += [f"- watched before: `{each.place}`" for each in others]
    if watched.faults:
        text = "\n\n".join(fault.text for fault in watched.faults)
        lines += ["", "```", text.encode()[:LONGEST].decode(errors="ignore"), "```"]
    lines += ["", "*A saved file is applied when it is valid; open trades keep their version.*"]
    return "\n".join(lines)


def _line(each: Remembered) -> str:
    said = f"- `{each.name}` {WORDS[each.standing]}: version `{each.preset_hash}`, {each.file}"
    return f"{said}; {shortened(each.note, LONGEST_NOTE)}" if each.note else said
