"""What is wanted of a model beside its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fcs.core.errors import UsageError


@dataclass(frozen=True)
class Options:
    """What is wanted of a model beside its files.

    Attributes:
        size: ``(height, width)`` of pictures; the model's own if None.
        arguments: of a pipeline's call.

    Raises:
        UsageError: a size that is none.
    """

    size: Sequence[int] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UsageError.of("model.size", list(self.size), "[height, width] in pixels")

    @property
    def call(self) -> bool:
        """Whether only a pipeline's own call can do what is wanted."""
        return bool(self.arguments)


PLAIN = Options()
