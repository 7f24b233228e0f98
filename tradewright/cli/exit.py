"""What the command's exit codes mean, and which error ends in which."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    REFUSED = 6
    INTERRUPTED = 130


MEANING: Final[Mapping[ExitCode, str]] = MappingProxyType(
    {
        ExitCode.OK: "done",
        ExitCode.FAILED: "the operation failed, or found what it must not find",
        ExitCode.USAGE: "wrong command line or settings; nothing was done. "
        "With --exit-code: something differs",
        ExitCode.INVALID: "a preset, a fault or a recording is not valid; nothing was applied",
        ExitCode.NOT_FOUND: "no such strategy, trade or case, no preset in a folder, "
        "or no journal to read",
        ExitCode.UNREACHABLE: "Temporal, a worker, the exchange, Vault or the journal is away",
        ExitCode.REFUSED: "the running system understood and said no",
        ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    }
)

# By name, so that an error can be looked up without importing what raises it
BY_ERROR: Final[Mapping[str, ExitCode]] = MappingProxyType(
    {
        "SettingsInvalid": ExitCode.USAGE,
        "NoPresetFolder": ExitCode.USAGE,
        "PresetInvalid": ExitCode.INVALID,
        "PresetUnplayable": ExitCode.INVALID,
        "PaperExchangeAway": ExitCode.UNREACHABLE,
        "PaperExchangeRefused": ExitCode.REFUSED,
        "PaperFaultInvalid": ExitCode.INVALID,
        "RecordingUnusable": ExitCode.INVALID,
        "CandlesTooLong": ExitCode.INVALID,
        "TrialImpossible": ExitCode.INVALID,
        "SymbolsUnlisted": ExitCode.INVALID,
        "NothingFound": ExitCode.NOT_FOUND,
        "FolderEmpty": ExitCode.NOT_FOUND,
        "TemplateUnknown": ExitCode.NOT_FOUND,
        "PresetNameInvalid": ExitCode.USAGE,
        "PluginNameInvalid": ExitCode.USAGE,
        "PluginNameTaken": ExitCode.USAGE,
        "PluginExists": ExitCode.USAGE,
        "NotRunning": ExitCode.NOT_FOUND,
        "TradeUnknown": ExitCode.NOT_FOUND,
        "TradeAmbiguous": ExitCode.NOT_FOUND,
        "CaseUnknown": ExitCode.NOT_FOUND,
        "CaseAmbiguous": ExitCode.NOT_FOUND,
        "JournalMissing": ExitCode.NOT_FOUND,
        "PresetUnknown": ExitCode.NOT_FOUND,
        "VersionUnknown": ExitCode.NOT_FOUND,
        "VersionAmbiguous": ExitCode.NOT_FOUND,
        "TemporalUnreachable": ExitCode.UNREACHABLE,
        "TemporalFailed": ExitCode.UNREACHABLE,
        "NamespaceMissing": ExitCode.UNREACHABLE,
        "NoWorkerAnswers": ExitCode.UNREACHABLE,
        "NoWorkerProcess": ExitCode.UNREACHABLE,
        "JournalUnavailable": ExitCode.UNREACHABLE,
        "ExchangeUnreachable": ExitCode.UNREACHABLE,
        "MarketUnreachable": ExitCode.UNREACHABLE,
        "RateLimited": ExitCode.UNREACHABLE,
        "VaultUnreachable": ExitCode.UNREACHABLE,
        "VaultRefused": ExitCode.UNREACHABLE,
        "ProcessNotReady": ExitCode.UNREACHABLE,
        "WishRefused": ExitCode.REFUSED,
        "NothingToLift": ExitCode.REFUSED,
    }
)


def code_of(error: BaseException) -> ExitCode:
    """Return the exit code of *error*, by its class or the nearest it comes from."""
    for kind in type(error).__mro__:
        if kind.__name__ in BY_ERROR:
            return BY_ERROR[kind.__name__]
    return ExitCode.FAILED
