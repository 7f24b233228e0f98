"""The folder of presets: who watches it, and what came of what it said."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.folder import Remembered
from tradewright.domain.market import Value


class FileFault(Value):
    """What is wrong with one file; what it said last goes on."""

    file: str
    text: str = Field(description="Every mistake with its place.")
    preset: str = Field(default="", description="Which it declared last, as far as is known.")


class FolderMemory(Value):
    """What one folder on one machine said, and what came of it."""

    place: str = Field(description="``host:/path``.")
    at: AwareDatetime | None = Field(default=None, description="Of the last news; wall clock.")
    presets: tuple[Remembered, ...] = ()
    faults: tuple[FileFault, ...] = ()
    fault: str = Field(default="", description="Why the folder is no wish at all.")
    waiting: str = Field(default="", description="Why what it says is not done yet.")

    def after(self, news: "FolderNews") -> "FolderMemory":
        known = {each.name: each for each in self.presets}
        known |= {each.name: each for each in news.presets}
        return self.model_copy(
            update={
                "at": news.at,
                "presets": tuple(known[name] for name in sorted(known)),
                "faults": news.faults,
                "fault": news.fault,
                "waiting": news.waiting,
            }
        )


class FolderNews(Value):
    """Signal `report`: what has changed since the last news of this place."""

    place: str
    at: AwareDatetime
    presets: tuple[Remembered, ...] = Field(default=(), description="Those that changed.")
    faults: tuple[FileFault, ...] = Field(default=(), description="All that there are.")
    fault: str = ""
    waiting: str = ""


class Folders(Value):
    """Query `folders`: every place that was watched, the latest first."""

    account: str
    folders: tuple[FolderMemory, ...] = ()
    needs_operator: str = ""

    def of(self, place: str) -> FolderMemory:
        found = (each for each in self.folders if each.place == place)
        return next(found, FolderMemory(place=place))


class PresetsPort(ABC):
    @activity.defn
    @abstractmethod
    async def watch_presets(self, account: str) -> None:
        """Watch the folder until cancelled, and apply what it says."""
