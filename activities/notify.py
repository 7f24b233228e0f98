"""Telling people, through apprise: Telegram, Slack, e-mail, webhooks and what else it knows.

The URLs of receivers are secrets. Apprise writes them to its log, so nothing of that log goes
anywhere; what is kept of a failure is its reason, without any part of the URL.
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from pydantic import SecretStr, ValidationError
from temporalio import activity

from activities.secrets import SecretMissing, VaultRefused, VaultSecrets, VaultUnreachable
from tradewright.domain.notice import Priority, Receiver, shortened
from tradewright.domain.notification import Delivery, Failure, Message
from tradewright.ports import NotifyPort
from tradewright.settings import Settings
from tradewright.telemetry import register_secret

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

log = structlog.get_logger(__name__)

TAKEN_WITHIN: Final = 10.0
"""Seconds that a receiver has."""
MOST_AT_ONCE: Final = 8
LONGEST_REASON: Final = 200
HIDDEN: Final = "***"
LEVELS: Final = {Priority.ROUTINE: "info", Priority.WARNING: "warning", Priority.URGENT: "error"}
KINDS: Final = {Priority.ROUTINE: "info", Priority.WARNING: "warning", Priority.URGENT: "failure"}
"""What apprise calls them: it chooses colours and icons by it."""


class Notifier(NotifyPort):
    """Tells the receivers of the settings and of Vault, side by side; the log is always told."""

    def __init__(self, settings: Settings, secrets: VaultSecrets) -> None:
        self._settings = settings
        self._secrets = secrets
        self._is_vault_refusing = False
        # Of its own: a receiver that hangs must not hold up who reads the exchange key in a thread
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="notify")
        for receiver in settings.notify.receivers:
            _register(receiver.url)

    @activity.defn
    async def send(self, message: Message) -> Delivery:
        if not message.receivers:
            self._log(message)
        try:
            receivers = [r for r in await self._receivers() if _is_meant(r, message)]
        except VaultUnreachable as e:
            # Tried again, as what no worker took
            return Delivery(
                failed=(Failure(receiver="", reason=shortened(str(e), LONGEST_REASON)),)
            )
        reasons = await asyncio.gather(*(self._hand_over(r, message) for r in receivers))
        failed = tuple(
            Failure(receiver=receiver.name, reason=reason)
            for receiver, reason in zip(receivers, reasons, strict=True)
            if reason
        )
        for failure in failed:
            log.warning("notice_not_taken", receiver=failure.receiver, reason=failure.reason)
        names = {f.receiver for f in failed}
        return Delivery(
            delivered=tuple(r.name for r in receivers if r.name not in names), failed=failed
        )

    async def _receivers(self) -> list[Receiver]:
        found = {receiver.name: receiver for receiver in self._settings.notify.receivers}
        for name, value in (await self._from_vault()).items():
            if receiver := _receiver(name, value):
                found[name] = receiver
        return list(found.values())

    async def _from_vault(self) -> Mapping[str, Any]:
        """Return what Vault holds.

        Raises:
            VaultUnreachable: Nobody else is known who could be told.
        """
        try:
            found = await self._secrets.notify_urls()
        except SecretMissing:
            return {}
        except (VaultRefused, VaultUnreachable) as e:
            if isinstance(e, VaultUnreachable) and not self._settings.notify.receivers:
                raise
            # A role that may read the exchange key alone is told of once
            if not self._is_vault_refusing:
                log.warning("notify_urls_unread", detail=str(e))
            self._is_vault_refusing = True
            return {}
        self._is_vault_refusing = False
        return found

    def _log(self, message: Message) -> None:
        tell = getattr(log, "info" if message.over else LEVELS[message.priority])
        tell(
            "notice",
            title=message.title,
            text=message.text,
            priority=message.priority.name.lower(),
            about=message.workflow_id,
        )

    async def _hand_over(self, receiver: Receiver, message: Message) -> str:
        """Return why *receiver* did not take the message; empty if it did."""
        loop = asyncio.get_running_loop()
        work = partial(_hand_over, receiver.url, **self._words(message))
        try:
            # Apprise keeps the limit itself; this one is for its import and what it forgets
            async with asyncio.timeout(TAKEN_WITHIN * 2):
                reason = await loop.run_in_executor(self._threads, work)
        except TimeoutError:
            reason = f"no answer within {TAKEN_WITHIN * 2:g} s"
        return shortened(reason, LONGEST_REASON)

    def _words(self, message: Message) -> dict[str, str]:
        settings = self._settings
        lines = [message.text] if message.text else []
        if message.workflow_id:
            lines.append(settings.workflow_url(message.workflow_id))
        return {
            "title": f"{settings.venue} {message.account}: {message.title}",
            "body": "\n".join(lines) or message.title,
            "notify_type": "success" if message.over else KINDS[message.priority],
        }


def _is_meant(receiver: Receiver, message: Message) -> bool:
    if message.receivers:
        return receiver.name in message.receivers
    return message.priority >= receiver.at_least


def _receiver(name: str, value: Any) -> Receiver | None:
    """Return the receiver that stands in Vault under *name*: a URL, or a URL and ``from``."""
    fields = value if isinstance(value, Mapping) else {"url": value}
    try:
        receiver = Receiver.model_validate({**fields, "name": name})
    except ValidationError as e:
        # Its inputs may hold the URL
        faults = ", ".join(".".join(map(str, fault["loc"])) for fault in e.errors())
        log.warning("notify_url_invalid", receiver=name, faulty=faults)
        return None
    _register(receiver.url)
    return receiver


# --- apprise ----------------------------------------------------------------------------------


def _hand_over(url: SecretStr, *, title: str, body: str, notify_type: str) -> str:
    """Send through apprise, in this thread; return what went wrong, if anything."""
    try:
        apprise = _apprise(url.get_secret_value())
        if apprise is None:
            return "the url is none that apprise understands"
        result = apprise.notify(
            title=title,
            body=body,
            notify_type=notify_type,
            body_format="text",
            timeout=TAKEN_WITHIN,
        )
        return "" if result else hidden(_reason(result), url)
    # A receiver's plugin may raise anything; it must not keep the others from being told
    except Exception as e:
        return hidden(f"{type(e).__name__}: {e}", url)


def _apprise(url: str) -> "Apprise | None":
    _silence()
    # Half a second, and only for who is told anything
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(storage_mode="memory", service_timeout=TAKEN_WITHIN)
    apprise = Apprise(asset=asset)
    return apprise if apprise.add(url) else None


def _silence() -> None:
    """Keep apprise's log, which holds URLs and tokens, out of ours."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _reason(result: "AppriseResult") -> str:
    told = [entry.message for entry in result.logs()]
    return told[0] if told else f"it failed: {result.status.name.lower()}"


def hidden(text: str, url: SecretStr) -> str:
    """Return *text* without anything that stands in *url*.

    Example:
        >>> hidden("no such chat 4711 at api.x.org", SecretStr("tgram://12:AbC/4711"))
        'no such chat *** at api.x.org'
    """
    for part in sorted(_parts(url.get_secret_value()), key=len, reverse=True):
        text = text.replace(part, HIDDEN)
    return text


def _parts(url: str) -> set[str]:
    """Return *url* and all that it is made of, the kind of service aside."""
    try:
        split = urlsplit(url)
    except ValueError:
        return {url}
    raw: list[str] = [url, url.partition("://")[2]]
    raw += [split.netloc, *re.split(r"[:@]", split.netloc), split.path, *split.path.split("/")]
    raw += [split.query, *(part for pair in parse_qsl(split.query) for part in pair)]
    raw.append(split.fragment)
    return {text for part in raw for text in (part, unquote(part)) if len(text) > 2}


def _register(url: SecretStr) -> None:
    text = url.get_secret_value()
    for part in _telling(_parts(text)):
        register_secret(part)
    if password := re.match(r"[^:/]+://[^:@/]*:([^@/]+)@", text):
        register_secret(unquote(password[1]))


def _telling(parts: Iterable[str]) -> Iterator[str]:
    """Yield what may not stand in any log line: not a host's name, nor a word that is too plain."""
    for part in parts:
        is_host = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", part)
        if not is_host and (len(part) > 11 or re.search(r"[^a-z/]", part)):
            yield part
