"""How results are handed back: as PIL pictures, arrays or tensors, and while they come into being."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.images import to_pil, to_uint8
from fcs.models.base import Model
from fcs.tasks.base import Task
from fcs.tasks.residual_trace import Preview

OutputType = Literal["pil", "np", "pt"]
Callback = Callable[[int, Any], object]  # (level, pictures of x_0 in the call's output type)
Item = TypeVar("Item")


def as_output(pictures: Sequence[Image.Image], kind: OutputType) -> Any:
    """Pictures as an output type, diffusers' names.

    Returns:
        ``pil``: the list; ``np``: float32 ``(N, H, W, C)`` in [0, 1]; ``pt``: float32 ``(N, C, H, W)`` in [0, 1]. A
        list of arrays or tensors where sizes differ.
    """
    if kind == "pil":
        return list(pictures)
    arrays = [np.asarray(picture, np.float32).reshape(picture.height, picture.width, -1) / 255 for picture in pictures]
    same = len({array.shape for array in arrays}) <= 1
    if kind == "np":
        return np.stack(arrays) if same else arrays
    tensors = [torch.from_numpy(array.transpose(2, 0, 1).copy()) for array in arrays]
    return torch.stack(tensors) if same else tensors


def preview_of(callback: Callback | None, model: Model, task: Task, kind: OutputType) -> Preview | None:
    """What decodes x_0 at each level for a caller's callback; None without one.

    Raises:
        UsageError: a callback that cannot be called, or a task that samples more than once.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise UsageError.of("callback", type(callback).__name__, "a function of (level, pictures)")
    if not task.previewed:
        raise UsageError.of("callback", type(callback).__name__, f"none for {type(task).__name__.lower()}")

    def shown(level: int, x0: Tensor, residuals: Tensor) -> None:
        callback(level, as_output(list(map(to_pil, to_uint8(model.decode(x0)).cpu())), kind))

    return shown


def times(values: Sequence[Item], count: int) -> list[Item]:
    """Each value ``count`` times, one after the other."""
    return [value for value in values for _ in range(count)]
