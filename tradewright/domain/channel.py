"""What a person is told of a stream that cannot be relied on, and of its return."""

from datetime import datetime

from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.notice import Notice, Priority


def channel_notice(account: str, channel: Channel, now: datetime) -> Notice:
    """Return the notice of what *channel* is worth; *now* is wall time.

    Example:
        >>> from datetime import UTC
        >>> now = datetime(2025, 1, 1, tzinfo=UTC)
        >>> notice = channel_notice("main", Channel(name="public", since=now), now)
        >>> notice.key, notice.title, notice.resolved
        ('channel/main/public', 'public stream of main works again', True)
    """
    state = "cannot be relied on" if channel.fault else "works again"
    follower = ids.stream_workflow if channel.name == "private" else ids.market_workflow
    without = "no entries until it works again"
    if channel.name == "books":
        without = "presets that order books trigger enter nothing by those until it works again"
    return Notice(
        key=f"channel/{account}/{channel.name}",
        account=account,
        priority=Priority.WARNING,
        title=f"{channel.name} stream of {account} {state}",
        text=f"{channel.fault}; {without}" if channel.fault else "",
        workflow_id=follower(account),
        at=now,
        resolved=not channel.fault,
    )
