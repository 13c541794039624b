"""A folder of pictures, with masks, prompts and facts beside them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from fcs.core.errors import UsageError
from fcs.shards.store.atomic_files import storage
from fcs.tools.pack.folder_names import PICTURES, FolderNames, MaskNames
from fcs.tools.pack.source_record import SourceRecord
from fcs.tools.pack.table_files import SUFFIXES

_OF_MASKS = ("mask", "masks")  # names of folders that may hold masks


def folder_records(
    top: Path,
    masks: MaskNames | None = None,
    note: Callable[[str], None] = lambda line: None,
    wanted: str = "image",
) -> Iterator[SourceRecord]:
    """One record per picture below ``top``, sorted by path folder by folder.

    ``NAME.mask.png``, ``NAME.txt`` and ``NAME.json`` beside ``NAME.jpg`` are its mask, prompt and facts; capitals in
    these ends make no difference. Hidden files and folders, and links to folders, are passed over.

    Args:
        top: the folder.
        masks: how masks are told from pictures.
        note: told what was passed over: each link, and at the end how many files of which kind.
        wanted: ``measurement`` for a record per ``NAME.npy`` instead, with its prompt and facts.

    Raises:
        UsageError: a name may be a mask's, and the user has not said what it is.
        StorageError: a folder cannot be read.
    """
    names = masks or MaskNames()
    return _Walk(top, names, _mask_folder(top, names), note, wanted).records()


def files_below(top: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files whose names end in one of the suffixes, hidden ones and linked folders apart, sorted folder by folder."""
    for entry in _entries(top):
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(top / entry.name, suffixes)
        elif entry.name.lower().endswith(suffixes) and not entry.is_dir():
            yield top / entry.name


def _mask_folder(top: Path, masks: MaskNames) -> Path | None:
    if masks.folder is None:
        return None
    for path in (top / masks.folder, Path(masks.folder).expanduser()):
        if path.is_dir():
            return path
    raise UsageError.of("--mask-folder", masks.folder, f"a folder in {top}, or the path of one")


class _Walk:
    """Goes through a folder once."""

    def __init__(
        self, top: Path, masks: MaskNames, of_masks: Path | None, note: Callable[[str], None], wanted: str
    ) -> None:
        self.top, self.masks, self.of_masks, self.note, self.wanted = top, masks, of_masks, note, wanted
        self.passed: Counter[str] = Counter()
        self._listed: dict[Path, FolderNames] = {}

    def records(self) -> Iterator[SourceRecord]:
        yield from self._folder(self.top)
        if self.passed:
            ends = ", ".join(f"{count} {end}" for end, count in sorted(self.passed.items()))
            self.note(f"passed over: {ends}")

    def _folder(self, folder: Path) -> Iterator[SourceRecord]:
        entries = _entries(folder)
        files = [entry.name for entry in entries if entry.is_file() or _leads_nowhere(entry)]
        names = FolderNames(files, self.masks, self.wanted)
        self.passed += names.passed_over()
        for entry in entries:
            path = folder / entry.name
            stem, role = names.split(entry.name)
            if entry.is_dir(follow_symlinks=False):
                if self.of_masks is None or not path.samefile(self.of_masks):
                    self._refuse_masks(path, entries)
                    yield from self._folder(path)
            elif entry.is_dir():
                self.note(f"{path}: a link to a folder, not followed")
            elif role == self.wanted and entry.name in files:
                yield self._record(path, stem, names) if role == "image" else self._measured(path, stem, names)
            elif _leads_nowhere(entry) and not role:
                self.note(f"{path}: a link that leads nowhere")
            elif entry.name.lower().endswith(SUFFIXES):  # as in the hub's folders of pictures with metadata.csv
                self.note(f"{path} is not read; as SOURCE it gives its pictures their prompts and other data")
            elif entry.name not in files:
                self.passed["that are no regular files"] += 1

    def _measured(self, path: Path, stem: str, names: FolderNames) -> SourceRecord:
        found = {role: names.find(stem, role) for role in ("prompt", "facts")}
        beside = {role: None if name is None else path.with_name(name) for role, name in found.items()}
        key = path.relative_to(self.top).with_name(stem).as_posix()
        return SourceRecord(str(path), key, prompt=beside["prompt"], facts=beside["facts"], measurement=path)

    def _record(self, path: Path, stem: str, names: FolderNames) -> SourceRecord:
        end = None if self.masks.said else names.doubt(stem)
        if end is not None:
            raise UsageError.of(
                "SOURCE", path, f"to know what it is: --mask-suffix {end!r} takes it as a mask, .mask as a picture"
            )
        found = {role: names.find(stem, role) for role in ("mask", "prompt", "facts")}
        beside = {role: None if name is None else path.with_name(name) for role, name in found.items()}
        relative = path.relative_to(self.top).with_name(stem)
        return SourceRecord(
            name=str(path),
            key=relative.as_posix(),
            image=path,
            mask=beside["mask"] or self._mask_in_folder(relative),
            prompt=beside["prompt"],
            facts=beside["facts"],
        )

    def _mask_in_folder(self, relative: Path) -> Path | None:
        """The mask in the folder of masks, whose folders are those of the pictures or those below the first of them."""
        if self.of_masks is None:
            return None
        for parts in (relative.parts, relative.parts[1:]):
            folder = self.of_masks.joinpath(*parts[:-1])
            name = self._names(folder).find_mask(parts[-1]) if parts else None
            if name is not None:
                return folder / name
        return None

    def _names(self, folder: Path) -> FolderNames:
        if folder not in self._listed:
            files = [entry.name for entry in _entries(folder)] if folder.is_dir() else []
            self._listed = {folder: FolderNames(files, self.masks), **dict(list(self._listed.items())[:1])}
        return self._listed[folder]

    def _refuse_masks(self, folder: Path, beside: list[os.DirEntry[str]]) -> None:
        """Raise where a folder that is called masks holds a picture of the same name as one beside the folder."""
        if self.masks.said or folder.name.lower() not in _OF_MASKS:
            return
        first = next(files_below(folder, PICTURES), None)
        if first is None:
            return
        relative = first.relative_to(folder)
        others = [entry.name for entry in beside if entry.is_dir(follow_symlinks=False) and entry.name != folder.name]
        for near in (folder.parent, *(folder.parent / name for name in others)):
            if self._names((near / relative).parent).has_picture_of(first.name):
                what = f"--mask-folder {folder.name} takes it as one of masks, --mask-suffix .mask as one of pictures"
                raise UsageError.of("SOURCE", folder, f"to know what it is: {what}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with storage(folder):
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [entry for entry in found if not entry.name.startswith(".")]


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)
