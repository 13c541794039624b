"""The interface of model families: models that are loaded from files."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import torch

from fcs.core.discovery import classes
from fcs.models.base import Model
from fcs.models.files import Found
from fcs.models.options import Options

PACKAGE = "fcs.models"


class Family(Model):
    """A pretrained model whose files are known: a class of its own for each layout.

    Attributes:
        layout: the files, in words for messages.
    """

    layout: ClassVar[str]

    @classmethod
    @abstractmethod
    def is_in(cls, found: Found) -> bool:
        """Whether these files hold a model of this family."""

    @classmethod
    @abstractmethod
    def load(cls, found: Found, autocast: torch.dtype | None, options: Options) -> Self:
        """Load the model on the CPU, in float32 unless the family says otherwise.

        Args:
            found: files that hold one (``is_in``).
            autocast: type for the network's own arithmetic, None for float32.
            options: what is wanted of it.

        Raises:
            UsageError: a part is missing.
        """

    @classmethod
    def picture_shape_in(cls, found: Found, options: Options) -> tuple[int, int, int] | None:
        """``(C, H, W)`` of the pictures, as far as the small files say it; None where only the loaded model does.

        Raises:
            UsageError: a size that the model cannot have, files that cannot be read.
        """
        return None


def families() -> list[type[Family]]:
    """All families of this package."""
    return [kind for kind in classes(PACKAGE, Family).values() if issubclass(kind, Family)]


def own_families(found: Found) -> list[type[Family]]:
    """Those that know these files; a general one, which takes prompts, is not asked: it imports much."""
    return [kind for kind in families() if not kind.general and kind.is_in(found)]
