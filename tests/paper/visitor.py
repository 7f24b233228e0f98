"""A client that sends anything, and what must hold of the exchange afterwards."""

import http.client
import json
import logging
import random
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress

from tests.paper import mischief
from tests.paper.chance import holdings
from tests.paper.mischief import Asked
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.exchange import Exchange
from tradewright.paper.ledger import ledger
from tradewright.paper.store import Store

ENVELOPE = {"retCode", "retMsg", "result", "retExtInfo", "time"}
REFUSALS = {400, 401, 403, 404, 405, 413}
_GONE = (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead)


class Answered(AssertionError):
    """The exchange answered as it never may."""

    def __init__(self, sent: object, answer: object) -> None:
        super().__init__(f"{str(sent)[:3000]}\nwas answered by\n{str(answer)[:2000]}")


class Visitor:
    """Asks with the (key, secret) of one account or another."""

    def __init__(self, port: int, keys: Sequence[tuple[str, str]]) -> None:
        self.codes: Counter[int] = Counter()
        """How often each retCode was given; -1 counts connections that were cut."""
        self.links: deque[str] = deque(maxlen=20)
        """Of the orders that were placed last."""
        self._port = port
        self._keys = keys
        self._socket: socket.socket | None = None

    def ask(self, asked: Asked, chance: random.Random) -> None:
        """Send a request.

        Raises:
            Answered: The answer is not one of Bybit's.
        """
        raw = asked.written(*chance.choice(self._keys))
        found = self._sent(raw, asked.method, 10 if asked.is_usual else 0.3)
        if not asked.is_usual:
            # What the exchange left unread would be taken for the next request
            self.close()
        if found is None:
            if asked.is_usual:
                raise Answered(asked, "nothing")
            self.codes[-1] += 1
            return
        status, body = found
        if status not in self._fitting(asked):
            raise Answered(asked, found)
        if b"Traceback" in body:
            raise Answered(asked, found)
        is_ours = asked.path.startswith("/v5/") and body != b"Invalid HTTP request received."
        if not is_ours or asked.method == "HEAD":
            return
        try:
            envelope = json.loads(body)
        except ValueError:
            raise Answered(asked, found) from None
        if not isinstance(envelope, dict) or envelope.keys() != ENVELOPE:
            raise Answered(asked, found)
        if envelope["retCode"] == 10016:
            raise Answered(asked, found)
        self.codes[envelope["retCode"]] += 1
        if link := envelope["result"].get("orderLinkId"):
            self.links.append(link)

    def _fitting(self, asked: Asked) -> set[int]:
        if not asked.is_usual:
            return {200, *REFUSALS}
        if asked.method == "GET":
            return {403 if asked.body else 200}
        return {413 if len(asked.body) > 2**20 else 200}

    def disturb(self, chance: random.Random) -> None:
        """Send what is hardly HTTP.

        Raises:
            Answered: Something good comes back.
        """
        noise = mischief.noise(chance)
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as line:
            line.sendall(noise)
            line.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while part := line.recv(65_536):
                    answer += part
            except ConnectionError:
                return
        if answer and not answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 200")):
            raise Answered(noise, answer)
        if b"Traceback" in answer:
            raise Answered(noise, answer)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _sent(self, raw: bytes, method: str, patience_s: float) -> tuple[int, bytes] | None:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.settimeout(patience_s)
        try:
            # What is too large is refused before it is read
            with suppress(ConnectionError):
                self._socket.sendall(raw)
            answer = http.client.HTTPResponse(self._socket, method=method)
            answer.begin()
            body = answer.read()
        except (*_GONE, TimeoutError, http.client.HTTPException):
            self.close()
            return None
        if answer.will_close:
            self.close()
        return answer.status, body


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter().format(record))


@asynccontextmanager
async def sound(settings: PaperSettings) -> AsyncIterator[PaperExchange]:
    """Run an exchange; afterwards nothing has failed, all books balance and are read back."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        async with running(settings) as paper:
            yield paper
            assert not paper.exchange.broken.is_set()
    except Exception as failure:
        for text in errors.texts:
            failure.add_note(text)
        raise
    finally:
        logging.getLogger().removeHandler(errors)
    assert not errors.texts
    with closing(Store(settings.state)) as store:
        after = Exchange(settings, store)
        assert holdings(after) == holdings(paper.exchange)
        for account in after.engine.accounts.values():
            assert (await ledger(store.history, account))["balanced"]
