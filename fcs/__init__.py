"""Constrained sampling from pretrained diffusion models, at dataset scale."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcs.api import Pictures, apply, inpaint, layers, load, restore, sample, style, superres

__version__ = "0.1.0"
__all__ = ["Pictures", "apply", "inpaint", "layers", "load", "restore", "sample", "style", "superres"]


def __getattr__(name: str) -> Any:
    # On first use: importing torch takes seconds, which --help and the launcher should not pay.
    if name in __all__:
        return getattr(import_module("fcs.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
