"""What a reconciliation does about each difference: policy, attempts so far, and open cases."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import Field

from tradewright.domain.case import Case, CaseOpening, CaseState, Sighting
from tradewright.domain.market import Value
from tradewright.domain.reconciliation import (
    Discrepancy,
    Kind,
    Policies,
    Policy,
    choices_of,
)

OF_ORDERS = frozenset({Kind.UNKNOWN_ORDER, Kind.FOREIGN_ORDER})
"""What is seen of them does not depend on what a trade is at."""
REMEDIES = frozenset({Policy.ADOPT, Policy.CLOSE, Policy.FIX})


class Key(NamedTuple):
    """What a case is about: one kind of difference on one symbol."""

    symbol: str
    kind: str


class Memory(Value):
    """What one run hands to the next."""

    attempts: dict[str, int] = Field(default_factory=dict)
    """Remedies so far, by symbol and kind; counted for as long as the difference is seen."""
    tripped: tuple[str, ...] = ()
    """Fingerprints that have tripped the kill switch: once is enough, or nobody could rearm."""


class Ruling(Value):
    """What is to be done about one kind of difference on one symbol."""

    opening: CaseOpening
    policy: Policy
    keeps_fixing: bool = False
    """Whether it is mended even while a person is asked: no position stays without its stop."""

    @property
    def name(self) -> str:
        return f"{self.opening.symbol}/{self.opening.kind}"


def opening_of(account: str, found: Sequence[Discrepancy], at: datetime) -> CaseOpening:
    """Return the case about *found*, all of one kind on one symbol."""
    first = found[0]
    return CaseOpening(
        account=account,
        symbol=first.symbol,
        kind=first.kind,
        detail="; ".join(d.detail for d in found)[:1500],
        fingerprint=" + ".join(sorted(d.fingerprint for d in found)),
        trade_id=first.trade_id,
        workflow_id=first.workflow_id,
        choices=choices_of(first.kind),
        subjects=tuple(found),
        at=at,
    )


def openings(account: str, found: Iterable[Discrepancy], at: datetime) -> dict[Key, CaseOpening]:
    """Return *found* put together by kind and symbol, in their order."""
    groups: dict[Key, list[Discrepancy]] = {}
    for discrepancy in found:
        groups.setdefault(Key(discrepancy.symbol, discrepancy.kind), []).append(discrepancy)
    return {key: opening_of(account, group, at) for key, group in groups.items()}


def cases_by_key(cases: Iterable[Case]) -> dict[Key, Case]:
    return {Key(case.opening.symbol, case.opening.kind): case for case in cases}


def standing(
    found: Mapping[Key, CaseOpening], policies: Policies, cases: Mapping[Key, Case]
) -> dict[Key, CaseOpening]:
    """Return those of *found* that neither the settings nor a person lets be."""
    return {
        key: opening
        for key, opening in found.items()
        if policies.of(Kind(key.kind)) is not Policy.IGNORE
        and not (key in cases and cases[key].accepts(opening.fingerprint))
    }


def barring(
    found: Mapping[Key, CaseOpening], policies: Policies, cases: Mapping[Key, Case]
) -> dict[Key, CaseOpening]:
    """Return those of *found* that let nothing be entered on their symbols.

    A position that is let be does not stand in the way of others, but a trade on its symbol
    would become one with it.
    """
    stand = standing(found, policies, cases)
    return {
        key: opening
        for key, opening in found.items()
        if key in stand or key.kind == Kind.ORPHAN_POSITION
    }


def ruling(
    opening: CaseOpening, policies: Policies, case: Case | None, memory: Memory, *, halted: bool
) -> Ruling:
    """Return what is to be done about what two passes agree on.

    A case that is open has the word; a policy that trips does so once for each difference, and
    then asks.
    """
    policy, remark = policies.of(Kind(opening.kind)), ""
    tried = memory.attempts.get(f"{opening.symbol}/{opening.kind}", 0)
    if case is not None and not case.is_over:
        policy = Policy.ASK
    elif policy in REMEDIES and tried >= policies.attempts:
        policy, remark = Policy(policies.unmended), f"{tried} remedies did not mend it"
    if policy is Policy.TRIP and (halted or opening.fingerprint in memory.tripped):
        policy = Policy.ASK
    detail = f"{opening.detail}; {remark}" if remark else opening.detail
    return Ruling(
        opening=opening.model_copy(update={"detail": detail}),
        policy=policy,
        keeps_fixing=opening.kind == Kind.MISSING_STOP
        and policies.of(Kind.MISSING_STOP) is Policy.FIX,
    )


def remembered(
    memory: Memory, rulings: Iterable[Ruling], seen: Iterable[Key], uncompared: Iterable[str]
) -> Memory:
    """Return the memory after a run: what is not seen any more starts again from none."""
    rulings, unread = tuple(rulings), set(uncompared)
    kept = {f"{key.symbol}/{key.kind}" for key in seen}
    attempts = {
        name: count
        for name, count in memory.attempts.items()
        if name in kept or name.partition("/")[0] in unread
    }
    for made in rulings:
        if made.policy in REMEDIES:
            attempts[made.name] = attempts.get(made.name, 0) + 1
    tripped = [r.opening.fingerprint for r in rulings if r.policy is Policy.TRIP]
    return Memory(
        attempts=attempts, tripped=tuple(dict.fromkeys((*memory.tripped, *tripped)))[-50:]
    )


class Told(NamedTuple):
    """What a case that runs has to hear."""

    case: Case
    sighting: Sighting


def told(
    at: datetime,
    cases: Mapping[Key, Case],
    found: Mapping[Key, CaseOpening],
    seen: Collection[Key],
    uncompared: Iterable[str],
    unlooked: Iterable[Kind],
    ended: Collection[str],
) -> tuple[Told, ...]:
    """Return what each case learns from the comparison; nothing where it learns nothing.

    Args:
        at: When the reads of the comparison began, on the wall clock.
        cases: Those that run.
        found: What both passes saw.
        seen: All that the comparison saw: what is merely on its way is no news.
        uncompared: Symbols of which it saw nothing: a read failed, or the trade is at work.
        unlooked: Kinds that it could not look for.
        ended: Workflow ids of trades that have asked themselves, and run no more.
    """
    blind, unseen = set(uncompared), {kind.value for kind in unlooked}
    differing = {key.symbol for key in seen}
    heard = []
    for key, case in cases.items():
        if key in found:
            if _has_news(case, found[key]):
                heard.append(Told(case, Sighting(at=at, opening=found[key])))
        elif (
            key in seen or key.kind in unseen or (key.symbol in blind and key.kind not in OF_ORDERS)
        ):
            continue
        elif (
            not case.opening.is_of_trade
            or case.opening.workflow_id in ended
            or (
                # What a trade asked itself is answered when nothing differs afterwards
                case.state is CaseState.DECIDED and key.symbol not in differing
            )
        ):
            heard.append(Told(case, Sighting(at=at)))
    return tuple(heard)


def _has_news(case: Case, opening: CaseOpening) -> bool:
    changed = case.opening.fingerprint != opening.fingerprint
    return changed or case.state is CaseState.DECIDED or case.not_there > 0
