"""Turn domain errors into Temporal failures, in one place."""

from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from tradewright.domain.errors import Retry, TradewrightError


class DomainErrors(Interceptor):
    """Fails activities with the domain error's name, retryable or not as the error says."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Translate(next)


class _Translate(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except TradewrightError as e:
            # Without its cause: Temporal shows no failure of more than 4 KB, not even the message
            raise ApplicationError(
                str(e),
                type=type(e).__name__,
                non_retryable=e.retry is Retry.NEVER,
                next_retry_delay=e.retry_after,
            ) from None
