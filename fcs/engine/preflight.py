"""What is known of a run before a shard is opened: the model's files, the inputs, an earlier run in the same folder."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from fcs.core.errors import UsageError
from fcs.engine.config.class_names import stable_path
from fcs.engine.config.run import Run
from fcs.engine.process_info import ProcessInfo, check
from fcs.engine.setting_warnings import warn
from fcs.metrics import weights
from fcs.metrics.judge import Judge
from fcs.models import Found, Model, find, load
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import Source, resolve
from fcs.shards.ledger.commit_records import damaged, is_complete
from fcs.shards.ledger.layout import RUN
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.open_store import open_store
from fcs.tasks.pipeline import Pipeline

WEIGHTS = ("clip", "dinov2", "inception", "lpips")  # keys of ``metrics`` that say where a network's are
AUTOCAST = {"32": None, "16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Preflight:
    """A run that was checked as far as that is possible without opening a shard.

    Attributes:
        run: its configuration.
        found: the model's files.
        sources: the input shards.
        pinned: what run.json holds.
        out: where the results go.
        networks: weights of the metrics' networks, by name.
    """

    run: Run
    found: Found
    sources: list[Source]
    pinned: dict[str, Any]
    out: Store
    networks: dict[str, Path]

    @property
    def complete(self) -> bool:
        """Whether an earlier run left nothing to do."""
        stems = [source.stem for source in self.sources]
        if not self.out.exists(RUN) or not is_complete(self.out, stems, self.run.data.limit):
            return False
        return not damaged(self.out, stems)


def plan(run: Run, settings: dict[str, Any]) -> Preflight:
    """Check a configuration against the world: model files, inputs, an earlier run in the same folder.

    Raises:
        UsageError: something is missing, or the folder holds another run; nothing was written.
    """
    out = folder(run)
    found = find(run.model.name, run.model.revision)
    sources = resolve(run.data.shards)
    networks = weights.find(run.metrics.networks, {name: getattr(run.metrics, name) for name in WEIGHTS})
    keys = covered(run, settings, found) | judged(run, networks)
    pinned = describe(keys, sources, run.data.limit)
    if out.exists(RUN):
        pin(out, pinned)
    return Preflight(run, found, sources, pinned, out, networks)


def folder(run: Run) -> Store:
    """The folder or the prefix in a store for results; it need not exist yet.

    Raises:
        UsageError: it cannot be one.
    """
    if not run.out:
        raise UsageError.of("out", run.out, "a folder on a local or network file system, or in a store")
    out = open_store(os.path.expanduser(run.out))  # a shell leaves the ~ of out=~/x alone
    if isinstance(out, LocalStore):
        _check(out.root, run.out)
    return out


def _check(folder: Path, given: str) -> None:
    """Refuse what can be no folder."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(there):
        raise UsageError.of("out", given, f"a folder; {there} is a file")
    try:
        os.lstat(folder)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError.of("out", given, "a name that the file system takes") from error


def covered(run: Run, settings: dict[str, Any], found: Found) -> dict[str, Any]:
    """Everything that a record's result depends on, by the keys a user knows."""
    keys: dict[str, Any] = {"model.sha256": found.sha256(), "model.revision": found.revision}
    for where in ("task", "sampler"):
        keys |= _arguments(where, settings[where])
    for name in ("steps", "levels", "seed", "format", "copy_inputs", "guidance", "negative_prompt", "guidance_stop"):
        keys[name] = getattr(run, name)
    keys |= {f"data.{name}": getattr(run.data, name) for name in ("resize", "prompt", "captions")}
    keys |= {"model.tiling": True} if run.model.tiling else {}
    keys |= {"trainer.tf32": run.trainer.tf32} if run.trainer.tf32 is not None else {}
    return keys | {"trainer.precision": run.trainer.precision}


def judged(run: Run, networks: dict[str, Path]) -> dict[str, Any]:
    """What the rows' further scores and the features depend on; nothing where there are none."""
    asked = {"scores": list(run.metrics.scores), "features": list(run.metrics.features)}
    keys: dict[str, Any] = {f"metrics.{name}": value for name, value in asked.items() if value}
    return keys | {f"metrics.{name}.sha256": weights.sha256(path) for name, path in networks.items()}


def _arguments(where: str, section: dict[str, Any]) -> dict[str, Any]:
    keys = {where: stable_path(where, section["class_path"])}
    for name, value in section.get("init_args", {}).items():
        inner = isinstance(value, dict) and "class_path" in value
        keys |= _arguments(f"{where}.{name}", value) if inner else {f"{where}.{name}": value}
    return keys


def solver_for(plan: Preflight) -> Pipeline:
    """The loaded model with task and sampler, checked to fit together.

    Raises:
        UsageError: steps, levels, guidance, or a scale that the model does not have.
    """
    run = plan.run
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()  # one bar for each part of a model says less than our own
    model = load(plan.found, AUTOCAST[run.trainer.precision])
    model.spare(run.trainer.slicing, run.model.tiling)
    model.schedule.levels(run.steps, run.levels)
    run.task.input_shape(model)
    run.task.prepare(model)
    if run.guidance != 1.0 and not model.prompted:
        raise UsageError.of("guidance", run.guidance, "1 for a model without prompts")
    warn(run)
    guidance = (run.guidance, run.negative_prompt, run.guidance_stop)
    return Pipeline(model, run.task, run.sampler, run.steps, run.levels, *guidance)


def judge_for(plan: Preflight, model: Model) -> Judge | None:
    """The loaded networks of the metrics, on the CPU; None where none was asked for.

    Raises:
        UsageError: weights that do not load, or do not fit the model's pictures.
    """
    wanted = plan.run.metrics
    if not wanted.scores and not wanted.features:
        return None
    return Judge(wanted.scores, wanted.features, plan.networks, model.picture_shape)


def record_format(run: Run, model: Model) -> Format:
    """What a record's members must look like."""
    channels, height, width = run.task.input_shape(model)
    data = run.data
    return Format(channels, height, width, data.resize, run.task.needs_mask, run.copy_inputs, data.captions)


def devices(run: Run, place: ProcessInfo) -> int:
    """How many processes this one has to start: one a device, or none but itself where SLURM started them.

    Raises:
        UsageError: more are asked for than the machine has GPUs, or cores where it has none; or SLURM was asked for
            something else.
    """
    gpus, asked = torch.cuda.device_count(), run.trainer.devices
    check(place, asked, gpus)
    if place.peers > 1:
        return 1
    if asked == "auto":
        return max(gpus, 1)
    most, what = (gpus, "GPUs") if gpus else (os.cpu_count() or 1, "cores")
    if asked > most:
        raise UsageError.of("trainer.devices", asked, f"at most the {most} {what} of this machine")
    return int(asked)
