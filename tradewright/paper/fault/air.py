"""Faults on the streams: what happens to messages on their way, and to connections."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tradewright.paper.fault.board import FaultBoard, InForce
from tradewright.paper.fault.judge import Strike
from tradewright.paper.fault.message import (
    StreamDelay,
    StreamDrop,
    StreamDuplicate,
    StreamLoss,
    StreamReorder,
    StreamSilence,
)
from tradewright.paper.fault.when import Subject
from tradewright.paper.stream.hub import Connection, Hub

_LOOK_S = 0.05
_TOLD_WITHIN_S = 5.0


class _Held(msgspec.Struct, eq=False):
    payloads: list[bytes]
    by: int
    fault: str


class _Late(msgspec.Struct):
    due: float
    """0 of one that only waits for those before it."""
    payloads: list[bytes]
    fault: str = ""


class _Line:
    """What is held back of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.silent_until = 0.0
        self.silenced_by = ""
        self.pings = True
        self.late: dict[str, deque[_Late]] = {}
        """Delayed messages of a topic, and those behind them, in their order."""
        self.held: list[_Held] = []

    def is_busy(self, now: float) -> bool:
        return bool(self.late or self.held or self.silent_until > now)


class FaultyAir:
    """What the hub asks for every message; and the faults that begin by themselves."""

    def __init__(self, board: FaultBoard, hub: Hub) -> None:
        self._board = board
        self._hub = hub
        self._lines: dict[Connection, _Line] = {}
        self._loop = asyncio.get_running_loop()
        self._begun: dict[InForce, asyncio.Task[None]] = {}
        self._after: dict[str, tuple[str, Strike]] = {}
        """Orders with whose first message a silence begins, and of which account."""
        board.listeners.append(self._renew)
        self._renew()

    def close(self) -> None:
        self._hub.filter = None
        for task in self._begun.values():
            task.cancel()

    def silence_after(self, order_id: str, account: str, strike: Strike) -> None:
        """Silence the private streams of *account* once they have told of the order."""
        self._after[order_id] = account, strike
        # Nobody may be subscribed to what tells of it
        self._loop.call_later(_TOLD_WITHIN_S, self._after.pop, order_id, None)

    def sent(self, connection: Connection, topic: str, payload: bytes) -> Iterable[bytes]:
        """Return what of a message goes out now, and with what."""
        line = self._lines.get(connection)
        if line is not None and self._loop.time() < line.silent_until:
            return (payload,) if not topic and line.pings else ()
        if not topic:
            return (payload,)
        if self._after and connection.channel == "private":
            self._look_for_silence(connection, payload)
        strikes = []
        if self._board.any_on("message"):
            strikes = self._board.strike("message", _subject(connection, topic, payload))
        if strikes:
            return self._struck(self._line(connection), topic, payload, strikes)
        return (payload,) if line is None else self._passed(line, topic, [payload])

    def _struck(
        self, line: _Line, topic: str, payload: bytes, strikes: list[Strike]
    ) -> Iterable[bytes]:
        payloads, held, delay = [payload], None, None
        for strike in strikes:
            match strike.fault:
                case StreamDrop() | StreamSilence():
                    self._strike_connection(line.connection, strike)
                    return ()
                case StreamLoss():
                    return ()
                case StreamDelay():
                    delay = strike
                case StreamReorder(by=by):
                    held = _Held(payloads, by, strike.name)
                    self._loop.call_later(strike.ms / 1000, self._release, line, held)
                case StreamDuplicate(copies=copies):
                    if strike.ms:
                        more = [payload] * copies
                        self._loop.call_later(strike.ms / 1000, self._push, line, more)
                    else:
                        payloads += [payload] * copies
        if held is not None:
            line.held.append(held)
            return ()
        return self._passed(line, topic, payloads, delay)

    def _passed(
        self, line: _Line, topic: str, payloads: list[bytes], delay: Strike | None = None
    ) -> list[bytes]:
        """Return what goes out now: *payloads* and what they overtook; nothing if they are late."""
        if delay is not None or topic in line.late:
            late = _Late(0, payloads)
            if delay is not None:
                late = _Late(self._loop.time() + delay.ms / 1000, payloads, delay.name)
            queue = line.late.setdefault(topic, deque())
            queue.append(late)
            if len(queue) == 1:
                self._loop.call_at(late.due, self._arrive, line, topic)
            return []
        for held in line.held:
            held.by -= 1
        overtaken = [payload for held in line.held if held.by <= 0 for payload in held.payloads]
        line.held = [held for held in line.held if held.by > 0]
        return payloads + overtaken

    def _arrive(self, line: _Line, topic: str) -> None:
        """Send what is due of the late messages of *topic*."""
        queue = line.late.get(topic)
        if queue is None:
            # All went out early, for the fault was cleared
            return
        while queue and queue[0].due <= self._loop.time():
            self._push(line, queue.popleft().payloads)
        if queue:
            self._loop.call_at(queue[0].due, self._arrive, line, topic)
        else:
            del line.late[topic]
            self._rest()

    def _push(self, line: _Line, payloads: list[bytes]) -> None:
        if self._loop.time() >= line.silent_until:
            for payload in payloads:
                line.connection.push(payload)

    def _release(self, line: _Line, held: _Held) -> None:
        if held in line.held:
            line.held.remove(held)
            self._push(line, held.payloads)
            self._rest()

    def _look_for_silence(self, connection: Connection, payload: bytes) -> None:
        for order_id, (account, strike) in list(self._after.items()):
            if account == connection.account and order_id.encode() in payload:
                del self._after[order_id]
                # What else the same fill has to tell still goes out
                self._loop.call_soon(self._silence_account, account, strike)

    def _silence_account(self, account: str, strike: Strike) -> None:
        for connection in self._hub.connections:
            if connection.channel == "private" and connection.account == account:
                self._silence(connection, strike, pings=True)

    def _strike_connection(self, connection: Connection, strike: Strike) -> None:
        match strike.fault:
            case StreamDrop(how="reset"):
                connection.abort()
            case StreamDrop(code=code):
                connection.close(code, "")
            case StreamSilence(pings=pings):
                self._silence(connection, strike, pings=pings)

    def _silence(self, connection: Connection, strike: Strike, *, pings: bool) -> None:
        line = self._line(connection)
        line.silent_until = self._loop.time() + strike.ms / 1000
        line.silenced_by = strike.name
        line.pings = pings

    def _line(self, connection: Connection) -> _Line:
        if connection not in self._lines:
            for gone in self._lines.keys() - self._hub.connections:
                del self._lines[gone]
            self._lines[connection] = _Line(connection)
        return self._lines[connection]

    # --- faults that begin by themselves, and the end of all -----------------------------------

    def _renew(self) -> None:
        """Take in what was put in force and what was cleared."""
        entries = self._board.entries
        names = {entry.judge.name for entry in entries}
        for line in list(self._lines.values()):
            self._end(line, names)
        for entry in entries:
            if entry.judge.fault.side == "connection" and entry not in self._begun:
                self._begun[entry] = self._loop.create_task(self._begin(entry))
        for gone in self._begun.keys() - set(entries):
            self._begun.pop(gone).cancel()
        self._after = {k: v for k, v in self._after.items() if v[1].name in names}
        self._rest()

    def _end(self, line: _Line, names: set[str]) -> None:
        """Let out what the faults held back that are not in force any more."""
        if line.silenced_by not in names:
            line.silent_until = 0.0
        for topic, queue in list(line.late.items()):
            freed = [late for late in queue if late.fault and late.fault not in names]
            for late in freed:
                late.due = 0.0
            if freed:
                self._arrive(line, topic)
        for held in list(line.held):
            if held.fault not in names:
                self._release(line, held)

    def _rest(self) -> None:
        """Let the hub ask only while a fault concerns it, or something is still to come."""
        now = self._loop.time()
        if any(entry.judge.fault.side != "request" for entry in self._board.entries):
            self._hub.filter = self.sent
            return
        self._lines = {c: line for c, line in self._lines.items() if line.is_busy(now)}
        self._hub.filter = self.sent if self._lines else None

    async def _begin(self, entry: InForce) -> None:
        while not self._board.is_open(entry):
            if self._board.is_over(entry):
                return
            await asyncio.sleep(_LOOK_S)
        connections = sorted(self._hub.connections, key=lambda c: (c.channel, c.account, c.conn_id))
        for connection in connections:
            when = entry.judge.fault.when
            subject = next((s for s in _subjects(connection) if when.fits(s)), None)
            if subject is not None:
                for strike in self._board.strike_with(entry, subject):
                    self._strike_connection(connection, strike)


def _subjects(connection: Connection) -> Iterator[Subject]:
    """Yield what *connection* may be known by: each of its topics, or none."""
    for topic in sorted(connection.topics):
        yield Subject(topic=topic, account=connection.account, symbols=_symbols(topic))
    yield Subject(account=connection.account)


def _subject(connection: Connection, topic: str, payload: bytes) -> Subject:
    if connection.channel != "private":
        return Subject(topic=topic, symbols=_symbols(topic))
    rows = _rows(payload)
    return Subject(
        topic=topic,
        account=connection.account,
        symbols=tuple(str(row["symbol"]) for row in rows if row.get("symbol")),
        links=tuple(str(row["orderLinkId"]) for row in rows if row.get("orderLinkId")),
    )


def _symbols(topic: str) -> tuple[str, ...]:
    _, dot, symbol = topic.rpartition(".")
    return (symbol,) if dot else ()


def _rows(payload: bytes) -> list[dict[str, Any]]:
    data = msgspec.json.decode(payload).get("data")
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
