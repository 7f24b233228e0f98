"""What a folder of presets asks of the running strategies: a merge of three sides.

The base is what this folder said when it was acted on last, one side what it says now, the other
what runs. Only a change of the folder is a wish: what a person has applied or stopped since then
stays, and a folder that is older than what runs takes nothing back.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from tradewright.domain.market import Value
from tradewright.domain.plan import Mode

GONE: Final = "no file declares it any more"


class Standing(StrEnum):
    """What became of what a folder said of a preset."""

    INTENDED = "intended"
    """It is being applied; whoever comes after a crash goes on."""
    APPLIED = "applied"
    LEFT = "left"
    """Not applied, for what runs is newer or a person's wish; `note` says why."""
    IDLE = "idle"
    """It is not enabled and nothing of it runs."""
    GONE = "gone"
    """Its file is gone: it takes no entries."""


class Declared(Value):
    """What a folder says of one preset now."""

    name: str
    file: str
    preset_hash: str
    enabled: bool = True
    mode: Mode = Mode.TRADE
    body: str = Field(default="", description="Hash of all that it says but its name.")


class Remembered(Value):
    """What a folder said of one preset when it was acted on last."""

    name: str
    file: str
    preset_hash: str
    standing: Standing
    body: str = ""
    expected: str = Field(default="", description="The version that is to be replaced.")
    note: str = ""
    renamed: str = Field(default="", description="What it is called now that it is gone.")


class Running(Value):
    """What runs of a preset."""

    preset_hash: str
    enabled: bool = True
    mode: Mode = Mode.TRADE


class Act(StrEnum):
    START = "start"
    APPLY = "apply"
    DISABLE = "disable"


class Step(Value):
    """What to do about one preset, and what to remember of it."""

    remember: Remembered
    act: Act | None = Field(default=None, description="Unset: only remember.")


def step(
    base: Remembered | None, declared: Declared, running: Running | None, *, was_applied: bool
) -> Step | None:
    """Return what follows from a preset that the folder declares; None if nothing does.

    Args:
        base: What the folder said of it before; None if it was never seen there.
        declared: What the folder says now.
        running: What runs of it; None if nothing does.
        was_applied: Whether this very version was applied before, from wherever.
    """
    if base is None:
        return _first_sight(declared, running, was_applied)
    if base.standing is Standing.INTENDED and base.preset_hash == declared.preset_hash:
        return _resumed(base, declared, running)
    if base.standing is not Standing.GONE and base.preset_hash == declared.preset_hash:
        moved = base.model_copy(update={"file": declared.file})
        return Step(remember=moved) if moved != base else None
    return _changed(declared, running)


def step_when_gone(base: Remembered, running: Running | None, why: str = GONE) -> Step | None:
    """Return what follows from a preset that the folder declares no more."""
    if base.standing is Standing.GONE:
        return None
    takes_entries = running is not None and running.enabled
    return Step(
        remember=base.model_copy(
            update={
                "standing": Standing.GONE,
                "expected": running.preset_hash if running else "",
                "note": why,
            }
        ),
        act=Act.DISABLE if takes_entries else None,
    )


class Gone(Value):
    """A preset that the folder declares no more."""

    base: Remembered
    renamed: str = Field(default="", description="What it is called now; empty if it is deleted.")

    @property
    def why(self) -> str:
        return f"renamed {self.renamed}" if self.renamed else GONE


def gone(
    memory: Mapping[str, Remembered],
    declared: Collection[Declared],
    *,
    faulty: Collection[str] = (),
    claimed: Collection[str] = (),
    fresh: Collection[str] = (),
) -> tuple[Gone, ...]:
    """Return the presets that the folder declares no more.

    Args:
        memory: What the folder said before, by name.
        declared: What it says now; nothing at all is no wish, whatever was there before.
        faulty: Files that cannot be understood: what they said last stays.
        claimed: Names that such files bear: a file may be moved and broken at once.
        fresh: Names that came with this change of the folder: one may be a new name for another.
    """
    if not declared and not faulty:
        return ()
    names = {*claimed, *(each.name for each in declared)}
    known = {name for name, base in memory.items() if base.standing is not Standing.GONE}
    newcomers = [each for each in declared if each.name in fresh]
    return tuple(
        Gone(base=base, renamed=_successor(base, newcomers))
        for name, base in sorted(memory.items())
        if name in known - names and base.file not in faulty
    )


def _successor(base: Remembered, newcomers: Collection[Declared]) -> str:
    """Return which of the *newcomers* is *base* under another name."""
    in_place = [each.name for each in newcomers if each.file == base.file]
    alike = [each.name for each in newcomers if base.body and each.body == base.body]
    return next(iter(in_place + alike), "")


def held_mode(declared: Mode, before: Mode | None, *, is_same: bool = False) -> Mode:
    """Return the mode that *declared* may have: only a named person lets one trade that did not.

    What is said once more is no wish: the very version that was in mode *before* stays in it,
    into which a person may have put it since. An edit of the file is one, and may lower it.

    Example:
        >>> held_mode(Mode.TRADE, Mode.SHADOW), held_mode(Mode.ALERT, Mode.TRADE)
        (<Mode.SHADOW: 'shadow'>, <Mode.ALERT: 'alert'>)
        >>> held_mode(Mode.SHADOW, Mode.TRADE, is_same=True)
        <Mode.TRADE: 'trade'>
    """
    return before if before is not None and (is_same or declared is Mode.TRADE) else declared


def mode_note(preset: str, declared: Mode, mode: Mode, before: Mode | None) -> str:
    """Return what a person is to know of the mode that a version runs in; often nothing.

    Args:
        preset: Its name.
        declared: What its document says.
        mode: What it has become.
        before: What ran before it; None if nothing did.
    """
    if mode is not declared and mode is Mode.TRADE:
        return f"it trades, as a person has promoted it, though its document says {declared}"
    if mode is not declared:
        return (
            f"it stays in mode {mode}: `tradewright strategy promote {preset} --by NAME --reason "
            f"WHY` lets it trade"
        )
    if before is Mode.TRADE and mode is not Mode.TRADE:
        return f"it traded until now, and its document says {mode}: it sends nothing any more"
    return ""


def _remembered(declared: Declared, standing: Standing, **more: str) -> Remembered:
    return Remembered(
        name=declared.name,
        file=declared.file,
        preset_hash=declared.preset_hash,
        body=declared.body,
        standing=standing,
        **more,
    )


def _left(declared: Declared, note: str) -> Step:
    return Step(remember=_remembered(declared, Standing.LEFT, note=note))


def _first_sight(declared: Declared, running: Running | None, was_applied: bool) -> Step:
    if not was_applied:
        return _changed(declared, running)
    again = "save another one, or apply this one"
    if running is None:
        return _left(declared, f"this version ran and was stopped; {again}, to start it")
    if running.preset_hash != declared.preset_hash:
        newer = running.preset_hash
        return _left(declared, f"version {newer} replaced this one; {again}, to go back")
    if running.enabled != declared.enabled:
        return _left(declared, f"its entries were stopped elsewhere; {again}, to enable it")
    return Step(remember=_remembered(declared, Standing.APPLIED))


def _changed(declared: Declared, running: Running | None) -> Step:
    if running is None:
        if not declared.enabled:
            return Step(remember=_remembered(declared, Standing.IDLE))
        return Step(remember=_remembered(declared, Standing.INTENDED), act=Act.START)
    if running.preset_hash == declared.preset_hash and running.enabled == declared.enabled:
        return Step(remember=_remembered(declared, Standing.APPLIED))
    intended = _remembered(declared, Standing.INTENDED, expected=running.preset_hash)
    return Step(remember=intended, act=Act.APPLY)


def _resumed(base: Remembered, declared: Declared, running: Running | None) -> Step:
    now = running.preset_hash if running is not None else ""
    if now in {declared.preset_hash, base.expected}:
        return _changed(declared, running)
    what = f"version {now} was applied" if now else "it was stopped"
    return _left(declared, f"{what} meanwhile; save another version, or apply this one")
