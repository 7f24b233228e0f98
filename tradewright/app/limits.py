"""The limits of the running desk: shown, read again from their file, lifted by a person."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import structlog
from temporalio.client import Client

from activities.messenger import Messenger
from tradewright import ids
from tradewright.app.wish import ask, tell
from tradewright.domain.account import (
    GUARDS,
    Account,
    Limits,
    Pause,
    RefusalCode,
    Usage,
    breaches,
    counted,
    limit_changes,
    usage,
)
from tradewright.domain.account.usage import BREACHES
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value
from tradewright.domain.notice import Notice, Priority
from tradewright.settings import Settings, SettingsInvalid
from workflows.account import LiftWish, LimitsWish

log = structlog.get_logger(__name__)

POLL: Final = 2.0
"""Seconds between two looks at the file: one stat each."""

Mark = tuple[int, int, int]


COUNTS: Final = frozenset(
    (RefusalCode.MAX_DRAWDOWN, RefusalCode.LOSS_STREAK, RefusalCode.MAX_UNRESOLVED)
)
"""Codes of what is counted, and begins anew when a person lifts it."""
LIFTABLE: Final = (*(RefusalCode(code) for code in BREACHES.values()), *sorted(GUARDS))
"""Codes of what may pause entries, of all presets or of one."""


class LimitsShown(Value):
    """The limits in force, how near each is, and what keeps entries from being made."""

    workflow_id: str
    limits: tuple[Usage, ...]
    breaches: tuple[str, ...]
    pauses: tuple[Pause, ...]


class LimitsLifted(Value):
    """What a person has lifted, in words, and what still holds entries back."""

    lifted: tuple[str, ...]
    pauses: tuple[Pause, ...]
    losses: int
    peak_equity: Decimal


class NothingToLift(TradewrightError):
    def __init__(self, what: str) -> None:
        super().__init__(f"nothing to lift: {what}; see `tradewright limits show`")


class LimitsReloaded(Value):
    file: str
    """Empty if the limits came from no file."""
    changes: tuple[str, ...]


async def show_limits(client: Client, account: str, *, now: datetime) -> LimitsShown:
    """Return the limits as the desk has them; *now* is the wall clock."""
    desk = ids.account_workflow(account)
    book, limits = await asyncio.gather(
        ask(client, desk, "account", Account), ask(client, desk, "limits", Limits)
    )
    return LimitsShown(
        workflow_id=desk,
        limits=limits_used(book, limits, now),
        breaches=tuple(
            f"{b.code} ({b.consequence}): {b.reason}" for b in breaches(book, limits, now)
        ),
        pauses=book.pauses,
    )


def limits_used(book: Account, limits: Limits, now: datetime) -> tuple[Usage, ...]:
    """Return how near each limit is; a streak that has paused entries as it was when it fired."""
    used = usage(book, limits, now)
    if RefusalCode.LOSS_STREAK not in {pause.code for pause in book.pauses}:
        return used
    # The count begins anew with the pause that it brings
    fired = {"now": f"{limits.loss_streak}, paused", "share": Decimal(1)}
    return tuple(
        line.model_copy(update=fired) if line.limit == "loss_streak" else line for line in used
    )


async def reload_limits(client: Client, settings: Settings, *, by: str) -> LimitsReloaded:
    """Put what the settings file says now in force, whatever an operator has set since.

    Raises:
        SettingsInvalid: The file says what is no limit; nothing was changed.
    """
    declared = settings.reread_limits()
    desk = ids.account_workflow(settings.account)
    before = await ask(client, desk, "limits", Limits)
    wish = LimitsWish(limits=declared, declared=True, anew=True, by=by)
    after = await tell(client, desk, "limits", wish, Limits, probe="limits")
    file = settings.limits_file
    return LimitsReloaded(file=str(file) if file else "", changes=limit_changes(before, after))


async def lift(
    client: Client,
    account: str,
    code: RefusalCode | None,
    *,
    preset: str = "",
    reason: str,
    by: str,
    now: datetime,
) -> LimitsLifted:
    """End the pause or the count behind *code*, or every pause.

    What a guard of presets counts begins anew, for *preset* alone if one is named.

    Raises:
        NothingToLift: It holds no entries back; nothing was done.
    """
    desk = ids.account_workflow(account)
    before, limits = await asyncio.gather(
        ask(client, desk, "account", Account), ask(client, desk, "limits", Limits)
    )
    pauses = [pause for pause in before.pauses if code in (None, pause.code)]
    breached = code in COUNTS and code in {b.code for b in breaches(before, limits, now)}
    losses = _guarded_losses(before, code, preset) if code in GUARDS else {}
    if code in GUARDS and not losses:
        raise NothingToLift(f"{code} counts no loss{f' of {preset}' if preset else ''}")
    if not pauses and not breached and not losses:
        raise NothingToLift(f"{code} holds no entries back" if code else "nothing is paused")
    wish = LiftWish(code=code, preset=preset, reason=reason, by=by)
    after = await tell(client, desk, "lift", wish, Account, probe="account")
    lifted = [f"the pause by {pause.code}: {pause.reason}" for pause in pauses]
    match code:
        case RefusalCode.MAX_DRAWDOWN:
            was, peak = f"{before.peak_equity:.2f}", f"{after.peak_equity:.2f}"
            lifted.append(f"the peak of the equity begins anew at {peak} USDT, it was {was}")
        case RefusalCode.LOSS_STREAK:
            lifted.append(f"the count of losses begins anew at {after.losses}")
        case RefusalCode.MAX_UNRESOLVED:
            doubts = len(before.doubts(now)), len(after.doubts(now))
            lifted.append(f"orders of unknown outcome that count: {doubts[0]} -> {doubts[1]}")
    lifted += [f"losses of {name} that count no more: {count}" for name, count in losses.items()]
    return LimitsLifted(
        lifted=tuple(lifted),
        pauses=after.pauses,
        losses=after.losses,
        peak_equity=after.peak_equity,
    )


def _guarded_losses(book: Account, code: RefusalCode, preset: str) -> dict[str, int]:
    """Return how many losses a guard counts now, by preset."""
    names = sorted({r.preset for r in book.results if preset in {"", r.preset}})
    found = {
        name: sum(r.pnl < 0 for r in counted(book.results, book.lifts, code, name))
        for name in names
    }
    return {name: count for name, count in found.items() if count}


async def current_limits(settings: Settings) -> Limits:
    """Return what the file says now; if that is wrong, what this process began with."""
    try:
        return await asyncio.to_thread(settings.reread_limits)
    except SettingsInvalid:
        return settings.limits


async def follow_limits(client: Client, settings: Settings) -> None:
    """Declare the limits to the desk whenever their file changes, for ever.

    A file with mistakes changes nothing; a person is told, and told again when it is mended.
    """
    file = settings.limits_file
    if file is None:
        return
    messenger = Messenger(client)
    seen: Mark | None = None
    is_first, is_faulty = True, False
    while True:
        mark = await asyncio.to_thread(_mark, file)
        if is_first or mark != seen:
            seen, is_first = mark, False
            is_faulty = await _declare(messenger, settings, is_faulty=is_faulty)
        await asyncio.sleep(POLL)


async def _declare(messenger: Messenger, settings: Settings, *, is_faulty: bool) -> bool:
    """Declare what the file says now; return whether it is spoiled."""
    try:
        limits = await asyncio.to_thread(settings.reread_limits)
    except SettingsInvalid as e:
        log.error("limits_not_read", detail=str(e), file=str(settings.limits_file))
        title = "the limits in the settings file are wrong: the last good ones stay"
        await _tell(messenger, settings, title, str(e), resolved=False)
        return True
    wish = LimitsWish(limits=limits, by=f"settings file {settings.limits_file}", declared=True)
    await messenger.tell(ids.account_workflow(settings.account), "limits", wish)
    if is_faulty:
        title = "the limits in the settings file are right again"
        await _tell(messenger, settings, title, "", resolved=True)
    return False


async def _tell(
    messenger: Messenger, settings: Settings, title: str, text: str, *, resolved: bool
) -> None:
    notice = Notice(
        key=f"settings/{settings.account}/limits",
        account=settings.account,
        priority=Priority.ROUTINE if resolved else Priority.WARNING,
        title=title,
        text=text[:2000],
        workflow_id=ids.account_workflow(settings.account),
        at=datetime.now(UTC),
        resolved=resolved,
    )
    await messenger.tell(ids.notifier_workflow(settings.account), "tell", notice)


def _mark(file: Path) -> Mark | None:
    """Return what changes whenever the file does; None if it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
