"""Whether a trade can be moved to the exits of another version of its preset."""

from enum import StrEnum

from tradewright.domain.market import Value
from tradewright.domain.plan import Target, TradePlan
from tradewright.domain.trade.event import Migrated


class Kept(StrEnum):
    """What a trade may keep that is moved to the exits of another version."""

    TARGETS = "targets"
    TRAILING = "trailing"


class Migration(Value):
    """What a person has moved a trade from, and to."""

    from_hash: str
    preset_hash: str
    by: str
    reason: str = ""


def migration_fault(
    plan: TradePlan, to: Migrated, *, is_trailed: bool, are_placed: bool, is_reached: bool
) -> str:
    """Return why an open trade cannot be moved; empty if it can.

    What stands at the exchange stays there: a stop that it trails, orders of targets, and the
    take profit at the position. All else is ours, and a stop of ours only ever tightens.

    Args:
        plan: Of the trade.
        to: The exits that it is to have.
        is_trailed: Whether the exchange trails its stop.
        are_placed: Whether its targets are at the exchange.
        is_reached: Whether anything of them was filled.
    """
    if to.preset_hash == plan.preset_hash:
        return f"it has the exits of version {plan.preset_hash} already"
    if is_trailed and to.exits.trailing != plan.exits.trailing:
        return (
            "the exchange trails its stop already, and to set that anew would loosen it; keep its "
            "trailing"
        )
    if (to.targets, to.take_profit) == (plan.targets, plan.take_profit):
        return ""
    if is_reached:
        return "one of its targets was filled already; keep its targets"
    if are_placed or to.take_profit != plan.take_profit:
        return (
            f"its targets stand at the exchange ({_goals(plan.targets, plan.take_profit)}), and "
            f"this version has others ({_goals(to.targets, to.take_profit)}); keep its targets"
        )
    return ""


def _goals(targets: tuple[Target, ...], take_profit: object) -> str:
    goals = [*(target.price for target in targets), *([take_profit] if take_profit else ())]
    return ", ".join(map(str, goals)) or "none"
