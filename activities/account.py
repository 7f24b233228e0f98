"""The account at Bybit, and the desk's decision on every proposal."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, Protocol, cast

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from activities import parse
from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.cancellation import raise_if_cancelled
from activities.ledger import fetch_flows
from activities.pace import Pace
from activities.pulse import beating
from activities.rehearsal import rehearsed
from tradewright import ids
from tradewright.domain.account import (
    Approved,
    Baseline,
    Decision,
    MarginMode,
    Past,
    PositionMode,
    Snapshot,
    Tally,
    tally,
)
from tradewright.domain.errors import (
    AnswerMalformed,
    DeskUnreachable,
    TradewrightError,
)
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.plan import FeeRates, Mode, Proposal
from tradewright.ports import AccountPort, Rehearsal, SnapshotWish

log = structlog.get_logger(__name__)

ANSWER_WITHIN = timedelta(seconds=10)
LATER: Final = timedelta(minutes=1)
"""How far beyond now the log is read: what comes between two reads is in it."""
PROBE: Final = "BTCUSDT"
"""A symbol whose position tells the account's mode when nothing is held."""


class DecisionJournal(Protocol):
    """The part of the journal that the desk writes to and rebuilds itself from."""

    async def append(self, incoming: Sequence[JournalEvent]) -> int: ...
    async def past(self, account: str) -> Past | None: ...


class BybitAccount(AccountPort):
    def __init__(
        self,
        client: BybitClient,
        journal: DecisionJournal,
        pace: Pace,
        temporal: Client,
        shadow_fees: FeeRates | None = None,
    ) -> None:
        """Let virtual trades pay *shadow_fees*; unset, what is asked of who has no tier."""
        self._client = client
        self._shadow_fees = shadow_fees or FeeRates()
        self._journal = journal
        self._pace = pace
        self._temporal = temporal

    @activity.defn
    @beating
    async def read_snapshot(self, wish: SnapshotWish) -> Snapshot:
        """Read equity, all that is held, and what the wallet has done since the last time.

        A position that cannot be read fails the snapshot: what is at risk is then not known, and
        the desk refuses every entry until it is. A log that cannot be read fails nothing, but
        equity is judged by no limit until it can, or until that has lasted too long.
        """
        # Before the reads: a snapshot is never younger than what it shows
        now, market_now = datetime.now(UTC), await self._pace.market_now()
        past, past_fault = await self._past(wish)
        baseline = wish.baseline or (past.baseline if past else None)
        answer, rows = await asyncio.gather(
            self._client.call("get_wallet_balance", accountType="UNIFIED"),
            self._position_rows(),
        )
        wallet = _wallet(answer)
        # After the wallet: what it was changed by is in the log then
        cash, cash_fault = await self._cash(wallet.balance, baseline, market_now)
        positions = [p for p in map(parse.position, rows) if p is not None]
        snapshot = Snapshot(
            at=now,
            market_at=market_now,
            equity=wallet.equity,
            wallet=wallet.balance,
            positions=tuple(positions),
            margin_ratio=wallet.margin_ratio,
            liquidation_prices=_liquidation_prices(rows),
            cash=cash,
            cash_fault=cash_fault,
            clock_skew=self._client.clock_skew,
            position_mode=await self._position_mode(rows) if wish.modes else _mode_of(rows),
            margin_mode=await self._margin_mode() if wish.modes else None,
            past=past,
            past_fault=past_fault,
        )
        try:
            await self._journal.append([_snapshot_event(wish.account, snapshot, baseline)])
        except TradewrightError as e:
            # The desk needs the snapshot; the record of it may have a gap
            log.warning("snapshot_not_recorded", detail=str(e))
        return snapshot

    async def _past(self, wish: SnapshotWish) -> tuple[Past | None, str]:
        """Return what was before a desk that knows nothing yet, or why that is not known."""
        if wish.baseline is not None:
            return None, ""
        try:
            return await self._journal.past(wish.account) or Past(), ""
        except TradewrightError as e:
            log.warning("past_not_read", detail=str(e))
            return None, str(e)

    async def _position_rows(self) -> list[parse.Row]:
        found: list[parse.Row] = []
        cursor = ""
        while True:
            answer = await self._client.call(
                "get_positions", category=LINEAR, settleCoin=SETTLE_COIN, limit=200, cursor=cursor
            )
            page = parse.rows("get_positions", answer)
            found.extend(page)
            cursor = answer["result"].get("nextPageCursor") or ""
            if not cursor or not page:
                return found

    async def _cash(
        self, wallet: Decimal, baseline: Baseline | None, market_now: datetime
    ) -> tuple[Tally | None, str]:
        mark = baseline.cash if baseline else None
        day = market_now.replace(hour=0, minute=0, second=0, microsecond=0)
        since = mark.since if mark else day
        try:
            flows = await fetch_flows(self._client, since, market_now + LATER)
        except TradewrightError as e:
            log.warning("cash_not_read", detail=str(e))
            return None, str(e)
        return tally(flows, wallet, mark, market_now), ""

    async def _position_mode(self, held: Sequence[parse.Row]) -> PositionMode | None:
        """Return the mode of what is held, or else that of a symbol that everybody lists."""
        if (mode := _mode_of(held)) is not None:
            return mode
        try:
            answer = await self._client.call("get_positions", category=LINEAR, symbol=PROBE)
        except TradewrightError as e:
            log.warning("position_mode_unknown", detail=str(e))
            return None
        return _mode_of(parse.rows("get_positions", answer))

    async def _margin_mode(self) -> MarginMode | None:
        try:
            answer = await self._client.call("get_account_info")
            return MarginMode(answer["result"]["marginMode"])
        except (TradewrightError, KeyError, TypeError, ValueError) as e:
            log.warning("margin_mode_unknown", detail=f"{type(e).__name__}: {e}")
            return None

    @activity.defn
    @beating
    async def reserve(self, proposal: Proposal) -> Decision:
        decision = await self._decision(proposal)
        await self._journal.append([_event(proposal, decision)])
        return decision

    @activity.defn
    @beating
    async def rehearse(self, rehearsal: Rehearsal) -> Decision:
        decision = await rehearsed(self._temporal, rehearsal, self._shadow_fees)
        proposal = rehearsal.proposal.model_copy(update={"mode": Mode.SHADOW})
        await self._journal.append([_event(proposal, decision)])
        return decision

    async def _decision(self, proposal: Proposal) -> Decision:
        desk = ids.account_workflow(proposal.account)
        try:
            return cast(
                Decision,
                await self._temporal.get_workflow_handle(desk).execute_update(
                    "reserve",
                    proposal,
                    id=proposal.trade_id,
                    result_type=cast(type, Decision),
                    rpc_timeout=ANSWER_WITHIN,
                ),
            )
        except WorkflowUpdateFailedError as e:
            raise DeskUnreachable(desk, f"it refused the update, {e.cause}") from e
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError) as e:
            raise_if_cancelled()
            raise DeskUnreachable(desk, str(e) or type(e).__name__) from e


class _Wallet(NamedTuple):
    """Of the settle coin, as is the log that explains it; the margin ratio is the account's."""

    balance: Decimal
    equity: Decimal
    margin_ratio: Decimal | None


def _wallet(answer: dict[str, Any]) -> _Wallet:
    accounts = parse.rows("get_wallet_balance", answer)
    try:
        account = accounts[0]
        coins = {coin["coin"]: coin for coin in account["coin"]}
        # One that never held it has no row of it
        ours = coins.get(SETTLE_COIN, {"walletBalance": 0, "equity": 0})
        # Empty under isolated margin, where each position has its own
        ratio = account.get("accountMMRate") or None
        return _Wallet(
            balance=Decimal(ours["walletBalance"] or 0),
            equity=Decimal(ours["equity"]),
            margin_ratio=Decimal(ratio) if ratio else None,
        )
    except (IndexError, KeyError, TypeError, InvalidOperation) as e:
        raise AnswerMalformed("get_wallet_balance", f"{type(e).__name__}: {e}") from e


def _liquidation_prices(rows: Sequence[parse.Row]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for row in rows:
        # Empty where the exchange sees none: far away, or hedged
        with contextlib.suppress(InvalidOperation, TypeError):
            if price := Decimal(row.get("liqPrice") or 0):
                found[row["symbol"]] = price
    return found


def _mode_of(rows: Sequence[parse.Row]) -> PositionMode | None:
    """Return the mode that the rows of positions tell; None if there is none."""
    if not rows:
        return None
    is_hedged = any(row.get("positionIdx") in {1, 2, "1", "2"} for row in rows)
    return PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY


def _snapshot_event(account: str, snapshot: Snapshot, baseline: Baseline | None) -> JournalEvent:
    chain = activity.info().workflow_id or ids.account_workflow(account)
    data: dict[str, Any] = {
        "snapshot": snapshot.model_dump(mode="json", exclude={"past", "past_fault"})
    }
    # A desk that does not know its past must not write another one over it
    if baseline is not None:
        data["baseline"] = baseline.model_dump(mode="json")
    return JournalEvent(
        event_id=f"{chain}/snapshot/{snapshot.at.isoformat()}",
        chain=chain,
        kind=EventKind.SNAPSHOT,
        account=account,
        at=snapshot.at,
        market_at=snapshot.market_at,
        data=data,
    )


def _event(proposal: Proposal, decision: Decision) -> JournalEvent:
    info = activity.info()
    chain = info.workflow_id or ids.strategy_workflow(proposal.preset)
    if isinstance(decision, Approved):
        kind = EventKind.SIGNAL_APPROVED
        told: dict[str, Any] = {"plan": decision.plan.model_dump(mode="json")}
    else:
        kind = EventKind.SIGNAL_REFUSED
        told = {"code": decision.code.value, "reason": decision.reason}
    data = {"proposal": proposal.model_dump(mode="json"), **told}
    # Equal on every attempt; a decision that came out differently later is another event
    digest = hashlib.sha256(json.dumps([info.scheduled_time.isoformat(), data]).encode())
    return JournalEvent(
        event_id=f"{chain}/{proposal.trade_id}/decision/{digest.hexdigest()[:8]}",
        chain=chain,
        kind=kind,
        account=proposal.account,
        at=info.scheduled_time,
        market_at=proposal.trigger,
        trade_id=proposal.trade_id,
        symbol=proposal.symbol,
        preset=proposal.preset,
        data=data,
    )
