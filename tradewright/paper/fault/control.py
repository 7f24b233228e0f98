"""Faults by HTTP: put in force, looked at, cleared."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from tradewright.paper.control import RequestInvalid, answered
from tradewright.paper.fault import scenario
from tradewright.paper.fault.board import FaultBoard


def routes(board: FaultBoard) -> list[Route]:
    """Return ``/paper/faults``; like all of the control side it answers to loopback alone."""

    async def put(request: Request) -> dict[str, Any]:
        """Put a scenario or a single fault in force, in YAML or JSON."""
        source = request.query_params.get("source", "<request>")
        names = board.put(scenario.loads(await request.body(), source))
        return {"put": names, **board.shown()}

    async def shown(request: Request) -> dict[str, Any]:
        return {**board.shown()}

    async def clear(request: Request) -> dict[str, Any]:
        name = request.query_params.get("name")
        cleared = board.clear(name)
        if name is not None and not cleared:
            raise RequestInvalid(f"no fault {name!r:.60} is in force; list them")
        return {"cleared": cleared, **board.shown()}

    return [
        Route("/paper/faults", answered(handler), methods=[method])
        for method, handler in (("POST", put), ("GET", shown), ("DELETE", clear))
    ]
