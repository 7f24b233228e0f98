"""What differs between machines and venues: arguments, then environment, then a file.

Every setting is an environment variable: ``TRADEWRIGHT_`` and its path in capitals, levels
joined by two underscores (``TRADEWRIGHT_TEMPORAL__ADDRESS``).
"""

import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote

import yaml
from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tradewright.domain.account import Limits
from tradewright.domain.account.limits import Length
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value
from tradewright.domain.notice import NotifySettings
from tradewright.domain.plan import FeeRates
from tradewright.domain.reconciliation import Policies

PREFIX = "TRADEWRIGHT_"
LIMITS_PREFIX = f"{PREFIX}LIMITS__"
FILE_VARIABLE = "TRADEWRIGHT_SETTINGS"
"""Names the settings file; the one variable of ours that is not itself a setting."""

LIMITS_VARIABLE = "TRADEWRIGHT_LAST_LIMITS"
"""Hands the limits to a child process that finds the file of them spoiled: JSON."""

RUNNING_FILE = "running.yaml"
"""Under home: where a system that `tradewright up` started runs, as long as it does."""

Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")]
Address = Annotated[str, Field(pattern=r"^[^\s:/]+:\d{1,5}$", description="host:port")]


PAPER_PREFIX = "TRADEWRIGHT_PAPER_"


class SettingsInvalid(TradewrightError):
    """One line per fault, each naming the variable, what is wrong and what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Venue(StrEnum):
    """Where orders go; a venue is nothing but URLs and a path in Vault."""

    PAPER = "paper"
    DEMO = "demo"
    TESTNET = "testnet"
    LIVE = "live"


class VenueUrls(Value):
    rest_url: str
    public_ws_url: str
    private_ws_url: str


BYBIT: Mapping[Venue, VenueUrls] = {
    # Demo trading has no public streams of its own: its market is the real one
    Venue.DEMO: VenueUrls(
        rest_url="https://api-demo.bybit.com",
        public_ws_url="wss://stream.bybit.com/v5/public/linear",
        private_ws_url="wss://stream-demo.bybit.com/v5/private",
    ),
    Venue.TESTNET: VenueUrls(
        rest_url="https://api-testnet.bybit.com",
        public_ws_url="wss://stream-testnet.bybit.com/v5/public/linear",
        private_ws_url="wss://stream-testnet.bybit.com/v5/private",
    ),
    Venue.LIVE: VenueUrls(
        rest_url="https://api.bybit.com",
        public_ws_url="wss://stream.bybit.com/v5/public/linear",
        private_ws_url="wss://stream.bybit.com/v5/private",
    ),
}


class TemporalSettings(Value):
    address: Address = Field(default="127.0.0.1:7233", description="host:port of the server.")
    namespace: str | None = Field(
        default=None, description='One per venue; unset is the venue\'s name, "default" for paper.'
    )
    ui_url: Url = Field(
        default="http://127.0.0.1:8233",
        description="Of the Web UI: where `up` lets it listen, and links lead.",
    )


class VaultSettings(Value):
    """Where the exchange keys are, and how to be let in: a token, or an AppRole."""

    address: Url = Field(default="http://127.0.0.1:8200", description="URL of the server.")
    token: SecretStr | None = Field(
        default=None, description="To be let in with, unless it is an AppRole; `up` makes one."
    )
    role_id: str | None = Field(default=None, description="Of the AppRole.")
    secret_id: SecretStr | None = Field(default=None, description="Of the AppRole.")
    mount: str = Field(default="secret", description="Of the key-value engine, version 2.")
    path: str = Field(
        default="tradewright/{venue}/{account}",
        pattern=r"^([^{}]|\{venue\}|\{account\})+$",
        description="Of the exchange key in the mount; {venue} and {account} are filled in.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.role_id is None) != (self.secret_id is None):
            raise ValueError("role_id and secret_id belong together; set both or neither")
        return self


class LogFormat(StrEnum):
    AUTO = "auto"
    """Readable on a terminal, JSON elsewhere."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(Value):
    level: LogLevel = Field(default=LogLevel.INFO, description="The least that is logged.")
    format: LogFormat = Field(
        default=LogFormat.AUTO, description="`auto`: readable on a terminal, JSON elsewhere."
    )


class Settings(BaseSettings):
    """`Settings(...)` takes what it is given; `Settings.load()` asks the machine as well."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(default=Path(".tradewright"), description="All state is kept under it.")
    venue: Venue = Field(default=Venue.PAPER, description="Where orders go; `live` is real money.")
    account: str = Field(
        default="main",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="Name of ours for it: part of workflow ids and of the key's path in Vault.",
    )
    paper_url: Url = Field(
        default="http://127.0.0.1:8900", description="Of the paper exchange, REST and WebSocket."
    )
    paper_api_key: SecretStr | None = Field(
        default=None, description="Of the paper exchange; `up` and `demo` make one."
    )
    paper_api_secret: SecretStr | None = Field(default=None, description="Belongs to it.")
    temporal: TemporalSettings = TemporalSettings()
    vault: VaultSettings = VaultSettings()
    journal: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL; unset is a SQLite file under home."
    )
    log: LogSettings = LogSettings()
    otlp_endpoint: Url | None = Field(
        default=None, description="Of an OpenTelemetry collector (HTTP); unset writes a file."
    )
    limits: Limits = Limits()
    limits_file: Path | None = Field(
        default=None,
        description="YAML whose `limits` are read again while it runs; unset: the settings file.",
    )
    presets: Path | None = Field(
        default=None,
        description="Folder whose presets are applied as they are saved; unset: `strategies` here "
        "for `up`, none for a worker.",
    )
    shadow_fees: FeeRates = Field(
        default=FeeRates(), description="What virtual trades pay of what they trade."
    )
    notify: NotifySettings = NotifySettings()
    reconciliation: Policies = Policies()
    snapshot_every: Length = Field(
        default=timedelta(seconds=30), description="Between two snapshots of the account."
    )

    @classmethod
    def load(cls, file: Path | None = None, **overrides: Any) -> Self:
        """Return the settings of this process.

        Args:
            file: YAML; unset is the one that ``TRADEWRIGHT_SETTINGS`` names, or the one that
                a running system has left in the default home.
            overrides: Win over the environment, which wins over the file.

        Raises:
            SettingsInvalid: With every fault at once.
        """
        if file is None and (named := os.environ.get(FILE_VARIABLE)):
            file = Path(named)
        running = cls.model_fields["home"].default / RUNNING_FILE
        if file is None and running.exists():
            file = running
        values = _read(file) if file else {}
        # What a running system left behind names the file that it was itself given, if any
        if values and file is not None and file.name != RUNNING_FILE:
            values.setdefault("limits_file", str(file.absolute()))
        if unknown := list(_unknown_variables(cls.model_fields)):
            raise SettingsInvalid(unknown)
        try:
            environment = EnvSettingsSource(cls)()
        except SettingsError as e:
            raise SettingsInvalid([f"settings cannot be read from the environment: {e}"]) from None
        merged = _merged(_merged(values, environment), overrides)
        if named := merged.get("limits_file"):
            known = file is not None and file.name == RUNNING_FILE and merged.get("limits")
            merged["limits"] = _declared(cls, Path(named), environment, known or None)
        try:
            return cls(**merged)
        except ValidationError as e:
            raise SettingsInvalid([_fault(error, file) for error in e.errors()]) from None

    def reread_limits(self) -> Limits:
        """Return the limits as the file and the environment have them now.

        Raises:
            SettingsInvalid: The file cannot be read or says what is no limit.
        """
        if self.limits_file is None:
            return self.limits
        environment = EnvSettingsSource(type(self))()
        try:
            return type(self)(limits=_limits(self.limits_file, environment)).limits
        except ValidationError as e:
            faults = [_fault(error, self.limits_file) for error in e.errors()]
            raise SettingsInvalid(faults) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @property
    def urls(self) -> VenueUrls:
        if self.venue is not Venue.PAPER:
            return BYBIT[self.venue]
        stream = self.paper_url.replace("http", "ws", 1).rstrip("/")
        return VenueUrls(
            rest_url=self.paper_url.rstrip("/"),
            public_ws_url=f"{stream}/v5/public/linear",
            private_ws_url=f"{stream}/v5/private",
        )

    @property
    def state(self) -> Path:
        """Return the folder of this venue, which no other venue writes to; absolute."""
        return (self.home / self.venue).absolute()

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def journal_url(self) -> str:
        """Return the SQLAlchemy URL of the journal; it may hold a password."""
        if self.journal:
            return self.journal.get_secret_value()
        return f"sqlite:///{self.state / 'journal.db'}"

    @property
    def namespace(self) -> str:
        """Return the Temporal namespace of this venue."""
        default = "default" if self.venue is Venue.PAPER else self.venue.value
        return self.temporal.namespace or default

    @property
    def vault_path(self) -> str:
        return self.vault.path.format(venue=self.venue, account=self.account)

    @property
    def is_live(self) -> bool:
        """Return whether real money is at stake."""
        return self.venue is Venue.LIVE

    def workflow_url(self, workflow_id: str) -> str:
        """Return the page of the workflow's latest run in the Web UI."""
        ui = self.temporal.ui_url.rstrip("/")
        return f"{ui}/namespaces/{self.namespace}/workflows/{quote(workflow_id, safe='')}"

    def document(self) -> dict[str, Any]:
        """Return these settings as a settings file holds them, the Vault token included.

        The exchange's key is left out: whoever needs it asks Vault.
        """
        absolute = self.model_copy(update={"home": self.home.absolute()})
        found = absolute.model_dump(
            mode="json", exclude={"paper_api_key", "paper_api_secret"}, exclude_none=True
        )
        if self.vault.token is not None:
            found["vault"]["token"] = self.vault.token.get_secret_value()
        if self.vault.secret_id is not None:
            found["vault"]["secret_id"] = self.vault.secret_id.get_secret_value()
        if self.journal is not None:
            found["journal"] = self.journal.get_secret_value()
        found["notify"] = self.notify.revealed()
        return found

    def environment(self) -> dict[str, str]:
        """Return the variables that hand these settings to a child process, secrets included."""
        absolute = self.model_copy(update={"home": self.home.absolute()})
        found = dict(_variables(absolute, PREFIX))
        if self.limits_file is None:
            return found
        # The child reads them from the file, where they may change
        kept = {name: value for name, value in found.items() if not name.startswith(LIMITS_PREFIX)}
        return kept | {LIMITS_VARIABLE: self.limits.model_dump_json()}


def _variables(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name in type(model).model_fields:
        variable, value = f"{prefix}{name.upper()}", getattr(model, name)
        if isinstance(value, NotifySettings):
            yield f"{variable}__URLS", json.dumps(value.revealed()["urls"])
        elif isinstance(value, BaseModel):
            yield from _variables(value, f"{variable}__")
        elif isinstance(value, SecretStr):
            yield variable, value.get_secret_value()
        elif isinstance(value, list | tuple | dict):
            yield variable, json.dumps(value, default=str)
        elif value is not None:
            yield variable, str(value)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return merged


class _PlainLoader(yaml.CBaseLoader):
    """Reads every scalar as the text it is; the models know the types, YAML 1.1 does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.load(file.read_text("utf-8"), _PlainLoader)  # noqa: S506 a BaseLoader
    except OSError as e:
        fault = f"settings file {file} cannot be read: {e.strerror}; name a file that can"
        raise SettingsInvalid([fault]) from None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise SettingsInvalid([f"{place}: not valid YAML: {e.problem}; correct it"]) from None
    if document and not isinstance(document, dict):
        raise SettingsInvalid([f"settings file {file} is not a mapping; write `name: value` lines"])
    return document or {}


def _declared(cls: type[Settings], file: Path, environment: Mapping[str, Any], known: Any) -> Any:
    """Return the limits that *file* declares; if they are no limits, those that held before.

    *known* are those, if it is not a child process that is told by a variable. A mistake in the
    file must keep neither a worker nor a person from the trades that are open.
    """
    last = os.environ.get(LIMITS_VARIABLE)
    before = json.loads(last) if last else known
    try:
        found = _limits(file, environment)
        if before is not None:
            cls(limits=found)
    except (SettingsInvalid, ValidationError):
        if before is None:
            raise
        return before
    return found


def _limits(file: Path, environment: Mapping[str, Any]) -> Any:
    declared = _read(file).get("limits") or {}
    if not isinstance(declared, Mapping):
        return declared
    return _merged(declared, environment.get("limits", {}))


def _unknown_variables(known: Mapping[str, Any]) -> Iterator[str]:
    for variable in sorted(os.environ):
        # The paper exchange is another process, and its settings are its own
        if not variable.startswith(PREFIX) or variable.startswith(
            (FILE_VARIABLE, LIMITS_VARIABLE, PAPER_PREFIX)
        ):
            continue
        name = variable.removeprefix(PREFIX).lower().split("__")[0]
        if name not in known:
            near = _nearest(name, known, lambda other: _variable([other]))
            yield f"setting {variable} is unknown; {near}"


def _variable(path: Sequence[str]) -> str:
    return PREFIX + "__".join(path).upper()


def _fault(error: ErrorDetails, file: Path | None) -> str:
    path = [str(part) for part in error["loc"]]
    variable = _variable(path)
    named = any(name.startswith(variable) for name in os.environ)
    if error["type"] == "extra_forbidden":
        spell: Callable[[Sequence[str]], str] = _variable
        what = f"setting {variable}"
        if file is not None and not named:
            spell = ".".join
            what = f"{file}: key {spell(path)}"
        model: Any = Settings
        for part in path[:-1]:
            if part not in getattr(model, "model_fields", {}):
                return f"{what} is unknown; remove it"
            model = model.model_fields[part].annotation
        near = _nearest(path[-1], model.model_fields, lambda other: spell([*path[:-1], other]))
        return f"{what} is unknown; {near}"
    detail = error["msg"].removeprefix("Value error, ")
    detail = detail[0].lower() + detail[1:]
    value = error["input"]
    # A secret, or a group that may hold one, is never repeated
    shown = f", got {value!r}" if isinstance(value, str) and not _is_secret(path) else ""
    place = "the environment" if named or file is None else str(file)
    return f"setting {variable} is wrong: {detail}{shown}; correct it in {place}"


def _is_secret(path: list[str]) -> bool:
    model: Any = Settings
    for part in path:
        # Of a list, such as that of the receivers, nothing is repeated
        if part not in getattr(model, "model_fields", {}):
            return True
        annotation = model.model_fields[part].annotation
        if SecretStr in (annotation, *getattr(annotation, "__args__", ())):
            return True
        model = annotation
    return False


def _nearest(name: str, known: Mapping[str, Any], spell: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    if near:
        return f"did you mean {spell(near[0])}?"
    return f"known are {', '.join(map(spell, known))}"
