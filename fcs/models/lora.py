"""LoRA files beside a pipeline's own weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fcs.core.errors import UsageError

FILE = "pytorch_lora_weights.safetensors"  # diffusers' name in a folder


@dataclass(frozen=True)
class Lora:
    """One file of a LoRA and how strongly it acts.

    Attributes:
        file: safetensors.
        weight: 1 is as it was trained.
    """

    file: Path
    weight: float

    @classmethod
    def of(cls, text: str) -> Self:
        """From ``FILE``, ``FOLDER``, or one of them with ``@WEIGHT``.

        Raises:
            UsageError: no such file, or a weight that is no number.
        """
        place, sign, weight = text.rpartition("@")
        place, weight = (place, weight) if sign else (text, "1")
        path = Path(place).expanduser()
        file = path / FILE if path.is_dir() else path
        try:
            strength = float(weight)
        except ValueError:
            raise UsageError.of("model.lora", text, "a number after the @") from None
        if file.suffix != ".safetensors" or not file.is_file():
            raise UsageError.of("model.lora", text, f"a file .safetensors, or a folder with {FILE}, and maybe @WEIGHT")
        return cls(file, strength)

    @property
    def fingerprint(self) -> str:
        """What results depend on, wherever the file lies."""
        with self.file.open("rb") as stream:
            return f"{hashlib.file_digest(stream, 'sha256').hexdigest()}@{self.weight:g}"


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
        raise UsageError.of("model.lora", given[0], f"none: {type(pipe).__name__} takes no LoRA")
    if not is_peft_available():
        raise UsageError.of("model.lora", given[0], "peft beside it: pip install peft")
    names = [f"lora{number}" for number in range(len(found))]
    for name, one in zip(names, found, strict=True):
        where = {"weight_name": one.file.name, "adapter_name": name, "local_files_only": True}
        pipe.load_lora_weights(str(one.file.parent), **where)
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise UsageError.of("model.lora", str(one.file), f"weights that fit {type(pipe).__name__}")
    pipe.set_adapters(names, [one.weight for one in found])
