"""Ids of the engine: the same calls give the same ones."""

import uuid

from tests.unit.matching import MAIN, NOW, executions, make_engine, make_request

NAMESPACE = uuid.UUID("6f0c1b9e-6d0f-5a43-9d0c-1f6b7d1f0a11")


def test_ids_are_uuids_of_their_numbers() -> None:
    engine = make_engine()
    for _ in range(40):
        (execution,) = executions(engine.place(MAIN, make_request(qty="0.001"), NOW))
        number = execution.seq
        assert execution.exec_id == str(uuid.uuid5(NAMESPACE, f"/execution/{number}"))
        assert execution.order_id == str(uuid.uuid5(NAMESPACE, f"/order/{number - 1}"))
