"""What is wanted of a model beside its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fcs.core.errors import UsageError

Offload = Literal["none", "text", "model", "sequential"]


@dataclass(frozen=True)
class Options:
    """What is wanted of a model beside its files.

    Attributes:
        size: ``(height, width)`` of pictures; the model's own if None.
        arguments: of a pipeline's call.
        lora: files of LoRA, with ``@WEIGHT`` or without.
        textual_inversion: files of learnt words, with ``@WORD`` or without.
        offload: what of a pipeline waits in the machine's memory until it is used: nothing, its text encoders, all
            of its parts, or all of their layers.

    Raises:
        UsageError: a size that is none.
    """

    size: Sequence[int] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lora: Sequence[str] = ()
    textual_inversion: Sequence[str] = ()
    offload: Offload = "none"

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UsageError.of("model.size", list(self.size), "[height, width] in pixels")

    @property
    def call(self) -> dict[str, Any]:
        """What only a pipeline's own call can do, by key."""
        keys = {"model.arguments": dict(self.arguments), "model.lora": list(self.lora)}
        keys |= {"model.offload": self.offload} if self.offload != "none" else {}
        return {key: value for key, value in keys.items() if value}


PLAIN = Options()
