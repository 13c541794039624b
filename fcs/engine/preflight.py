"""What is known of a run before a shard is opened: the model's files, the inputs, an earlier run in the same folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.engine.config import load_config
from fcs.engine.config.run import Run
from fcs.engine.early_checks import check_early
from fcs.engine.pinned_settings import pinned_settings
from fcs.engine.record_sizes import check_sizes
from fcs.engine.weights_hashes import WeightsHash, hash_of
from fcs.metrics import weights
from fcs.models import Found, find
from fcs.shards.input.mask_source import mask_source
from fcs.shards.input.sources import Source, resolve
from fcs.shards.ledger.commit_list import nothing_left
from fcs.shards.ledger.layout import RUN
from fcs.shards.ledger.own_results import check_own_results
from fcs.shards.ledger.pinned_run import describe
from fcs.shards.ledger.repin import check_pin
from fcs.shards.ledger.retry import launched, retry_failed
from fcs.shards.ledger.stem_names import check_stems
from fcs.shards.store.atomic_files import no_folder
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.open_store import open_store

WEIGHTS = ("clip", "dinov2", "inception", "lpips")  # keys of ``metrics`` that say where a network's are


@dataclass(frozen=True)
class Preflight:
    """A run that was checked as far as that is possible without opening a shard or loading a model.

    Attributes:
        config: what is to be done.
        found: the model's files.
        sources: the input shards.
        pinned: what run.json holds.
        out: where the results go.
        networks: weights of the metrics' networks, by name.
    """

    config: Run
    found: Found
    sources: list[Source]
    pinned: dict[str, Any]
    out: Store
    networks: dict[str, Path]

    @property
    def complete(self) -> bool:
        """Whether an earlier run left nothing to do."""
        stems = [source.stem for source in self.sources]
        if (self.out.json(RUN) or {}).get("fingerprint") != self.pinned["fingerprint"]:
            return False  # nothing is there, or a run that gives way
        return nothing_left(self.out, stems, self.pinned["fingerprint"], self.config.data.limit)

    def retried(self, here: bool = True) -> Preflight:
        """The run after ``data.retry_failed``: shards with failed records are open again, if that was asked for.

        Args:
            here: whether this process opens them; False where another one of the same launch has done so or will.

        Raises:
            StorageError: OUT cannot be written.
        """
        if not self.config.data.retry_failed:
            return self
        if here and self.out.exists(RUN):
            retry_failed(self.out, launched(self.out))
        return replace(self, config=replace(self.config, data=replace(self.config.data, retry_failed=False)))


def configure(config: str, *overrides: str) -> Preflight:
    """A run as ``fcs-predict --config CONFIG key=value ...`` would do it; nothing is written yet.

    Args:
        config: a YAML file, or the name of a shipped one.
        overrides: ``key=value``; they win over the file. Classes of a package that one of them names may be used.

    Returns:
        What ``PredictModule``, ``ShardDataModule`` and ``ShardWriter`` are made from.

    Raises:
        UsageError: one line that names the key, the value, what was expected and the nearest valid name.
    """
    return preflight(*load_config.load([config], list(overrides)))


def preflight(config: Run, settings: Mapping[str, Any]) -> Preflight:
    """Check a configuration against the world: model files, inputs, an earlier run in the same folder.

    Args:
        config: what is to be done.
        settings: the same as plain data.

    Raises:
        UsageError: something is missing, or the folder holds another run; nothing was written.
    """
    out = _out(config)
    found = find(config.model.name, config.model.revision, config.model.variant)
    check_sizes(config)
    check_early(config, found)
    mask_source(config.data.mask)
    sources = resolve(config.data.shards)
    check_own_results(out, config.data.shards, sources, config.metrics.features)
    check_stems(out, [source.stem for source in sources])
    networks = weights.find(config.metrics.networks, {name: getattr(config.metrics, name) for name in WEIGHTS})
    hashes = _hashes(found, networks, (out.json(RUN) or {}).get("weights"))
    pinned = describe(pinned_settings(config, settings, found, hashes), sources, config.data.limit)
    pinned["weights"] = {name: asdict(one) for name, one in hashes.items()}
    check_pin(out, pinned)
    return Preflight(config, found, sources, pinned, out, networks)


def _hashes(found: Found, networks: Mapping[str, Path], pinned: object) -> dict[str, WeightsHash]:
    """Of the model's weights (``model``) and of the metrics' networks (``metrics.NAME``)."""
    known = pinned if isinstance(pinned, dict) else {}
    hashes = {"model": hash_of(found.files, found.sha256, known.get("model"))}
    for name, path in networks.items():
        key = f"metrics.{name}"
        hashes[key] = hash_of(weights.files(path), partial(weights.sha256, path), known.get(key))
    return hashes


def _out(config: Run) -> Store:
    """The folder or the prefix in a store for results; it need not exist yet.

    Raises:
        UsageError: it cannot be one.
    """
    if not config.out:
        raise UsageError.of("out", config.out, "a folder on a local or network file system, or in a store")
    out = open_store(os.path.expanduser(config.out))  # a shell leaves the ~ of out=~/x alone
    if isinstance(out, LocalStore):
        _check_folder(out.root, config.out)
    return out


def _check_folder(folder: Path, given: str) -> None:
    """Refuse what can be no folder."""
    file = no_folder(folder)
    if file is not None:
        raise UsageError.of("out", given, f"a folder; {file} is a file")
    try:
        os.lstat(folder)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError.of("out", given, "a name that the file system takes") from error
