"""The paper exchange's own page, in a real browser."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect
from pydantic import SecretStr

from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.keys import ApiKey
from tradewright.paper.routes import ROUTES


@pytest.fixture
async def paper() -> AsyncIterator[PaperExchange]:
    settings = PaperSettings(
        port=0, api_key="key", api_secret=SecretStr("secret"), speed=60, history=180
    )
    async with running(settings) as exchange:
        yield exchange


def post(paper: PaperExchange, path: str, account: str = "main", **params: Any) -> Row:
    call = Call(paper.exchange, {"category": "linear"} | params, ApiKey("", "", account))
    answer = ROUTES["POST", path].handler(call)
    return answer.result if isinstance(answer, Answer) else answer


def buy(paper: PaperExchange, symbol: str = "BTCUSDT", **params: Any) -> Row:
    wish = {"symbol": symbol, "side": "Buy", "orderType": "Market", "qty": "0.5"}
    return post(paper, "/v5/order/create", **wish | params)


async def test_the_page_shows_book_orders_positions_and_executions(
    page: Page, paper: PaperExchange
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    last = paper.exchange.engine.last["BTCUSDT"]
    stop, bid = round(last * 95 / 100), round(last * 97 / 100)
    buy(paper, orderLinkId="first", stopLoss=str(stop))
    buy(paper, orderLinkId="rests", orderType="Limit", price=str(bid), qty="0.2")

    await page.goto(f"{paper.http_url}/")

    await expect(page.locator("#positions")).to_contain_text(f"{stop:,}")
    await expect(page.locator("#orders")).to_contain_text("StopLoss")
    await expect(page.locator("#orders")).to_contain_text("rests")
    await expect(page.locator("#executions")).to_contain_text("first")
    await expect(page.locator("#book tr")).to_have_count(25)
    await expect(page.locator("#candles g")).to_have_count(120)
    await expect(page.locator("#candles line.entry")).to_have_count(1)
    await expect(page.locator("#depth path")).to_have_count(2)
    await expect(page.locator("#equity path")).to_have_count(1)
    await expect(page.locator("#health")).to_have_text("running")
    assert errors == []


async def test_the_page_follows_what_happens(page: Page, paper: PaperExchange) -> None:
    await page.goto(f"{paper.http_url}/")
    await expect(page.locator("#positions")).to_contain_text("No position is open.")

    buy(paper, orderLinkId="later")

    await expect(page.locator("#positions tr")).to_have_count(2)
    await expect(page.locator("#executions")).to_contain_text("later")


async def test_the_page_says_where_the_market_stands(page: Page) -> None:
    settings = PaperSettings(
        port=0, api_key="key", api_secret=SecretStr("secret"), speed="lockstep", history=60, steps=2
    )
    health = page.locator("#health")
    async with running(settings) as paper:
        await page.goto(f"{paper.http_url}/")
        await expect(health).to_have_text("waiting for start")

        await page.request.post(f"{paper.http_url}/paper/start")
        await expect(health).to_have_text("market ended")

        fault = '{"kind": "http_429"}'
        await page.request.post(f"{paper.http_url}/paper/faults", data=fault)
        await expect(health).to_have_text("1 fault in force")


async def test_another_symbol_can_be_chosen(page: Page, paper: PaperExchange) -> None:
    await page.goto(f"{paper.http_url}/")
    await expect(page.locator("#symbol option")).not_to_have_count(0)
    await page.locator("#symbol").select_option("ETHUSDT")

    await expect(page).to_have_title(re.compile("ETHUSDT"))


async def test_the_page_says_that_the_exchange_is_away(page: Page, paper: PaperExchange) -> None:
    await page.goto(f"{paper.http_url}/")
    await expect(page.locator("#health")).to_have_text("running")

    await page.route("**/paper/window*", lambda route: route.abort())

    await expect(page.locator("#health")).to_have_text("exchange is away")
