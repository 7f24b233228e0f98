"""The REST door: whatever comes in, Bybit's envelope goes out."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.paper.conftest import Desk, Open, eventually
from tests.paper.signature import BUY, QUERY, signed
from tradewright.matching import RequestRejected
from tradewright.paper import payload, routes
from tradewright.paper.call import Call
from tradewright.paper.gateway import Aborted, Request, Response

ENVELOPE = {"retCode", "retMsg", "result", "retExtInfo", "time"}


async def send(
    desk: Desk, method: str, path: str, body: str | bytes = "", **parts: Any
) -> requests.Response:
    parts.setdefault("headers", signed(body if isinstance(body, str) else body.decode("latin-1")))
    url = desk.paper.http_url + path
    call = requests.request
    return await asyncio.to_thread(call, method, url, data=body or None, timeout=30, **parts)


async def refusal(desk: Desk, body: str, path: str = "/v5/order/create") -> tuple[int, str]:
    answer = await send(desk, "POST", path, body)
    assert answer.status_code == 200
    assert answer.json().keys() == ENVELOPE
    return answer.json()["retCode"], answer.json()["retMsg"]


async def test_every_answer_has_the_envelope_and_its_headers(desk: Desk) -> None:
    good = await send(desk, "GET", "/v5/market/time")
    bad = await send(desk, "POST", "/v5/order/create", "{}")

    for answer in (good, bad):
        told = answer.json()
        assert told.keys() == ENVELOPE
        assert isinstance(told["retCode"], int)
        assert isinstance(told["time"], int)
        assert answer.headers["Ret_code"] == str(told["retCode"])
        assert answer.headers["Timenow"] == str(told["time"])
        assert answer.headers["Content-Type"].startswith("application/json")
    assert good.headers["Traceid"] != bad.headers["Traceid"]


async def test_nulls_empty_strings_and_unknown_keys_do_not_matter(desk: Desk) -> None:
    body = json.dumps(json.loads(BUY) | {"orderLinkId": None, "price": "", "clientOrderId": [1]})

    assert (await refusal(desk, body))[0] == 0


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        "{}{}",
        "{'category': 'linear'}",
        '{"qty": NaN}',
        '{"qty": 1e999}',
        '{"a":' + "[" * 5000,
        '{"a": "\\ud800"}',
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(desk: Desk, body: str) -> None:
    assert await refusal(desk, body) == (10001, "params error: body is not a JSON object")


async def test_bytes_that_are_no_text_are_refused(desk: Desk) -> None:
    body = b'{"symbol": "\xff"}'
    headers = signed("")

    answer = await send(desk, "POST", "/v5/order/create", body, headers=headers)

    assert answer.json()["retCode"] == 10004


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", 1),
        ("symbol", ["BTCUSDT"]),
        ("category", {"linear": 1}),
        ("side", True),
        ("qty", 0.01),
        ("qty", [0.01]),
        ("orderLinkId", {"a": {"b": []}}),
        ("positionIdx", "zero"),
        ("positionIdx", 0.5),
        ("positionIdx", True),
        ("reduceOnly", "yes"),
        ("reduceOnly", 1),
        ("request", {}),
        ("request", [1]),
    ],
)
async def test_a_parameter_of_a_wrong_type_is_refused_by_name(
    desk: Desk, name: str, value: Any
) -> None:
    body = json.dumps(json.loads(BUY) | {name: value})

    assert await refusal(desk, body) == (10001, f"params error: {name} invalid")


def test_documented_types_come_out_of_what_clients_write() -> None:
    body = b'{"positionIdx": "0", "reduceOnly": "true", "qty": "1", "request": [{"qty": null}]}'

    assert payload.of_body(body) == {
        "positionIdx": 0,
        "reduceOnly": True,
        "qty": "1",
        "request": [{}],
    }
    assert payload.of_query(b"a=1&b=&c=%2F+x&d&%ff=%ff&a=2") == {
        "a": "2",
        "c": "/ x",
        "\N{REPLACEMENT CHARACTER}": "\N{REPLACEMENT CHARACTER}",
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(raw: bytes) -> None:
    for read in (payload.of_body, payload.of_query):
        with suppress(RequestRejected):
            assert isinstance(read(raw), dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = {"request", "limit", "cursor", "startTime", "interval"}
FIELDS = st.sampled_from(sorted(payload._STRINGS | payload._WHOLE | payload._FLAGS | NAMES))
CHANGES = sorted(path for method, path in routes.ROUTES if method == "POST")
READS = sorted(path for method, path in routes.ROUTES if method == "GET")
SANE = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market"}


async def test_nothing_that_is_asked_gets_a_trace_or_harms_the_exchange(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    session = requests.Session()

    @settings(
        max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(
        st.sampled_from(CHANGES),
        st.sampled_from(READS),
        st.dictionaries(FIELDS, JSON, max_size=6),
        st.booleans(),
    )
    def ask(change: str, read: str, fields: dict[str, Any], is_nearly_sane: bool) -> None:
        body = json.dumps((SANE if is_nearly_sane else {}) | fields)
        query = urlencode(fields)
        for method, path, content in (("POST", change, body), ("GET", read, query)):
            url = desk.paper.http_url + path + (f"?{content}" if method == "GET" else "")
            prepared = session.prepare_request(requests.Request(method, url))
            sent = prepared.url.partition("?")[2] if method == "GET" else content  # type: ignore[union-attr]
            prepared.headers.update(signed(sent))
            if method == "POST":
                prepared.prepare_body(content, None)
            answer = session.send(prepared, timeout=30)
            assert answer.status_code == 200
            assert answer.json().keys() == ENVELOPE
            assert answer.json()["retCode"] != 10016, (method, path, content)

    caplog.set_level(logging.CRITICAL, "hypothesis")
    await asyncio.to_thread(ask)
    session.close()

    assert not desk.paper.exchange.broken.is_set()


async def test_a_read_with_a_body_is_forbidden(desk: Desk) -> None:
    answer = await send(desk, "GET", f"/v5/order/realtime?{QUERY}", "{}")

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v5/no/such", 404, 10017),
        ("GET", "/v5/", 404, 10017),
        ("GET", "/v5/order/create", 404, 10017),
        ("POST", "/v5/market/time", 404, 10017),
        ("GET", "/v5/order/realtime/", 404, 10017),
        ("GET", "/v5/%2e%2e/paper/clock", 404, 10017),
        ("DELETE", "/v5/order/create", 400, 10001),
        ("PUT", "/v5/order/create", 400, 10001),
    ],
)
async def test_what_is_not_there_is_said_not_to_be(
    desk: Desk, method: str, path: str, status: int, code: int
) -> None:
    answer = await send(desk, method, path)

    assert (answer.status_code, answer.json()["retCode"]) == (status, code)


async def test_a_body_too_large_to_be_an_order_is_not_read(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.paper.port)
    writer.write(b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")

    async def flood() -> None:
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    flooding = asyncio.create_task(flood())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
    flooding.cancel()
    await asyncio.wait([flooding])
    writer.close()

    assert b"413" in head
    assert (await send(desk, "GET", "/v5/market/time")).status_code == 200


async def test_an_error_of_ours_is_bybits_own_and_its_trace_stays_here(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(call: Call) -> dict[str, Any]:
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setitem(
        routes.ROUTES, ("GET", "/v5/market/time"), routes.Route(broken, is_signed=False)
    )

    answer = await send(desk, "GET", "/v5/market/time")

    assert answer.status_code == 200
    assert (answer.json()["retCode"], answer.json()["retMsg"]) == (10016, "Internal System Error.")
    assert "secret" not in answer.text
    assert "a secret of ours" in caplog.text
    assert not desk.paper.exchange.broken.is_set()


async def test_an_order_is_answered_before_the_stream_tells_of_it(open_desk: Open) -> None:
    desk = await open_desk(symbols=("BTCUSDT",))
    stream = await desk.private()
    leaving: list[str] = []
    hub = desk.paper.exchange.feed.hub
    hub.filter = lambda connection, topic, data: leaving.append(topic) or (data,)  # type: ignore[func-returns-value]

    class Watch:
        async def before(self, request: Request) -> None:
            return None

        async def after(self, request: Request, response: Response) -> None:
            leaving.append("answer")

    desk.paper.door.gateway.faults = Watch()
    await desk.buy("0.01")
    await eventually(lambda: len(stream.messages) >= 4)

    assert leaving[0] == "answer"
    assert "order" in leaving


async def test_a_refusal_waits_until_what_it_rests_on_is_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, order = desk.paper.exchange, json.loads(BUY) | {"orderLinkId": "twin"}
    written: list[bool] = []

    async def durable() -> None:
        await type(exchange).durable(exchange)
        written.append(True)

    monkeypatch.setattr(exchange, "durable", durable)
    await refusal(desk, json.dumps(order))

    code, _ = await refusal(desk, json.dumps(order | {"qty": "0.02"}))

    assert code == 110072
    assert len(written) == 2


class Ruin:
    """Ruins requests before or after the exchange has taken them."""

    def __init__(
        self,
        before: Callable[[], Response | None] = lambda: None,
        after: Callable[[], Response | None] = lambda: None,
    ) -> None:
        self._before = before
        self._after = after

    async def before(self, request: Request) -> Response | None:
        assert request.params["symbol"] == "BTCUSDT"
        return self._before()

    async def after(self, request: Request, response: Response) -> Response | None:
        return self._after()


def abort() -> Response | None:
    raise Aborted


async def test_faults_answer_instead_or_reset_before_and_after_acceptance(desk: Desk) -> None:
    gateway = desk.paper.door.gateway
    positions = desk.paper.exchange.engine.accounts["main"].positions

    gateway.faults = Ruin(before=lambda: Response(502, b"<html>", []))
    assert (await send(desk, "POST", "/v5/order/create", BUY)).status_code == 502
    gateway.faults = Ruin(before=abort)
    with pytest.raises(requests.ConnectionError):
        await send(desk, "POST", "/v5/order/create", BUY)
    assert positions["BTCUSDT"].size == 0

    gateway.faults = Ruin(after=abort)
    with pytest.raises(requests.ConnectionError):
        await send(desk, "POST", "/v5/order/create", BUY)
    assert str(positions["BTCUSDT"].size) == "0.01"

    gateway.faults = Ruin(after=lambda: Response(200, b'{"retCode":', []))
    assert (await send(desk, "POST", "/v5/order/create", BUY)).text == '{"retCode":'
    assert str(positions["BTCUSDT"].size) == "0.02"
