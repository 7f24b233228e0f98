"""Which of Bybit's endpoints a method of pybit asks, and how often one may.

Source:
    Bybit, API rate limit: per account, endpoint and rolling second; per address, 600 requests in
    five seconds. An account of a higher grade is told its own limit in every answer.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

PUBLIC: Final = frozenset(
    {
        *("get_server_time", "get_instruments_info", "get_kline", "get_mark_price_kline"),
        *("get_tickers", "get_orderbook", "get_funding_rate_history", "get_risk_limit"),
        *("get_public_trade_history", "get_price_limit", "get_system_status"),
        "get_open_interest",
    }
)
"""Methods that are sent without a key, and counted by address alone."""


class Endpoint(NamedTuple):
    name: str
    """Without the version: ``order/create``."""
    limit: int | None
    """Requests of one account in a second; None where only the address counts."""

    @property
    def group(self) -> str:
        """What is up or down together: ``order``."""
        return self.name.partition("/")[0]


MARKET: Final = Endpoint("market", None)
OTHER: Final = Endpoint("other", 10)
ADDRESS: Final = "address"
"""The budget that all endpoints share."""
ADDRESS_LIMIT, ADDRESS_PERIOD = 600, 5.0

ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {
        **dict.fromkeys(PUBLIC, MARKET),
        "place_order": Endpoint("order/create", 10),
        "amend_order": Endpoint("order/amend", 10),
        "cancel_order": Endpoint("order/cancel", 10),
        "cancel_all_orders": Endpoint("order/cancel-all", 10),
        "get_open_orders": Endpoint("order/realtime", 50),
        "get_order_history": Endpoint("order/history", 50),
        "get_executions": Endpoint("execution/list", 50),
        "get_positions": Endpoint("position/list", 50),
        "get_closed_pnl": Endpoint("position/closed-pnl", 50),
        "set_trading_stop": Endpoint("position/trading-stop", 10),
        "set_leverage": Endpoint("position/set-leverage", 10),
        "switch_position_mode": Endpoint("position/switch-mode", 10),
        "get_wallet_balance": Endpoint("account/wallet-balance", 50),
        "get_account_info": Endpoint("account/info", 50),
        "get_transaction_log": Endpoint("account/transaction-log", 25),
        "get_fee_rates": Endpoint("account/fee-rate", 5),
        "set_margin_mode": Endpoint("account/set-margin-mode", 5),
        "get_api_key_information": Endpoint("user/query-api", 10),
    }
)


def endpoint_of(method: str) -> Endpoint:
    """Return what pybit's *method* asks; methods nobody uses here share one narrow budget."""
    return ENDPOINTS.get(method, OTHER)
