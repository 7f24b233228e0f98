"""What a reconciliation shows in the Web UI: markdown."""

from collections.abc import Sequence
from urllib.parse import quote

from tradewright import ids
from tradewright.domain.case import CaseState
from tradewright.ports import Comparison
from workflows.case_page import STATE_WORDS
from workflows.page import moment


def reconciliation_page(
    last: Comparison, mended: Sequence[str], left: Sequence[str], namespace: str
) -> str:
    found = len(last.discrepancies)
    many = {0: "Exchange and trades agree", 1: "1 difference"}.get(found, f"{found} differences")
    lines = [
        f"### {many}",
        f"- positions at the exchange: {last.positions}",
        f"- trades that run: {last.trades}",
        f"- read {moment(last.at)}",
    ]
    lines += [f"- mended: {line}" for line in mended]
    lines += [f"- **left as it is:** {line}" for line in left]
    for case in last.cases:
        opening = case.opening
        name = ids.case_workflow(opening.account, opening.symbol or "-", opening.kind)
        page = f"/namespaces/{namespace}/workflows/{quote(name, safe='')}"
        words = STATE_WORDS[case.state]
        asks = case.state is CaseState.OPEN
        lines.append(f"- case [`{name}`]({page}): {f'**{words}**' if asks else words}")
    if last.unlooked:
        lines.append(f"- could not be looked for: {', '.join(last.unlooked)}")
    return "\n".join(lines)
