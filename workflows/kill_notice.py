"""What the kill switch tells a person, handed on beside its work."""

from collections.abc import Sequence

from temporalio import workflow

from tradewright.domain.gate import Gate, GateState
from tradewright.domain.notice import Notice, Priority
from workflows.kill_wish import GateStep
from workflows.notice import tell

LONGEST_TITLE = 200
LONGEST_TEXT = 2000


class Notices:
    """Kept in their order until the notifier has them; nothing waits for it."""

    def __init__(self, account: str, untold: Sequence[Notice] = ()) -> None:
        self._account = account
        self._untold = list(untold)

    @property
    def untold(self) -> tuple[Notice, ...]:
        """Return what is still to be handed on: to be carried through continue-as-new."""
        return tuple(self._untold)

    async def keep_telling(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._untold))
            await tell(self._untold[0])
            del self._untold[0]

    def tell_gate(self, wish: GateStep, gate: Gate) -> None:
        """Tell of *wish* as far as the *gate* after it obeys."""
        who = f"{self._account} by {wish.by}: {wish.reason or 'no reason given'}"
        meaning = wish.state.meaning
        if wish.state is GateState.HALTED:
            self._add("trip", Priority.URGENT, f"kill switch tripped on {who}", meaning)
        elif wish.rearm:
            # Of a key of its own: the trip's is over since it was flat. Each is of another trip,
            # so the same words are told again
            text = f"after trip {gate.trip}: {meaning}"
            self._add("rearm", Priority.WARNING, f"gate rearmed on {who}", text)
        elif gate.state is GateState.EXITS_ONLY:
            self._add("safe_mode", Priority.WARNING, f"safe mode on {who}", meaning)
        elif gate.state is GateState.OPEN:
            self._add("safe_mode", Priority.WARNING, f"safe mode left on {who}", meaning, over=True)

    def tell_flat(self) -> None:
        self._add(
            "trip",
            Priority.WARNING,
            f"{self._account} is flat: read twice, and no order is left",
            "the gate stays halted until `tradewright kill rearm --by NAME --reason WHY`",
            over=True,
        )

    def tell_need(self, why: str) -> None:
        """Tell that a person is needed, or with no reason that none is any more."""
        title = f"the kill switch of {self._account} " + ("needs a person" if why else "goes on")
        self._add("needs_operator", Priority.URGENT, title, why, over=not why)

    def _add(
        self, about: str, priority: Priority, title: str, text: str, *, over: bool = False
    ) -> None:
        workflow_id = workflow.info().workflow_id
        self._untold.append(
            Notice(
                key=f"{workflow_id}/{about}",
                account=self._account,
                priority=priority,
                title=title[:LONGEST_TITLE],
                text=text[:LONGEST_TEXT],
                workflow_id=workflow_id,
                at=workflow.now(),
                resolved=over,
            )
        )
