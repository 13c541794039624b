"""A diffusers pipeline from its folder: local files, safetensors, classes of the libraries alone."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from fcs.core.errors import UsageError
from fcs.models.files import Found

LIBRARIES = ("diffusers", "transformers")
UNWANTED = ("safety_checker", "feature_extractor")  # what looks at finished pictures


def pipeline_class(found: Found) -> Any:
    """The pipeline's class that a folder names, where diffusers has it and it takes prompts; else None."""
    import diffusers

    kind = getattr(diffusers, str(found.index.get("_class_name")), None)
    if not inspect.isclass(kind) or not issubclass(kind, diffusers.DiffusionPipeline):
        return None
    return kind if "prompt" in inspect.signature(kind.__call__).parameters else None


def from_folder(found: Found, kind: torch.dtype | None) -> Any:
    """The pipeline of a folder, on the CPU.

    Args:
        found: the folder.
        kind: type of the weights in 16 bits, None for float32; the autoencoder's stay in float32 in any case.

    Raises:
        UsageError: a part that is missing, has other weights than safetensors, or is a class of its own code.
    """
    _check_parts(found)
    own = pipeline_class(found)
    takes = inspect.signature(own).parameters
    # diffusers writes a part that was left out, such as SD 3's T5, and wants to be told so again.
    left_out = [name for name, entry in found.index.items() if entry == [None, None] and name in takes]
    unwanted: dict[str, Any] = {name: None for name in (*UNWANTED, *left_out) if name in found.index}
    if "requires_safety_checker" in takes:
        unwanted["requires_safety_checker"] = False
    types = torch.float32 if kind is None else {"default": kind, "vae": torch.float32}
    options = {"torch_dtype": types, "variant": found.variant, "use_safetensors": True, "local_files_only": True}
    try:
        pipe = own.from_pretrained(found.path, **options, **unwanted)
    except ValueError as error:
        if "low_cpu_mem_usage" not in str(error):
            raise
        expected = f"accelerate beside it, which {own.__name__} is loaded with: pip install accelerate"
        raise UsageError.of("model.name", found.name, expected) from error
    if kind is not None:
        _round(pipe, kind)
    return pipe


def _round(pipe: Any, kind: torch.dtype) -> None:
    """Bring networks to 16 bits that have no weight in them yet, all but the autoencoder.

    Without accelerate, diffusers leaves a network in its files' type if the first entry of its state is a buffer of
    that type, as SD 3's table of positions is: its inputs would be in 16 bits, its weights in 32. Where some weights
    are in 16 bits, diffusers keeps the others in 32 on purpose.
    """
    from diffusers import ModelMixin

    for name, part in pipe.components.items():
        left = isinstance(part, ModelMixin) and all(weights.dtype != kind for weights in part.parameters())
        if left and name != "vae":
            part.to(kind)


def _check_parts(found: Found) -> None:
    from diffusers import pipelines

    for name, entry in found.index.items():
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] is None or name in UNWANTED:
            continue
        if entry[0] not in LIBRARIES and not hasattr(pipelines, str(entry[0])):
            expected = f"parts of diffusers and transformers, not {name} of {entry[0]}, whose code would be run"
            raise UsageError.of("model.name", found.name, expected)
        found.require(name)
        if (found.path / name / "config.json").is_file():
            found.require_weights(name)
