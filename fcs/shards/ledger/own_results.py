"""Whether the patterns of a run's inputs would also match its results."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from fcs.core.errors import UsageError
from fcs.shards.input.sources import KEY, TABLE, Source, globs, is_glob
from fcs.shards.ledger.layout import features_file, metrics_file, tar_file
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.remote import RemoteStore


def check_own_results(
    out: Store, patterns: str | Sequence[str], sources: Sequence[Source], features: Sequence[str] = ()
) -> None:
    """Refuse globs that match files which this run will write: its list of inputs would be another one afterwards.

    Args:
        out: the run's store.
        patterns: ``data.shards``.
        sources: what they name now.
        features: names of the features that the run writes.

    Raises:
        UsageError: one does, and the run could not be continued.
        StorageError: the store of the inputs does not answer.
    """
    results = _results(sources, features)
    for pattern in filter(is_glob, [patterns] if isinstance(patterns, str) else patterns):
        matched = _matched(out, pattern, results)
        if matched is not None:
            why = f"it also matches the run's own results ({out.where(matched)}), and the run could not be continued"
            raise UsageError.of(KEY, pattern, f"shards outside out={out}, or another out; {why}")


def _results(sources: Sequence[Source], features: Sequence[str]) -> list[str]:
    """Files of the run that a glob may take for shards: its tars, and beside inputs that are tables its tables too."""
    stems = [source.stem for source in sources]
    names = [tar_file(stem) for stem in stems]
    if any(source.url.lower().endswith(TABLE) for source in sources):
        names += [metrics_file(stem) for stem in stems]
        names += [features_file(name, stem) for name in features for stem in stems]
    return names


def _matched(out: Store, pattern: str, results: Sequence[str]) -> str | None:
    """The first result that a pattern would match, whether it is there already or not."""
    fs, found = globs(pattern)
    root = _root(out, fs)
    if root is None:
        return None
    if isinstance(fs, LocalFileSystem):
        # Links in front of the first mark count as what they lead to, as in the root; globs follow no others.
        found = [(os.path.join(os.path.realpath(folder), ""), name) for folder, name in found]
    # The expression is that of fsspec's own glob.
    tests = [re.compile(glob_translate(glob.escape(folder) + name)).match for folder, name in found]
    return next((name for name in results if any(test(f"{root}/{name}") for test in tests)), None)


def _root(out: Store, fs: Any) -> str | None:
    """OUT as a file system calls it; None where it lies elsewhere."""
    if isinstance(out, LocalStore):
        return os.path.realpath(out.root) if isinstance(fs, LocalFileSystem) else None
    return out.root if isinstance(out, RemoteStore) and type(out.fs) is type(fs) else None
