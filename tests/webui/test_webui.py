"""What an operator sees of a trade in Temporal's Web UI, and does there, in a real browser."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from playwright.async_api import FrameLocator, Page, expect
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from tests.workflows.script import NOON
from tests.workflows.stage import Stage
from tradewright import ids
from tradewright.app import services
from tradewright.app.process import running
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.market import Instrument
from tradewright.ports import CandleClosed, Proposals
from tradewright.settings import Settings, TemporalSettings


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    """A Temporal server that shows its Web UI."""
    port, ui_port = services.free_port(), services.free_port()
    home = tmp_path_factory.mktemp("webui")
    settings = Settings(
        home=home,
        temporal=TemporalSettings(
            address=f"{services.LOOPBACK}:{port}", ui_url=f"http://{services.LOOPBACK}:{ui_port}"
        ),
    )
    log = home / "temporal.log"
    async with running(services.temporal_server(port=port, ui_port=ui_port, log=log)):
        yield settings


@pytest.fixture
async def stage(
    server: Settings, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    client = await Client.connect(server.temporal.address, data_converter=DATA_CONVERTER)
    environment = WorkflowEnvironment.from_client(client)
    async with Stage(environment, make_instrument()).running() as running_stage:
        yield running_stage


@pytest.fixture
async def trade(stage: Stage) -> WorkflowHandle[Any, Any]:
    """An open trade that a strategy has started."""
    proposal = stage.proposal()
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy()
    await strategy.signal("candle", CandleClosed(symbols=("BTCUSDT",), close_time=NOON))
    await stage.exchange.script.called("verify_stop")
    workflow_id = ids.trade_workflow(proposal.symbol, proposal.trade_id)
    trade = stage.client.get_workflow_handle(workflow_id)
    stage.keep(trade)
    return trade


async def open_metadata(page: Page, settings: Settings, trade: WorkflowHandle[Any, Any]) -> None:
    run_id = (await trade.describe()).run_id
    await page.goto(
        f"{settings.workflow_url(trade.id)}/{run_id}/user-metadata", wait_until="domcontentloaded"
    )


def rendered(page: Page, place: int) -> FrameLocator:
    """Return one of the texts of the tab: 0 summary, 1 details, 2 current details."""
    return page.frame_locator("iframe[title=output]").nth(place)


async def test_the_page_of_a_trade_says_what_it_is_and_how_it_stands(
    page: Page, server: Settings, stage: Stage, trade: WorkflowHandle[Any, Any]
) -> None:
    await open_metadata(page, server, trade)

    summary, details, current = (rendered(page, place) for place in range(3))
    await expect(summary.get_by_text(f"Buy 0.1 BTCUSDT · {stage.preset}")).to_be_visible()
    await expect(details.get_by_text("stop 49500")).to_be_visible()
    await expect(details.get_by_text("50.00 USDT (1 R)")).to_be_visible()
    heading = current.get_by_role("heading", name="Buy 0.1 BTCUSDT: open")
    await expect(heading).to_be_visible()
    await expect(current.get_by_text("stop at the exchange: 49500")).to_be_visible()


async def test_request_cancellation_on_the_page_flattens_the_trade(
    page: Page, server: Settings, stage: Stage, trade: WorkflowHandle[Any, Any]
) -> None:
    await open_metadata(page, server, trade)

    await page.get_by_role("button", name="Request Cancellation").click()
    await page.get_by_test_id("confirm-modal-button").filter(visible=True).click()
    with pytest.raises(WorkflowFailureError):
        await trade.result()

    assert (await trade.describe()).status is WorkflowExecutionStatus.CANCELED
    assert stage.exchange.held == 0
    assert stage.exchange.script.count("flatten") == 1
    await open_metadata(page, server, trade)
    await expect(page.get_by_text("Canceled", exact=True).first).to_be_visible()
    current = rendered(page, 2)
    await expect(current.get_by_role("heading", name="Buy 0.1 BTCUSDT: closed")).to_be_visible()
    await expect(current.get_by_text("why it left: its workflow was cancelled")).to_be_visible()
