"""The kill switch without Temporal: from this process, with pybit alone, until flat is proven."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from activities.bybit import BybitClient
from activities.flattening import Flattening, Links
from activities.urgency import Urgency
from tradewright import ids
from tradewright.app.connect import opened_journal
from tradewright.app.trip_key import KEYLESS, AskKey, Keys
from tradewright.app.trip_record import FLAT, FOLDER, TripRecord, recorded, wish_to_halt
from tradewright.domain.errors import KeyRefused, TradewrightError
from tradewright.domain.gate import FlatProof, Gate
from tradewright.domain.market import Value
from tradewright.ports import Exposure
from tradewright.settings import Settings

ROUND: Final = 10.0
"""Seconds after which a round of closing says what is left, and begins again."""
CANCEL_WITHIN: Final = 10.0
ROW_FIRST: Final = 1.0
REWRITE_EVERY: Final = 2.0
ROW_LAST: Final = 3.0
"""Seconds that the gate's row is still waited for when flat is proven."""
LONGEST_PAUSE: Final = 5.0


class Progress(Value):
    """How a trip stands: what it does, what is left, and what a person must know."""

    at: datetime
    step: str
    exposure: Exposure | None = None
    remark: str = ""


class DirectTrip(Value):
    """How a trip ended: flat was read twice."""

    account: str
    by: str
    reason: str
    began_at: datetime
    flat_at: datetime
    rounds: int
    cancelled: int
    closed: int
    """Positions that were held at the beginning."""
    gate_fault: str = ""
    """Why the gate's row could not be closed; empty if it was."""
    journal_fault: str = ""
    record: str
    record_fault: str = ""


async def trip_directly(
    settings: Settings,
    *,
    reason: str,
    by: str,
    ask_key: AskKey,
    show: Callable[[Progress], None],
) -> DirectTrip:
    """Close the gate and everything that is held; return when flat was read twice.

    Every step is in a record on the disk before it is done, so that it may be killed at any
    moment and run again.

    Args:
        settings: Name account, venue, journal and Vault.
        reason: Shown to everybody.
        by: Who.
        ask_key: Asks a person for the key where neither Vault nor the environment has one.
        show: Told whatever changes.

    Raises:
        KeyRefused: The exchange does not take the key.
        VaultUnreachable: There is no key at all.
    """
    wish = wish_to_halt(settings.account, reason, by, datetime.now(UTC))
    with recorded(settings.state / FOLDER, wish) as record:
        keys = Keys(settings, ask_key)
        client = BybitClient(settings.urls.rest_url, keys, urgency=Urgency.EXIT)
        gate = _GateRow(settings, wish)
        writing = asyncio.create_task(gate.keep_writing())
        try:
            return await _Trip(settings, wish, record, client, gate, show).run()
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            client.close()


class _GateRow:
    """The gate's row: closed as soon as the journal takes it; nothing waits for it for long."""

    def __init__(self, settings: Settings, wish: Gate) -> None:
        self._settings = settings
        self._wish = wish
        self.closed = asyncio.Event()
        self._tried = asyncio.Event()
        self.closed_at: datetime | None = None
        self.fault = "not tried yet"

    async def keep_writing(self) -> None:
        while not self.closed.is_set():
            try:
                async with opened_journal(self._settings) as journal:
                    await journal.set_gate(self._wish, rearm=False)
            except TradewrightError as e:
                self.fault = str(e)
                self._tried.set()
                await asyncio.sleep(REWRITE_EVERY)
            else:
                self.fault, self.closed_at = "", datetime.now(UTC)
                self.closed.set()
                self._tried.set()

    async def wait(self, within: float, *, once: bool = False) -> bool:
        """Return whether the row is closed; *once* waits for no more than the first try."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await (self._tried if once else self.closed).wait()
        return self.closed.is_set()


class _Trip:
    def __init__(
        self,
        settings: Settings,
        wish: Gate,
        record: TripRecord,
        client: BybitClient,
        gate: _GateRow,
        show: Callable[[Progress], None],
    ) -> None:
        self._settings = settings
        self._wish = wish
        self._record = record
        self._gate = gate
        self._show = show
        self._step = self._fault_at_end = ""
        self._seen: Exposure | None = None
        links = Links(partial(ids.direct_kill_link, wish.at))
        self._flattening = Flattening(client, links, watch=self._see)

    async def run(self) -> DirectTrip:
        self._say("closing the gate")
        if not await self._gate.wait(ROW_FIRST, once=True):
            self._note("gate_not_closed", f"{self._gate.fault}; it is tried again")
        held = await self._first_look()
        cancelled = await self._cancel_entries()
        rounds = await self._flatten()
        self._note(FLAT, f"read twice, {rounds} rounds")
        return DirectTrip(
            account=self._wish.account,
            by=self._wish.by,
            reason=self._wish.reason,
            began_at=self._wish.at,
            flat_at=datetime.now(UTC),
            rounds=rounds,
            cancelled=cancelled,
            closed=len(held.positions),
            gate_fault=self._fault_at_end,
            journal_fault=await self._write_journal(),
            record=str(self._record.path),
            record_fault=self._record.fault,
        )

    async def _first_look(self) -> Exposure:
        """Read what is held; a key that is missing or refused ends it here, for nothing helps."""
        self._say("reading what is held")
        tries = 0
        while True:
            try:
                held = await self._flattening.exposure()
            except (KeyRefused, *KEYLESS) as e:
                self._note("refused", str(e))
                raise
            except TradewrightError as e:
                tries += 1
                await self._hindered(e, tries)
            else:
                self._note("held", _listed(held))
                return held

    async def _cancel_entries(self) -> int:
        self._say("cancelling entries")
        try:
            async with asyncio.timeout(CANCEL_WITHIN):
                cancelled = await self._flattening.cancel_entries()
        except (TradewrightError, TimeoutError) as e:
            # Cancel-all comes for them once the account is flat
            self._note("entries_not_cancelled", str(e) or f"not within {CANCEL_WITHIN:g} s")
            return 0
        self._note("entries_cancelled", str(cancelled))
        return cancelled

    async def _flatten(self) -> int:
        proof, rounds = FlatProof(closed_at=self._wish.at), 0
        while not (proof.is_given and await self._counts(proof)):
            if self._gate.closed_at is not None and proof.closed_at != self._gate.closed_at:
                self._note("gate_closed", "the row in the journal is halted")
                # Until then somebody may have entered: reads count from now
                proof = FlatProof(closed_at=self._gate.closed_at)
            rounds += 1
            self._say(f"flattening, round {rounds}")
            asked_at = datetime.now(UTC)
            try:
                exposure = await self._flattening.close_all(ROUND)
            except TradewrightError as e:
                proof = proof.after(is_flat=False, asked_at=asked_at)
                await self._hindered(e, rounds)
                continue
            proof = proof.after(is_flat=exposure.is_flat, asked_at=asked_at)
            if proof.reads == 1:
                pause = proof.pause(datetime.now(UTC)).total_seconds()
                self._say(f"flat; reading again in {pause:.0f} s, when nothing sent can land")
                await asyncio.sleep(pause)
            elif not exposure.is_flat:
                self._say(f"left: {_listed(exposure)}", remark=_unreadable(exposure))
        return rounds

    async def _counts(self, proof: FlatProof) -> bool:
        """Return whether the gate is closed since before the reads, or cannot be closed at all."""
        if not await self._gate.wait(ROW_LAST):
            self._fault_at_end = self._gate.fault
            self._note("gate_not_closed", self._fault_at_end)
            return True
        return proof.closed_at == self._gate.closed_at

    async def _hindered(self, error: TradewrightError, tries: int) -> None:
        self._say(self._step, remark=f"{error}; it goes on trying")
        await asyncio.sleep(min(0.5 * tries, LONGEST_PAUSE))

    async def _write_journal(self) -> str:
        try:
            async with opened_journal(self._settings) as journal:
                await journal.append(self._record.events)
        except TradewrightError as e:
            return str(e)
        return ""

    def _see(self, exposure: Exposure) -> None:
        self._seen = exposure
        self._say(self._step)

    def _note(self, step: str, detail: str) -> None:
        self._record.note(step, detail, datetime.now(UTC))
        self._say(f"{step.replace('_', ' ')}: {detail}")

    def _say(self, step: str, remark: str = "") -> None:
        self._step = step
        self._show(Progress(at=datetime.now(UTC), step=step, exposure=self._seen, remark=remark))


def _listed(exposure: Exposure) -> str:
    shown = ", ".join(f"{p.symbol} {p.side} {p.qty:f}" for p in exposure.positions)
    held = f"{len(exposure.positions)} positions ({shown})" if shown else "no position"
    return f"{held}, {exposure.orders} orders"


def _unreadable(exposure: Exposure) -> str:
    if not exposure.unreadable:
        return ""
    return f"{exposure.unreadable} rows of the exchange cannot be read: look there yourself"
