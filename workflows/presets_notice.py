"""What a person is told of the folder of presets."""

from collections.abc import Iterator

from tradewright import ids
from tradewright.domain.folder import Remembered, Standing
from tradewright.domain.notice import Notice, Priority
from tradewright.ports import FolderMemory


def folder_notices(account: str, before: FolderMemory, after: FolderMemory) -> list[Notice]:
    """Return what to tell when a folder's news make *after* of *before*."""
    return [
        *_of_folder(account, before, after),
        *_of_files(account, before, after),
        *_of_presets(account, before, after),
    ]


def watcher_notice(account: str, why: str) -> Notice:
    """Say that nobody watches the folder; without a reason, that somebody does again."""
    title = "edited presets are not applied" if why else "edited presets are applied again"
    return _notice(account, "watcher", title, why)


def _of_folder(account: str, before: FolderMemory, after: FolderMemory) -> Iterator[Notice]:
    if after.fault != before.fault:
        title = "the folder of presets cannot be used" if after.fault else "the presets are back"
        yield _notice(account, "folder", title, after.fault)


def _of_files(account: str, before: FolderMemory, after: FolderMemory) -> Iterator[Notice]:
    was = {fault.file: fault for fault in before.faults}
    now = {fault.file: fault for fault in after.faults}
    for file, fault in now.items():
        if was.get(file) != fault:
            runs = f": {fault.preset} goes on as it was" if fault.preset else ""
            yield _notice(account, file, f"preset file {file} is not valid{runs}", fault.text)
    for file in was.keys() - now.keys():
        yield _notice(account, file, f"preset file {file} is in order again", "")


def _of_presets(account: str, before: FolderMemory, after: FolderMemory) -> Iterator[Notice]:
    was = {each.name: each for each in before.presets}
    for each in after.presets:
        known = was.get(each.name)
        if known is not None and (known.standing, known.note) == (each.standing, each.note):
            continue
        if each.note:
            yield _of_preset(account, each)
        elif known is not None and known.note:
            done = each.model_copy(update={"note": f"version {each.preset_hash} is applied"})
            yield _of_preset(account, done).model_copy(update={"resolved": True})


def _of_preset(account: str, each: Remembered) -> Notice:
    is_left = each.standing is Standing.LEFT
    match each.standing:
        case Standing.LEFT:
            title = f"{each.name}: what {each.file} says is not applied"
        case Standing.GONE:
            title = f"{each.name} takes no entries any more; its open trades run on"
        case _:
            title = f"{each.name}: {each.file} is applied, but not all of it"
    return Notice(
        key=f"{ids.presets_workflow(account)}/{each.name}",
        account=account,
        priority=Priority.WARNING if is_left else Priority.ROUTINE,
        title=title,
        text=each.note,
        workflow_id=ids.strategy_workflow(each.name),
    )


def _notice(account: str, about: str, title: str, text: str) -> Notice:
    workflow_id = ids.presets_workflow(account)
    return Notice(
        key=f"{workflow_id}/{about}",
        account=account,
        priority=Priority.WARNING if text else Priority.ROUTINE,
        title=title,
        text=text,
        workflow_id=workflow_id,
        resolved=not text,
    )
