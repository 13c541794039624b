"""LoRA files beside a pipeline's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError

from fcs.core.errors import UsageError, first_line
from fcs.models.weights_file import WeightsFile, parted

KEY = "model.lora"
FILE = "pytorch_lora_weights.safetensors"  # diffusers' name in a folder


@dataclass(frozen=True)
class Lora:
    """One file of a LoRA and how strongly it acts.

    Attributes:
        file: safetensors.
        weight: 1 is as it was trained.
    """

    file: WeightsFile
    weight: float

    @classmethod
    def of(cls, text: str) -> Self:
        """From a file, a folder or a hub name, each alone or with ``@WEIGHT``.

        Raises:
            UsageError: no such file, or a weight that is no number.
        """
        _, weight = parted(text)
        try:
            strength = 1.0 if weight is None else float(weight)
        except ValueError:
            raise UsageError.of(KEY, text, "a number after the @") from None
        return cls(WeightsFile.of(KEY, text, FILE), strength)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.file.path

    @property
    def fingerprint(self) -> str:
        """What results depend on, wherever the file lies."""
        return f"{self.file.sha256}@{self.weight:g}"


def add(pipe: Any, given: Sequence[str]) -> None:
    """Load LoRA files into a pipeline, by the pipeline's own means.

    Raises:
        UsageError: a file that is none or does not fit, a pipeline that takes none, peft missing.
    """
    from diffusers.utils import is_peft_available

    found = [Lora.of(text) for text in given]
    if not found:
        return
    if not hasattr(pipe, "load_lora_weights"):
        raise UsageError.of(KEY, given[0], f"none: {type(pipe).__name__} takes no LoRA")
    if not is_peft_available():
        raise UsageError.of(KEY, given[0], "peft beside it: pip install peft")
    names = [f"lora{number}" for number in range(len(found))]
    for text, name, one in zip(given, names, found, strict=True):
        _add(pipe, text, name, one)
    pipe.set_adapters(names, [one.weight for one in found])


def _add(pipe: Any, text: str, name: str, one: Lora) -> None:
    where = {"weight_name": one.path.name, "adapter_name": name, "local_files_only": True}
    reason = ""
    try:
        pipe.load_lora_weights(str(one.path.parent), **where)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = f" ({first_line(error)})"
    if reason or not any(name in adapters for adapters in pipe.get_list_adapters().values()):
        raise UsageError.of(KEY, text, f"weights that fit {type(pipe).__name__}{reason}")
