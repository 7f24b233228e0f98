"""Every endpoint: who answers it, and who may ask."""

from collections.abc import Callable

import msgspec

from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.rest import instrument, kline, market, statistics, trade

Handler = Callable[[Call], Row | Answer]


class Route(msgspec.Struct, frozen=True):
    handler: Handler
    is_signed: bool = True
    has_category: bool = True
    """Whether ``category`` is one of its parameters."""
    is_batch: bool = False
    """Whether the handler counts its orders by `Call.spend`."""


def _public(handler: Handler) -> Route:
    return Route(handler, is_signed=False, has_category=False)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/v5/market/time"): _public(market.time),
    ("GET", "/v5/market/instruments-info"): _public(instrument.instruments_info),
    ("GET", "/v5/market/kline"): _public(kline.kline),
    ("GET", "/v5/market/mark-price-kline"): _public(kline.mark_price_kline),
    ("GET", "/v5/market/index-price-kline"): _public(kline.index_price_kline),
    ("GET", "/v5/market/premium-index-price-kline"): _public(kline.premium_index_price_kline),
    ("GET", "/v5/market/tickers"): _public(market.tickers),
    ("GET", "/v5/market/orderbook"): _public(market.orderbook),
    ("GET", "/v5/market/recent-trade"): _public(market.recent_trade),
    ("GET", "/v5/market/price-limit"): _public(market.price_limit),
    ("GET", "/v5/market/funding/history"): _public(statistics.funding_history),
    ("GET", "/v5/market/open-interest"): _public(statistics.open_interest_history),
    ("GET", "/v5/market/account-ratio"): _public(statistics.account_ratio),
    ("GET", "/v5/market/risk-limit"): _public(instrument.risk_limit),
    ("POST", "/v5/order/create"): Route(trade.create),
    ("POST", "/v5/order/amend"): Route(trade.amend),
    ("POST", "/v5/order/cancel"): Route(trade.cancel),
    ("POST", "/v5/order/cancel-all"): Route(trade.cancel_all),
    ("GET", "/v5/order/realtime"): Route(trade.realtime),
    ("GET", "/v5/order/history"): Route(trade.order_history),
    ("GET", "/v5/execution/list"): Route(trade.executions),
    ("GET", "/v5/position/list"): Route(trade.positions),
    ("POST", "/v5/position/set-leverage"): Route(trade.set_leverage),
    ("POST", "/v5/position/trading-stop"): Route(trade.trading_stop),
    ("GET", "/v5/position/closed-pnl"): Route(trade.closed_pnl),
    ("GET", "/v5/account/wallet-balance"): Route(trade.wallet_balance, has_category=False),
    ("GET", "/v5/account/fee-rate"): Route(trade.fee_rate),
    ("GET", "/v5/account/info"): Route(trade.account_info, has_category=False),
}
