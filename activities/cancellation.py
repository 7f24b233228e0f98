"""What temporalio makes of a cancel, put right."""

import asyncio


def raise_if_cancelled() -> None:
    """Let a cancel through that temporalio's update has turned into an error of its own.

    Swallowed, it would be lost: whoever was interrupted would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
