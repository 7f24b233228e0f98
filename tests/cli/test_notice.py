"""Notices at the terminal: what is open, who answers, who hears."""

from tests.cli.conftest import Call, System
from tradewright import ids
from tradewright.domain.notice import Notice, Priority

KEY = "trade/BTCUSDT/tw/needs_operator"


async def tell(system: System, **changes: object) -> None:
    fields = {
        "key": KEY,
        "account": system.account,
        "priority": Priority.URGENT,
        "title": "BTCUSDT long needs a person",
        "workflow_id": "trade/BTCUSDT/tw",
    }
    notifier = system.client.get_workflow_handle(ids.notifier_workflow(system.account))
    await notifier.signal("tell", Notice.model_validate(fields | changes))


async def test_an_open_notice_is_listed_until_somebody_answers(working: System) -> None:
    await tell(working)

    before = await working.call("notice", "list")
    answered = await working.call("notice", "acknowledge", KEY, "--by", "ann")
    after = await working.call("notice", "list", "-o", "json")

    assert before.code == answered.code == after.code == 0
    assert KEY in before.out
    assert "BTCUSDT long needs a person" in before.out
    assert "ann" in answered.out
    [found] = after.document["notices"]["open"]
    assert (found["acknowledged_by"], found["next_at"]) == ("ann", None)
    assert found["url"].endswith("trade%2FBTCUSDT%2Ftw")
    [sent] = after.document["notices"]["sent"]
    assert sent["delivered"] == ["chat", "mail"]


async def test_what_is_not_open_cannot_be_answered_for(working: System) -> None:
    answer = await working.call("notice", "acknowledge", "nothing", "--by", "ann")

    assert answer.code == 6
    assert "there is no open notice 'nothing'" in answer.err


async def test_the_test_says_who_got_it(working: System) -> None:
    good = await working.call("notice", "test", "--by", "ann")
    working.desk.deaf.add("mail")
    bad = await working.call("notice", "test", "-o", "json")

    assert good.code == 0
    assert [line.split()[:3] for line in good.out.splitlines()[1:]] == [
        ["chat", "took", "it"],
        ["mail", "took", "it"],
    ]
    assert bad.code == 1
    assert bad.document["notice_test"] == {
        "delivered": ["chat"],
        "failed": [{"receiver": "mail", "reason": "it is away"}],
    }


def test_without_temporal_it_says_what_to_do(call: Call) -> None:
    answer = call("notice", "list")

    assert answer.code == 5
    assert "temporal 127.0.0.1:1 does not answer" in answer.err
