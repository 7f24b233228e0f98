"""What a person is told, and how urgently; the words for what happens most."""

import re
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AwareDatetime, BeforeValidator, Field, SecretStr, model_validator

from tradewright import ids
from tradewright.domain.market import Side, Value

if TYPE_CHECKING:
    from tradewright.domain.trade import Trade

LONGEST_TITLE: Final = 200
LONGEST_TEXT: Final = 2000
DIGITS: Final = 8
"""That count, of a price or a quantity: an average of fills may have fifty."""


def shortened(text: str, longest: int) -> str:
    """Return *text*, cut at *longest* characters.

    Example:
        >>> shortened("a long story", 7), shortened("short", 7)
        ('a long…', 'short')
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _shortening(longest: int) -> BeforeValidator:
    # Who tells of a fault must not fail over the length of its text
    return BeforeValidator(lambda v: shortened(v, longest) if isinstance(v, str) else v)


Title = Annotated[str, _shortening(LONGEST_TITLE)]
Text = Annotated[str, _shortening(LONGEST_TEXT)]


class Priority(IntEnum):
    """How soon somebody must look; what asks for an answer is repeated until it has one."""

    ROUTINE = 1
    """Fills and exits: good to know."""
    WARNING = 2
    """Something works less well than it should: a refusal of note, a breaker, a channel."""
    URGENT = 3
    """A person has to act: a trip, a case, a trade that cannot go on."""


class Notice(Value):
    """One thing to tell; the same key is the same thing, told again only when it has changed."""

    key: str = Field(
        min_length=1, description="What it is about: ``trade/BTCUSDT/tw…/needs_operator``."
    )
    account: str
    priority: Priority
    title: Title
    text: Text = ""
    workflow_id: str = Field(default="", description="Where to look in the Web UI.")
    at: AwareDatetime | None = Field(default=None, description="Wall clock.")
    resolved: bool = Field(
        default=False, description="Whether what the key is about is over: no more repeats."
    )


# --- who is told ------------------------------------------------------------------------------


def _priority(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in Priority.__members__:
        return Priority[value.upper()]
    if isinstance(value, Priority):
        return value
    raise ValueError(f"must be one of {', '.join(p.name.lower() for p in Priority)}")


class Receiver(Value):
    """Where notices go: an apprise URL, which is a secret."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9 _.-]{0,40}$")
    url: SecretStr
    at_least: Annotated[Priority, BeforeValidator(_priority)] = Field(
        default=Priority.ROUTINE,
        alias="from",
        description="The least priority that it is sent: routine, warning or urgent.",
    )

    @property
    def scheme(self) -> str:
        """Return what kind of service it is, which is all of the URL that may be shown."""
        found = re.match(r"^([A-Za-z][A-Za-z0-9]{0,19}):", self.url.get_secret_value())
        return found[1].lower() if found else "url"


def _receiver(value: Any) -> Any:
    return {"url": value} if isinstance(value, str | SecretStr) else value


def _receivers(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class NotifySettings(Value):
    """Who is told; the log always is. More receivers may be in Vault, beside the exchange key."""

    urls: Annotated[
        tuple[Annotated[Receiver, BeforeValidator(_receiver)], ...], BeforeValidator(_receivers)
    ] = Field(
        default=(),
        description="Of apprise: tgram://…, slack://…, mailto://…, json://…; or {url, name, from}.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "NotifySettings":
        names = [receiver.name for receiver in self.receivers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"receivers share the name {', '.join(sorted(twice))}; rename one")
        return self

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        """Return them, those without a name called after their kind: ``tgram-1``."""
        return tuple(
            receiver
            if receiver.name
            else receiver.model_copy(update={"name": f"{receiver.scheme}-{number}"})
            for number, receiver in enumerate(self.urls, start=1)
        )

    def revealed(self) -> dict[str, Any]:
        """Return them as a settings file holds them, secrets included."""
        return {
            "urls": [
                {"name": r.name, "url": r.url.get_secret_value(), "from": r.at_least.name.lower()}
                for r in self.receivers
            ]
        }


# --- what is told -----------------------------------------------------------------------------


def _number(value: Decimal | None) -> str:
    if value is None:
        return "?"
    rounded = f"{round(value, max(0, DIGITS - 1 - value.adjusted())):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def _words(code: str) -> str:
    return code.replace("_", " ")


def _notice(trade: "Trade", about: str, priority: Priority, title: str, text: str) -> Notice:
    plan = trade.plan
    workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
    return Notice(
        key=f"{workflow_id}/{about}",
        account=plan.account,
        priority=priority,
        title=title,
        text=text,
        workflow_id=workflow_id,
    )


def _what(trade: "Trade") -> str:
    direction = "long" if trade.plan.side is Side.BUY else "short"
    return f"{trade.plan.symbol} {direction}"


def trade_opened(trade: "Trade") -> Notice:
    """Say that *trade* is in the market: how much, at which price, and what it risks."""
    plan = trade.plan
    stop = trade.stop if trade.stop is not None else plan.stop_loss
    risk = f"{plan.risk:.2f} USDT at risk" if plan.risk else "risk not known"
    lines = [
        f"{_number(trade.entry_qty)} at {_number(trade.entry_price)}, stop {_number(stop)}, {risk}",
        f"preset {plan.preset}" + (f": {plan.reason}" if plan.reason else ""),
    ]
    title = f"{_what(trade)} opened"
    return _notice(trade, "opened", Priority.ROUTINE, title, "\n".join(lines))


def target_reached(trade: "Trade") -> Notice:
    """Say that *trade* has taken a part of its profit, and what is still held."""
    number, count = trade.targets_reached, len(trade.targets)
    lines = [
        f"{_number(trade.open_qty)} of {_number(trade.entry_qty)} still held, "
        f"stop {_number(trade.wanted_stop)}",
        f"{trade.pnl:+.2f} USDT so far, preset {trade.plan.preset}",
    ]
    title = f"{_what(trade)} reached target {number} of {count}"
    return _notice(trade, f"target-{number}", Priority.ROUTINE, title, "\n".join(lines))


def trade_closed(trade: "Trade") -> Notice:
    """Say what *trade* came to: PnL, R, and why it left; or why it never entered."""
    if not trade.was_open:
        why = trade.rejection or trade.exit_note or "it did not fill"
        title = f"{_what(trade)} was not entered"
        return _notice(trade, "closed", Priority.ROUTINE, title, why)
    r = f" ({trade.r_multiple:+.2f} R)" if trade.r_multiple is not None else ""
    reason = _words(trade.exit_reason) if trade.exit_reason else "reason not known"
    lines = [
        f"{reason}" + (f": {trade.exit_note}" if trade.exit_note else ""),
        f"{_number(trade.entry_qty)} from {_number(trade.entry_price)} to "
        f"{_number(trade.exit_price)}, fees {trade.fees:.2f} USDT",
        f"preset {trade.plan.preset}",
    ]
    title = f"{_what(trade)} closed: {trade.pnl:+.2f} USDT{r}"
    return _notice(trade, "closed", Priority.ROUTINE, title, "\n".join(lines))


def trade_needs_operator(trade: "Trade", why: str) -> Notice:
    """Say that *trade* cannot go on without a person; without a reason, that it can again."""
    notice = _notice(
        trade,
        "needs_operator",
        Priority.URGENT,
        f"{_what(trade)} needs a person",
        why or "it goes on by itself again",
    )
    return notice.model_copy(update={"resolved": not why})


def strategy_needs_operator(account: str, preset: str, why: str) -> Notice:
    """Say that the strategy of *preset* cannot go on as it should; without a reason, that it can.

    Its trades are not concerned, so nobody has to get up at night for it.
    """
    workflow_id = ids.strategy_workflow(preset)
    return Notice(
        key=f"{workflow_id}/needs_operator",
        account=account,
        priority=Priority.WARNING,
        title=f"strategy {preset} needs a person",
        text=why or "it goes on by itself again",
        workflow_id=workflow_id,
        resolved=not why,
    )


EVERYDAY: Final = frozenset(
    (
        *("symbol_taken", "already_traded", "cooldown", "max_open_trades"),
        *("preset_max_open_trades", "below_minimum", "max_orders_per_minute"),
    )
)
"""Codes of refusals that are a preset's normal life."""


def refusal_of_note(account: str, preset: str, symbol: str, code: str, why: str) -> Notice | None:
    """Return what to tell of a refused entry; None if such refusals are nothing special."""
    if code in EVERYDAY:
        return None
    workflow_id = ids.strategy_workflow(preset)
    return Notice(
        key=f"{workflow_id}/refused/{code}",
        account=account,
        priority=Priority.WARNING,
        title=f"{preset} may not enter: {_words(code)}",
        text=f"{symbol}: {why}",
        workflow_id=workflow_id,
    )
