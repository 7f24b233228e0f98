"""What a case shows in the Web UI: markdown."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tradewright.domain.case import Case, CaseState, Choice
from workflows.page import moment, needs_person

STATE_WORDS: Final[Mapping[CaseState, str]] = MappingProxyType(
    {
        CaseState.OPEN: "a person has to decide",
        CaseState.DECIDED: "decided, a later comparison has to verify it",
        CaseState.IGNORED: "ignored as long as it does not change",
        CaseState.CLOSED: "closed",
    }
)
CHOICE_WORDS: Final[Mapping[Choice, str]] = MappingProxyType(
    {
        Choice.ADOPT: "make a trade of the position, with a stop",
        Choice.CLOSE: "leave the market",
        Choice.FIX: "let the exchange be right: the trade asks it and sets its stop again, "
        "an order is cancelled",
        Choice.IGNORE: "let it be; anything else than exactly this is asked about again",
    }
)


def case_page(case: Case, needs_operator: str) -> str:
    opening = case.opening
    asks = case.waits_for_person
    what = opening.kind.replace("_", " ").capitalize()
    lines = [
        f"### {what} on {opening.symbol or 'the account'}: {STATE_WORDS[case.state]}",
        *needs_person(needs_operator or (f"{opening.detail}; decide" if asks else "")),
        f"- what differs: {opening.detail}",
        f"- since {moment(case.since)}",
    ]
    if opening.trade_id:
        lines.append(f"- trade `{opening.trade_id}`")
    if case.blocks:
        lines.append(f"- **no entries on {opening.symbol or 'the account'}** until it is closed")
    if case.remark:
        lines.append(f"- asked again: {case.remark}")
    if case.escalations and asks:
        lines.append(f"- asked for the {case.escalations + 1}. time")
    if case.decision:
        because = f": {case.decision.reason}" if case.decision.reason else ""
        lines.append(f"- **{case.decision.choice}** by {case.decision.by}{because}")
    if case.remedy:
        lines.append(f"- done: {case.remedy}")
    if case.outcome:
        lines.append(f"- outcome: {case.outcome}")
    if not case.is_over:
        lines += ["", "*Choices:*", ""]
        lines += [f"- `{choice}`: {CHOICE_WORDS[choice]}" for choice in opening.choices]
        first = opening.choices[0]
        lines += [
            "",
            f'*Send a Signal: `decide` with `{{"choice": "{first}", "by": "ann", '
            '"reason": "…"}`; or `tradewright case decide`. Request Cancellation closes nothing.*',
        ]
    return "\n".join(lines)
