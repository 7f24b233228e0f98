"""What the notifier shows in the Web UI: markdown."""

from typing import Final
from urllib.parse import quote

from tradewright.ports import Notices, OpenNotice, SentNotice
from workflows.page import CANCEL_IGNORED, moment, needs_person

SHOWN: Final = 10
"""Of what is open, and of what was sent; `tradewright notice list` shows the rest."""


def notifier_page(notices: Notices, namespace: str) -> str:
    unanswered = [n for n in notices.open if n.priority == "urgent" and not n.acknowledged_by]
    many = {0: "Nobody is needed", 1: "1 notice waits for an answer"}
    lines = [
        f"### {many.get(len(unanswered), f'{len(unanswered)} notices wait for an answer')}",
        *needs_person(notices.needs_operator),
    ]
    lines += [_open_line(notice, namespace) for notice in notices.open[:SHOWN]]
    if (left := len(notices.open) - SHOWN) > 0:
        lines.append(f"- and {left} more that are open")
    lines += [f"- **{f.receiver or 'sending'} fails:** {f.reason}" for f in notices.faults]
    lines += [_sent_line(message) for message in notices.sent[:SHOWN]]
    if unanswered:
        lines += ["", '*Send a Signal: `acknowledge` with `{"key": "…", "by": "ann"}`.*']
    return "\n".join([*lines, "", CANCEL_IGNORED])


def _open_line(notice: OpenNotice, namespace: str) -> str:
    where = ""
    if notice.workflow_id:
        page = quote(notice.workflow_id, safe="")
        where = f" ([look](/namespaces/{namespace}/workflows/{page}))"
    if notice.acknowledged_by:
        state = f"{notice.acknowledged_by} looks after it"
    else:
        times = "once" if notice.told == 1 else f"{notice.told} times"
        state = f"told {times}" if notice.told else "not told yet"
    since = moment(notice.since)
    return f"- **{notice.title}**{where}, since {since}, {state}; key `{notice.key}`"


def _sent_line(message: SentNotice) -> str:
    if message.again_at is not None and message.attempts:
        failed = ", ".join(f.receiver for f in message.failed)
        state = f"not taken by {failed} yet, again {moment(message.again_at)}"
    elif message.again_at is not None:
        state = "being sent"
    elif message.failed:
        state = f"**given up for {', '.join(f.receiver or 'all' for f in message.failed)}**"
    else:
        state = f"sent to {', '.join(message.delivered) or 'the log'}"
    return f"- {moment(message.at)}, {message.priority}: {message.title}: {state}"
