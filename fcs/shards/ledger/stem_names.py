"""Whether OUT can have files of the names that the shards of a run give their results."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fcs.core.errors import UsageError, short
from fcs.shards.input.sources import KEY
from fcs.shards.ledger.layout import commit_file, metrics_file, tar_file
from fcs.shards.store.atomic_files import temp_name
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore

_USUAL = 255  # bytes of a name in most file systems
_WORK = re.compile(r"merge|\d{6,}|\d{8}-\d{8}|(merge|reopened|attempt)\.json")  # files of a shard that is worked on


def check_stems(out: Store, stems: Sequence[str]) -> None:
    """Refuse names that would fail only when the first results are written.

    Raises:
        UsageError: one is too long, or two shards want one name for a file and a folder.
    """
    if isinstance(out, LocalStore):
        longest = _longest(out.root)
        for stem in stems:
            _check_length(stem, longest)
    known = set(stems)
    for stem in stems:
        _check_folders(stem, known)


def _check_length(stem: str, longest: int) -> None:
    beside = max(len(os.fsencode(temp_name(Path(file(stem))).name)) for file in (tar_file, commit_file, metrics_file))
    if beside > longest:
        last = stem.rpartition("/")[2]
        most = longest - beside + len(os.fsencode(last))
        raise UsageError.of(
            KEY, stem, f"a name of at most {most} bytes before its suffix, not {len(os.fsencode(last))}"
        )


def _longest(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.isdir(path))
    try:
        return os.pathconf(there, "PC_NAME_MAX")
    except OSError:
        return _USUAL


def _check_folders(stem: str, known: set[str]) -> None:
    """What a shard in a folder of another one's name needs as folders must not be files of that one."""
    parts = stem.split("/")
    for count in range(1, len(parts)):
        folder = "/".join(parts[:count])
        ends = (folder[: -len(end)] for end in (".tar", ".json", ".parquet") if folder.endswith(end))
        other = folder if _WORK.fullmatch(parts[count]) else next((end for end in ends if end in known), None)
        if other in known:
            raise UsageError.of(
                KEY, stem, f"another name, or no shard {short(other)} beside it: their files would clash"
            )
