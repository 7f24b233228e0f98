"""The account at Bybit, and the desk's decision on every proposal."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, cast

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from activities import lookup, parse
from activities.bybit import SETTLE_COIN, BybitClient
from activities.cancellation import raise_if_cancelled
from activities.pace import Pace
from activities.pulse import beating
from tradewright import ids
from tradewright.domain.account import Approved, Decision, Snapshot
from tradewright.domain.errors import AnswerMalformed, DeskUnreachable, TradewrightError
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.plan import Proposal
from tradewright.ports import AccountPort

log = structlog.get_logger(__name__)

ANSWER_WITHIN = timedelta(seconds=10)


class DecisionJournal(Protocol):
    """The part of the journal that a decision is written to."""

    async def append(self, incoming: Sequence[JournalEvent]) -> int: ...


class BybitAccount(AccountPort):
    def __init__(
        self, client: BybitClient, journal: DecisionJournal, pace: Pace, temporal: Client
    ) -> None:
        self._client = client
        self._journal = journal
        self._pace = pace
        self._temporal = temporal

    @activity.defn
    @beating
    async def read_snapshot(self, account: str) -> Snapshot:
        """Read equity and all that is held.

        A position that cannot be read fails the snapshot: what is at risk is then not known, and
        the desk refuses every entry until it is.
        """
        # Before the reads: a snapshot is never younger than what it shows
        now, market_now = datetime.now(UTC), await self._pace.market_now()
        answer = await self._client.call("get_wallet_balance", accountType="UNIFIED")
        wallet, equity = _balance(answer)
        positions = await lookup.fetch_positions(self._client)
        snapshot = Snapshot(
            at=now, market_at=market_now, equity=equity, wallet=wallet, positions=positions
        )
        try:
            await self._journal.append([_snapshot_event(account, snapshot)])
        except TradewrightError as e:
            # The desk needs the snapshot; the record of it may have a gap
            log.warning("snapshot_not_recorded", detail=str(e))
        return snapshot

    @activity.defn
    @beating
    async def reserve(self, proposal: Proposal) -> Decision:
        decision = await self._decision(proposal)
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


def _balance(answer: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """Return the settle coin's wallet, and the equity of the whole account."""
    accounts = parse.rows("get_wallet_balance", answer)
    try:
        account = accounts[0]
        equity = Decimal(account["totalEquity"])
        wallets = {coin["coin"]: coin["walletBalance"] for coin in account["coin"]}
        return Decimal(wallets.get(SETTLE_COIN) or 0), equity
    except (IndexError, KeyError, TypeError, InvalidOperation) as e:
        raise AnswerMalformed("get_wallet_balance", f"{type(e).__name__}: {e}") from e


def _snapshot_event(account: str, snapshot: Snapshot) -> JournalEvent:
    chain = activity.info().workflow_id or ids.account_workflow(account)
    return JournalEvent(
        event_id=f"{chain}/snapshot/{snapshot.at.isoformat()}",
        chain=chain,
        kind=EventKind.SNAPSHOT,
        account=account,
        at=snapshot.at,
        market_at=snapshot.market_at,
        data={"snapshot": snapshot.model_dump(mode="json")},
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
