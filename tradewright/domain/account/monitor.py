"""The risk monitor: what the account has come to, against its limits."""

from tradewright.domain.account.desk import Account
from tradewright.domain.account.limits import Limits


def breach(account: Account, limits: Limits) -> str | None:
    """Return why the kill switch must trip, or None.

    The limit is on equity: unrealised losses count.
    """
    loss = account.day_loss_fraction
    if loss < limits.max_daily_loss_fraction:
        return None
    return (
        f"max_daily_loss: equity fell {loss:.2%} since the start of {account.day}, "
        f"the limit is {limits.max_daily_loss_fraction:.2%}"
    )
