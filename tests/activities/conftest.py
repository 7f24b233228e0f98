"""The paper exchange, reached by pybit through a line on which things go wrong as scripted."""

import asyncio
import dataclasses
import functools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pydantic import SecretStr
from requests import ReadTimeout
from temporalio.testing import ActivityEnvironment

from activities import lookout
from activities.bybit import BybitClient, http_session
from activities.exchange import BybitExchange
from activities.pace import PaperPace
from activities.secrets import ExchangeKey
from tests.activities.decider_worker import DOCUMENT, MakeWorker, Watcher, Worker
from tests.activities.exchange_of_data import DataExchange
from tests.activities.preset_town import PresetTown
from tradewright import ids
from tradewright.app.paper_control import control
from tradewright.domain.account import Past
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.event import JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Instrument, Side
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import EntryPlaced
from tradewright.matching import OrderStatus
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.ports import TradeOrder

KEY, SECRET = "kX81mmQz40vb", "sR72LLpe93ha5Tq1"
Fault = Callable[[Callable[[], Any]], Any]
MakePlan = Callable[..., TradePlan]


# --- what goes wrong --------------------------------------------------------------------------


class Faults:
    """What the next call of a method may meet."""

    @staticmethod
    def lost_answer(send: Callable[[], Any]) -> Any:
        """The exchange carries it out, and its answer never arrives."""
        send()
        raise ReadTimeout("read timed out")

    @staticmethod
    def lost_request(send: Callable[[], Any]) -> Any:
        """It never arrives at the exchange, which nobody can tell from a lost answer."""
        raise ReadTimeout("read timed out")

    @staticmethod
    def answers(ret_code: int, text: str = "no", **headers: str) -> Fault:
        """The exchange answers with this retCode and does nothing."""

        def fault(send: Callable[[], Any]) -> Any:
            raise InvalidRequestError("GET", text, ret_code, "00:00:00", headers)

        return fault

    @staticmethod
    def http_status(status: int) -> Fault:
        def fault(send: Callable[[], Any]) -> Any:
            raise FailedRequestError("GET", "HTTP status code is not 200.", status, "00:00:00", {})

        return fault

    @staticmethod
    def empty_list(send: Callable[[], Any]) -> Any:
        """A read that does not show yet what was written."""
        answer, elapsed, headers = send()
        answer["result"]["list"] = []
        return answer, elapsed, headers

    @staticmethod
    def rows(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Fault:
        """What a read lists is changed on the way."""

        def fault(send: Callable[[], Any]) -> Any:
            answer, elapsed, headers = send()
            answer["result"]["list"] = change(answer["result"]["list"])
            return answer, elapsed, headers

        return fault

    @staticmethod
    def flat(send: Callable[[], Any]) -> Any:
        """A read of positions that shows none of those that are held."""
        nothing = {"size": "0", "side": "", "avgPrice": "0", "stopLoss": "", "unrealisedPnl": ""}
        return Faults.rows(lambda rows: [row | nothing for row in rows])(send)

    @staticmethod
    def naked(send: Callable[[], Any]) -> Any:
        """A read of positions that shows no stop."""
        return Faults.rows(lambda rows: [row | {"stopLoss": ""} for row in rows])(send)

    @staticmethod
    def with_an_unreadable_row(send: Callable[[], Any]) -> Any:
        """A read that also shows something of ETHUSDT that nobody can understand."""
        return Faults.rows(lambda rows: [*rows, {"symbol": "ETHUSDT", "size": "lots"}])(send)


class Line:
    """Between pybit and the exchange: writes down every call, and spoils those it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, deque[Fault]] = {}
        self.always: dict[str, Fault] = {}

    def spoil(self, method: str, *faults: Fault) -> None:
        """Let the next calls of *method* meet *faults*, one each."""
        self.faults.setdefault(method, deque()).extend(faults)

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    def sent(self, method: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == method]

    def pass_on(self, session: Any, method: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((method, dict(arguments)))
        waiting = self.faults.get(method)
        fault = waiting.popleft() if waiting else self.always.get(method)
        send = functools.partial(getattr(session, method), **arguments)
        return fault(send) if fault else send()


class LineSession:
    """One thread's pybit session at the end of the line."""

    def __init__(self, line: Line, session: Any) -> None:
        self._line = line
        self._session = session
        self.client = session.client

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda **arguments: self._line.pass_on(self._session, method, arguments)


class FixedKey:
    """A source of one key."""

    def __init__(self) -> None:
        self.key = ExchangeKey(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))
        self.reads = 0

    async def exchange_key(self) -> ExchangeKey:
        self.reads += 1
        return self.key


class JournalAway(TradewrightError):
    retry = Retry.SAFE


class MemoryJournal:
    """Remembers events by their id and one gate; can be away."""

    def __init__(self) -> None:
        self.events: dict[str, JournalEvent] = {}
        self.shown: Gate | None = None
        self.known_past: Past | None = None
        self.is_away = False
        self.gate_is_away = False

    async def append(self, incoming: Sequence[JournalEvent]) -> int:
        if self.is_away:
            raise JournalAway("journal is away")
        before = len(self.events)
        self.events |= {event.event_id: event for event in incoming}
        return len(self.events) - before

    async def past(self, account: str) -> Past | None:
        if self.is_away:
            raise JournalAway("journal is away")
        return self.known_past

    async def gate(self, account: str) -> Gate | None:
        if self.is_away or self.gate_is_away:
            raise JournalAway("journal is away")
        return self.shown

    async def set_gate(self, wish: Gate, *, rearm: bool) -> Gate:
        if self.is_away:
            raise JournalAway("journal is away")
        before = self.shown or Gate(account=wish.account, at=wish.at)
        self.shown = before.after(wish, rearm=rearm)
        return self.shown

    def close_gate(self, state: GateState = GateState.HALTED) -> None:
        self.shown = Gate(
            account="main", state=state, reason="test", by="ann", at=datetime.now(UTC)
        )


# --- the bench --------------------------------------------------------------------------------


class Bench:
    """A paper exchange whose prices the test moves, and what talks to it."""

    faults = Faults

    def __init__(self, paper: PaperExchange) -> None:
        self.paper = paper
        self.line = Line()
        self.keys = FixedKey()
        self.journal = MemoryJournal()
        self.pace = PaperPace(paper.http_url)
        self.client = self.make_client()
        self.exchange = BybitExchange(self.client, self.journal, self.pace)
        self.heartbeats: list[Any] = []
        self._loop = asyncio.get_running_loop()

    def make_client(self, recv_window_ms: int = 5000) -> BybitClient:
        def session(key: ExchangeKey | None) -> LineSession:
            pybit = http_session(
                self.paper.http_url, key, recv_window_ms=recv_window_ms, timeout_s=5
            )
            return LineSession(self.line, pybit)

        return BybitClient(
            self.paper.http_url, self.keys, recv_window_ms=recv_window_ms, session_factory=session
        )

    async def run(
        self,
        activity: Callable[..., Coroutine[Any, Any, Any]],
        argument: Any,
        *,
        attempt: int = 1,
        details: Sequence[Any] = (),
        scheduled_at: datetime | None = None,
        begun: datetime | None = None,
        waited: float = 0,
    ) -> Any:
        """Run *activity* as its *attempt*, which the server scheduled at *scheduled_at*.

        The first attempt was scheduled *waited* seconds before *begun*, which is now.
        """
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            attempt=attempt,
            heartbeat_details=details,
            scheduled_time=(begun or datetime.now(UTC)) - timedelta(seconds=waited),
            current_attempt_scheduled_time=scheduled_at or datetime.now(UTC) - timedelta(hours=1),
            workflow_id="strategy/test",
        )
        environment.on_heartbeat = lambda *told: self.heartbeats.append(told)
        return await environment.run(activity, argument)

    async def fault(self, kind: str, **terms: Any) -> None:
        """Let the exchange itself go wrong."""
        body = json.dumps({"kind": kind, **terms})
        await asyncio.to_thread(control, self.paper.http_url, "POST", "faults", body=body)

    async def mend(self, name: str) -> None:
        """Take the fault of that name away."""
        await asyncio.to_thread(control, self.paper.http_url, "DELETE", f"faults?name={name}")

    async def enter(self, plan: TradePlan) -> None:
        placed = await self.run(self.exchange.place_entry, TradeOrder(plan=plan))
        assert isinstance(placed, EntryPlaced), placed

    def price(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.paper.exchange.engine.last[symbol]

    def move(self, symbol: str, *prices: Decimal) -> None:
        """Let the market of *symbol* trade through *prices*."""
        engine = self.paper.exchange.engine
        self.paper.exchange.change(lambda now: engine.play(symbol, prices, now))

    def fund(self, symbol: str, rate: Decimal) -> None:
        """Let those who hold *symbol* pay each other."""
        engine = self.paper.exchange.engine
        self.paper.exchange.change(lambda now: engine.fund(symbol, rate, now))

    def move_meanwhile(self, symbol: str, price: Decimal) -> None:
        """Move from within a fault, which runs in a thread of the client's."""

        async def move() -> None:
            self.move(symbol, price)

        asyncio.run_coroutine_threadsafe(move(), self._loop).result()

    def held(self, symbol: str = "BTCUSDT") -> Decimal:
        position = self.paper.exchange.engine.accounts["main"].positions[symbol]
        return position.side.sign * position.size if position.size else Decimal(0)

    def open_orders(self) -> list[Any]:
        return list(self.paper.exchange.engine.accounts["main"].open_orders())

    def orders(self, link: str) -> list[Any]:
        return [o for o in self._all_orders() if o.link == link]

    def fills(self, symbol: str = "BTCUSDT") -> list[Any]:
        orders = self._all_orders()
        return [o for o in orders if o.status is OrderStatus.FILLED and o.symbol == symbol]

    def _all_orders(self) -> list[Any]:
        return self.paper.exchange.store.history.orders_after("main", -1, 10_000)

    def stops(self) -> dict[str, Any]:
        """Return what waits at the exchange for its trigger, by its kind."""
        return {o.stop.value: o for o in self.open_orders() if o.stop}

    async def order(self, symbol: str, side: str, qty: str, **more: Any) -> None:
        """Send an order as a person would, by hand."""
        await self.client.call(
            "place_order",
            category="linear",
            symbol=symbol,
            side=side,
            qty=qty,
            **({"orderType": "Market"} | more),
        )

    def close(self) -> None:
        self.client.close()
        self.pace.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    settings = PaperSettings(
        port=0,
        api_key=KEY,
        api_secret=SecretStr(SECRET),
        speed="lockstep",
        symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        history=2,
    )
    async with running(settings) as paper:
        bench = Bench(paper)
        yield bench
        bench.close()


@pytest.fixture
async def make_plan(bench: Bench) -> MakePlan:
    """A plan whose stop and target are two per cent away from the bench's price."""
    instruments = {s: await bench.client.instrument(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    market_now = await bench.pace.market_now()

    def make(**changes: Any) -> TradePlan:
        symbol = changes.get("symbol", "BTCUSDT")
        side = Side(changes.get("side", Side.BUY))
        instrument, price, now = instruments[symbol], bench.price(symbol), datetime.now(UTC)
        away = price * side.sign * Decimal("0.02")
        fields: dict[str, Any] = {
            "trade_id": ids.trade_id("main", "test", symbol, market_now),
            "account": "main",
            "preset": "test",
            "preset_hash": "0" * 8,
            "symbol": symbol,
            "side": side,
            "qty": instrument.floor_qty(Decimal(3000) / price),
            "price": price,
            "stop_loss": instrument.floor_price(price - away),
            "take_profit": instrument.floor_price(price + away),
            "exits": {"timeframe": "1m"},
            "leverage": Decimal(2),
            "instrument": instrument,
            "trigger": market_now,
            "decided_at": now,
            "expires_at": now + timedelta(seconds=30),
        }
        return TradePlan.model_validate(fields | changes)

    return make


# --- other places -----------------------------------------------------------------------------


@pytest.fixture
def town(tmp_path: Path) -> PresetTown:
    folder = tmp_path / "strategies"
    folder.mkdir()
    return PresetTown(folder)


@pytest.fixture
def make_worker(
    make_instrument: Callable[..., Instrument], monkeypatch: pytest.MonkeyPatch
) -> MakeWorker:
    """A worker that waits for no candle."""
    monkeypatch.setattr(lookout, "CANDLE_WAIT", 0.0)

    def make(more: str = "", **strategy: Any) -> Worker:
        exchange = DataExchange(make_instrument())
        return Worker(exchange, DOCUMENT + more, Watcher(**strategy))

    return make
