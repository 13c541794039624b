"""What a record's result depends on, by the keys that a user knows: the settings that ``run.json`` pins."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.engine.config.class_names import stable_path
from fcs.engine.config.run import Run
from fcs.engine.weights_hashes import WeightsHash
from fcs.models import Found
from fcs.models.loading import family_of
from fcs.models.lora import Lora
from fcs.models.textual_inversion import TextualInversion
from fcs.shards.input.mask_source import ALPHA
from fcs.tasks.base import Task

TOP = ("steps", "levels", "seed", "format", "copy_inputs", "guidance", "negative_prompt", "guidance_stop")
OF_DATA = ("resize", "prompt", "captions")


def pinned_settings(
    config: Run, settings: Mapping[str, Any], found: Found, hashes: Mapping[str, WeightsHash]
) -> dict[str, Any]:
    """Everything that pictures, scores and features depend on.

    Args:
        config: the run's configuration.
        settings: the same as plain data.
        found: the model's files.
        hashes: of the model's weights (``model``) and of the metrics' networks (``metrics.NAME``).
    """
    keys: dict[str, Any] = {"model.sha256": hashes["model"].sha256, "model.revision": found.revision}
    for section in ("task", "sampler"):
        keys |= _arguments(section, settings[section])
    keys |= {name: getattr(config, name) for name in TOP}
    keys |= {f"data.{name}": getattr(config.data, name) for name in OF_DATA}
    keys |= {"model.size": list(config.model.size)} if config.model.size else {}
    keys |= {"model.overlap": config.model.overlap} if config.model.overlap else {}
    keys |= {"model.arguments": config.model.arguments} if config.model.arguments else {}
    loras = [Lora.of(text).fingerprint for text in config.model.options.lora]
    keys |= {"model.lora": loras} if loras else {}
    words = [TextualInversion.of(text).fingerprint for text in config.model.options.textual_inversion]
    keys |= {"model.textual_inversion": words} if words else {}
    # A pipeline of which nothing but its own call knows how its network is asked.
    keys |= {"model.way": "pipeline"} if family_of(found, config.model.options).general else {}
    keys |= {"data.keys": config.data.keys} if config.data.keys != "first_dot" else {}
    keys |= {"model.variant": config.model.variant} if config.model.variant else {}
    keys |= _of_masks(config) | _of_files(config.task)
    keys |= {"png_level": config.png_level} if config.png_level is not None else {}
    keys |= {"model.tiling": True} if config.model.tiling else {}
    keys |= {"trainer.tf32": config.trainer.tf32} if config.trainer.tf32 is not None else {}
    keys["trainer.precision"] = config.trainer.precision
    for name in ("scores", "features"):
        asked = list(getattr(config.metrics, name))
        keys |= {f"metrics.{name}": asked} if asked else {}
    return keys | {f"{name}.sha256": one.sha256 for name, one in hashes.items() if name != "model"}


def _of_masks(config: Run) -> dict[str, Any]:
    """What differs from the usual: a mask for all, by its content too, and what is done to masks."""
    source = config.data.mask
    keys: dict[str, Any] = {"data.mask": source} if source is not None else {}
    if source not in (None, ALPHA):
        keys["data.mask.sha256"] = sha256(Path(str(source)).read_bytes()).hexdigest()
    edits = {name: getattr(config.mask, name) for name in ("invert", "grow", "feather")}
    return keys | {f"mask.{name}": value for name, value in edits.items() if value}


def _of_files(task: Task) -> dict[str, Any]:
    """What the files hold that the task names: another picture may have come under an old name.

    Raises:
        UsageError: one cannot be read.
    """
    keys = {}
    for name, paths in task.named_files.items():
        try:
            keys[f"task.{name}.sha256"] = [sha256(Path(path).read_bytes()).hexdigest() for path in paths]
        except OSError as error:
            raise UsageError.of(f"task.{name}", error.filename, f"a file ({error.strerror})") from error
    return keys


def _arguments(where: str, section: Mapping[str, Any]) -> dict[str, Any]:
    keys = {where: stable_path(where, section["class_path"])}
    for name, value in section.get("init_args", {}).items():
        inner = isinstance(value, dict) and "class_path" in value
        keys |= _arguments(f"{where}.{name}", value) if inner else {f"{where}.{name}": value}
    return keys
